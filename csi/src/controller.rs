//! Volumes by a storage class. Nothing is stored: a volume is its parameters, and models are the Hub's to make and delete.

use std::collections::HashMap;

use parking_lot::Mutex;
use tonic::{Request, Response, Status};

use crate::attributes::Wish;
use crate::node::check_capability;
use crate::proto::csi::controller_server::Controller;
use crate::proto::csi::controller_service_capability::{Rpc, Type, rpc};
use crate::proto::csi::validate_volume_capabilities_response::Confirmed;
use crate::proto::csi::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability,
    CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse,
    ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, Volume,
};

const ID_PREFIX: &str = "weightfs-";
/// Names whose sizes are remembered.
const REMEMBERED: usize = 4096;

#[derive(Default)]
pub struct ControllerService {
    /// The protocol wants one name to have one size for as long as its volume is being made.
    sizes: Mutex<HashMap<String, i64>>,
}

impl ControllerService {
    fn remember(&self, name: &str, size: i64) -> Result<(), Status> {
        let mut sizes = self.sizes.lock();
        if sizes.len() >= REMEMBERED {
            sizes.clear();
        }
        match *sizes.entry(name.to_owned()).or_insert(size) {
            known if known == size => Ok(()),
            known => Err(Status::already_exists(format!("{name}: there is a volume of {known} bytes by this name"))),
        }
    }
}

fn id(name: &str) -> String {
    format!("{ID_PREFIX}{}", crate::records::short_digest(name.as_bytes()))
}

fn require(text: &str, name: &str) -> Result<(), Status> {
    if text.is_empty() { Err(Status::invalid_argument(format!("{name} is missing"))) } else { Ok(()) }
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let CreateVolumeRequest { name, capacity_range, volume_capabilities, parameters } = request.into_inner();
        require(&name, "name")?;
        if volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities are missing"));
        }
        for capability in &volume_capabilities {
            check_capability(Some(capability))?;
        }
        Wish::read(&parameters).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let capacity_bytes = capacity_range.map_or(0, |range| range.required_bytes);
        self.remember(&name, capacity_bytes)?;
        let volume = Volume { capacity_bytes, volume_id: id(&name), volume_context: parameters };
        Ok(Response::new(CreateVolumeResponse { volume: Some(volume) }))
    }

    /// There is nothing to delete: the cache has limits of its own.
    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        let DeleteVolumeRequest { volume_id } = request.into_inner();
        require(&volume_id, "volume_id")?;
        self.sizes.lock().retain(|name, _| id(name) != volume_id);
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let ValidateVolumeCapabilitiesRequest { volume_id, volume_context, volume_capabilities, parameters } =
            request.into_inner();
        require(&volume_id, "volume_id")?;
        if volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities are missing"));
        }
        if !volume_id.starts_with(ID_PREFIX) {
            return Err(Status::not_found(format!("{volume_id}: no volume of this driver")));
        }
        let refused = volume_capabilities.iter().find_map(|capability| check_capability(Some(capability)).err());
        let reply = match refused {
            Some(status) => {
                ValidateVolumeCapabilitiesResponse { confirmed: None, message: status.message().to_owned() }
            }
            None => {
                let confirmed = Some(Confirmed { volume_context, volume_capabilities, parameters });
                ValidateVolumeCapabilitiesResponse { confirmed, message: String::new() }
            }
        };
        Ok(Response::new(reply))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let create = Rpc { r#type: rpc::Type::CreateDeleteVolume.into() };
        let capabilities = vec![ControllerServiceCapability { r#type: Some(Type::Rpc(create)) }];
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities }))
    }
}
