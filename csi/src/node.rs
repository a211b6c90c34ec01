//! The kubelet's calls: read and checked here, done by `volumes`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::attributes::{AttributeError, View, Wish};
use crate::daemon::Asker;
use crate::events::Pod;
use crate::health::Condition;
use crate::mountinfo;
use crate::proto::csi::node_server::Node;
use crate::proto::csi::node_service_capability::{Rpc, Type, rpc};
use crate::proto::csi::volume_capability::AccessType;
use crate::proto::csi::volume_usage::Unit;
use crate::proto::csi::{
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodePublishVolumeResponse,
    NodeServiceCapability, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, VolumeCapability, VolumeCondition,
    VolumeUsage,
};
use crate::volumes::{Order, Volumes};

pub struct NodeService {
    pub volumes: Arc<Volumes>,
    pub node_id: String,
    pub hub_endpoint: String,
}

/// What every volume has already.
const MOUNT_FLAGS: [&str; 2] = ["nosuid", "nodev"];

/// Models are files: whatever the access mode, they are read only, and an HF_HOME's own layer is its pod's alone.
pub fn check_capability(capability: Option<&VolumeCapability>) -> Result<(), Status> {
    let capability = capability.ok_or_else(|| Status::invalid_argument("volume_capability is missing"))?;
    match &capability.access_type {
        Some(AccessType::Mount(mount)) => {
            match mount.mount_flags.iter().find(|flag| !MOUNT_FLAGS.contains(&flag.as_str())) {
                Some(flag) => Err(Status::invalid_argument(format!(
                    "mountOptions: `{flag}` is not taken; a volume is nosuid and nodev, and read-only with view: model"
                ))),
                None => Ok(()),
            }
        }
        Some(AccessType::Block(_)) => {
            Err(Status::invalid_argument("models are files: there are no block volumes; use volumeMode: Filesystem"))
        }
        None => Err(Status::invalid_argument("volume_capability has no access type")),
    }
}

fn volume_id(text: String) -> Result<String, Status> {
    if text.is_empty() { Err(Status::invalid_argument("volume_id is missing")) } else { Ok(text) }
}

fn target(text: &str, name: &str) -> Result<PathBuf, Status> {
    if text.is_empty() {
        return Err(Status::invalid_argument(format!("{name} is missing")));
    }
    let path = Path::new(text);
    if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Status::invalid_argument(format!("{name}: `{text}` is not a plain absolute path")));
    }
    Ok(mountinfo::resolve(path))
}

/// What the kubelet adds to the attributes.
fn pod(context: &HashMap<String, String>) -> Option<Pod> {
    let text = |name: &str| context.get(&format!("csi.storage.k8s.io/pod.{name}")).cloned();
    Some(Pod { namespace: text("namespace")?, name: text("name")?, uid: text("uid")? })
}

fn usage(unit: Unit, used: u64, total: u64) -> VolumeUsage {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    VolumeUsage { available: 0, total: number(total), used: number(used), unit: unit.into() }
}

impl NodeService {
    fn order(&self, request: NodePublishVolumeRequest, target: &Path) -> Result<Order, Status> {
        let volume_id = volume_id(request.volume_id)?;
        check_capability(request.volume_capability.as_ref())?;
        let invalid = |error: AttributeError| Status::invalid_argument(error.to_string());
        let wish = Wish::read(&request.volume_context).map_err(invalid)?;
        if request.readonly && matches!(wish.view, View::HfHome { .. }) {
            return Err(Status::invalid_argument(
                "readOnly: programs write locks and logs into an HF_HOME, into a layer that ends with the pod; leave readOnly out, or \
                 use view: model",
            ));
        }
        let token = wish.token(&request.secrets).map_err(invalid)?;
        let asker = Asker { endpoint: self.hub_endpoint.clone(), token };
        Ok(Order { volume_id, target: target.to_owned(), wish, asker, pod: pod(&request.volume_context) })
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let target = target(&request.target_path, "target_path")?;
        match self.order(request, &target) {
            Ok(order) => self.volumes.publish(order).await?,
            // A program runs on it, and what a running pod has is not taken away because its secret has changed.
            Err(status) if self.volumes.is_published(&target) => {
                tracing::warn!(target = %target.display(), cause = status.message(), "a volume stays as it is");
            }
            Err(status) => return Err(status),
        }
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let NodeUnpublishVolumeRequest { volume_id: id, target_path } = request.into_inner();
        let (volume_id, target) = (volume_id(id)?, target(&target_path, "target_path")?);
        self.volumes.unpublish(volume_id, target).await?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    /// From memory: a volume whose daemon hangs must not make the kubelet wait.
    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let NodeGetVolumeStatsRequest { volume_id: id, volume_path } = request.into_inner();
        let volume_id = volume_id(id)?;
        if volume_path.is_empty() {
            return Err(Status::invalid_argument("volume_path is missing"));
        }
        let known = self.volumes.records.get(&mountinfo::resolve(Path::new(&volume_path)));
        let record = known
            .filter(|record| record.volume_id == volume_id)
            .ok_or_else(|| Status::not_found(format!("{volume_path}: volume {volume_id} is not published there")))?;
        // An HF_HOME of the whole Hub has no size of its own: the node's cache is what it takes.
        let bytes = if record.shown.is_empty() { self.volumes.health.cached_bytes() } else { record.bytes };
        let Condition { abnormal, message } = self.volumes.condition(&record);
        Ok(Response::new(NodeGetVolumeStatsResponse {
            usage: vec![usage(Unit::Bytes, bytes, bytes), usage(Unit::Inodes, record.files, record.files)],
            volume_condition: Some(VolumeCondition { abnormal, message }),
        }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let capability =
            |kind: rpc::Type| NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        let capabilities = [rpc::Type::GetVolumeStats, rpc::Type::VolumeCondition].map(capability).to_vec();
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(&self, _: Request<NodeGetInfoRequest>) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.node_id.clone(), max_volumes_per_node: 0 }))
    }
}
