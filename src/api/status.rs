//! What control knows of the node, as messages.

use crate::control::{MountState, NodeStatus};
use crate::db::RepoRow;

use super::proto;

pub fn reply(status: NodeStatus) -> proto::StatusReply {
    proto::StatusReply {
        version: status.version.to_owned(),
        pid: status.pid,
        uptime_seconds: status.uptime.as_secs(),
        cache_directory: status.cache_directory.display().to_string(),
        cached_bytes: status.cached_bytes,
        service: status.service.map(|address| address.to_string()),
        mounts: status.mounts.into_iter().map(mount).collect(),
        repos: status.repos.into_iter().map(repo).collect(),
        limit_bytes: status.space.limit,
        free_bytes: status.space.free,
        counters: status.counters.into_iter().map(|(figure, value)| (figure.name.to_owned(), value)).collect(),
    }
}

fn mount(state: MountState) -> proto::MountStatus {
    proto::MountStatus {
        directory: state.order.directory.display().to_string(),
        endpoint: state.order.identity.endpoint.to_string(),
        offline: state.order.identity.offline,
        authenticated: state.order.identity.token.is_some(),
        allow_other: state.order.allow_other,
        detached: state.detached,
        passthrough: state.passthrough,
        survival: state.survival,
        drop_behind_bytes: state.order.drop_behind,
    }
}

pub(super) fn repo(row: RepoRow) -> proto::RepoStatus {
    proto::RepoStatus {
        repo: row.repo.to_string(),
        revision: row.revision.unwrap_or_default(),
        commit: row.commit.to_string(),
        files: row.files,
        bytes: row.bytes,
        cached_bytes: row.cached_bytes,
        endpoint: row.endpoint,
        complete_files: row.complete_files,
        pinned: row.kept,
        partial: row.partial,
    }
}
