//! How the kubelet learns of this driver: it finds the socket in its folder, asks what it is, and says what came of it.

use std::path::PathBuf;

use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::options::DRIVER;
use crate::proto::registration::registration_server::Registration;
use crate::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

const KIND: &str = "CSIPlugin";
const SPECIFICATION: &str = "1.0.0";

pub struct RegistrationService {
    pub csi_socket: PathBuf,
    /// Why the kubelet does not take it.
    pub refused: mpsc::Sender<String>,
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: KIND.to_owned(),
            name: DRIVER.to_owned(),
            endpoint: self.csi_socket.to_string_lossy().into_owned(),
            supported_versions: vec![SPECIFICATION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus { plugin_registered, error } = request.into_inner();
        if plugin_registered {
            tracing::info!("the kubelet has registered the driver");
        } else {
            // Full means that it is known already.
            let _ = self.refused.try_send(error);
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
