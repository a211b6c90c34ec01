//! The control service on its socket.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use crate::control::job::{Progress, Resolved};
use crate::control::{MountOrder, Node};
use crate::types::{Identity, Token};

use super::code::{refuse, refuse_by_name};
use super::jobs;
use super::proto::control_server::{Control, ControlServer};
use super::proto::{
    JobRequest, MountReply, MountRequest, ResolveReply, ResolveRequest, StatusReply, StatusRequest, UnmountReply,
    UnmountRequest, UpgradeReply, UpgradeRequest,
};
use super::status;

/// Answers on `listener` until `stop` resolves and the calls under way are answered.
pub async fn serve(
    listener: UnixListener,
    node: Arc<Node>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let own_uid = nix::unistd::geteuid().as_raw();
    let service = ControlServer::with_interceptor(ControlService { node }, move |request: Request<()>| {
        admit(peer_uid(&request), own_uid)?;
        Ok(request)
    });
    Server::builder().add_service(service).serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop).await
}

fn peer_uid(request: &Request<()>) -> Option<u32> {
    request.extensions().get::<UdsConnectInfo>()?.peer_cred.map(|peer| peer.uid())
}

/// The socket's mode keeps others out already; this holds where someone loosened it.
fn admit(peer: Option<u32>, own: u32) -> Result<(), Status> {
    match peer {
        Some(uid) if uid == own || uid == 0 => Ok(()),
        Some(uid) => Err(Status::permission_denied(format!(
            "uid {uid} may not control this daemon: it belongs to uid {own}; ask as that user or as root"
        ))),
        None => Err(Status::permission_denied("the kernel does not say who asks")),
    }
}

struct ControlService {
    node: Arc<Node>,
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(status::reply(self.node.status().await.map_err(refuse)?)))
    }

    async fn mount(&self, request: Request<MountRequest>) -> Result<Response<MountReply>, Status> {
        let request = request.into_inner();
        let MountRequest { directory, endpoint, token, offline, allow_other, passthrough_off, drop_behind_bytes, pod } =
            request;
        let pod = pod.map(jobs::pod).transpose()?;
        let identity = Identity::new(&endpoint, token.as_deref().map(Token::new), offline);
        let order = MountOrder {
            directory: PathBuf::from(directory),
            identity,
            allow_other,
            passthrough: !passthrough_off,
            drop_behind: drop_behind_bytes,
            pod,
        };
        self.node.mount(order).await.map_err(refuse)?;
        Ok(Response::new(MountReply {}))
    }

    async fn unmount(&self, request: Request<UnmountRequest>) -> Result<Response<UnmountReply>, Status> {
        let UnmountRequest { directory, lazy } = request.into_inner();
        let end = self.node.unmount(PathBuf::from(directory), lazy).await.map_err(refuse)?;
        Ok(Response::new(UnmountReply { daemon_ends: end.daemon_ends, detached: end.detached }))
    }

    async fn upgrade(&self, _: Request<UpgradeRequest>) -> Result<Response<UpgradeReply>, Status> {
        let pid = self.node.upgrade().await.map_err(refuse)?;
        Ok(Response::new(UpgradeReply { pid }))
    }

    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveReply>, Status> {
        let ResolveRequest { caller, model } = request.into_inner();
        let model = jobs::model(&jobs::identity(caller), model)?;
        let Resolved { commit, folder, files, bytes } = self.node.resolve(&model).await.map_err(refuse_by_name)?;
        Ok(Response::new(ResolveReply { commit: commit.to_string(), folder, files, bytes }))
    }

    type RunStream = jobs::Events;

    async fn run(&self, request: Request<JobRequest>) -> Result<Response<Self::RunStream>, Status> {
        let job = jobs::read(request.into_inner())?;
        let seat = self.node.begin().map_err(refuse)?;
        let (progress, follower) = Progress::new();
        let node = self.node.clone();
        let work = tokio::spawn(async move { node.run(seat, job, &progress).await });
        Ok(Response::new(jobs::events(AbortOnDropHandle::new(work), follower)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_control_a_daemon() {
        assert!(admit(Some(1000), 1000).is_ok());
        assert!(admit(Some(0), 1000).is_ok());
        assert!(admit(Some(0), 0).is_ok());
        for (peer, own) in [(Some(1001), 1000), (Some(1000), 0), (None, 0)] {
            assert_eq!(admit(peer, own).unwrap_err().code(), tonic::Code::PermissionDenied, "{peer:?} {own}");
        }
    }
}
