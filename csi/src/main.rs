//! `weightfs-csi`: the node plugin that gives pods their models. It turns the kubelet's calls into questions to the node's
//! daemon and into bind mounts out of that daemon's mounts.
//!
//! A call goes `node` > `attributes` (what is wanted) > `volumes` (to the end, one at a time for each target) > `daemon` and
//! `binds`. It opens no file inside a mount, keeps no token on disk, and of the cluster it asks nothing; it may tell it of a
//! dead volume (`events`).

mod attributes;
mod authority;
mod binds;
mod controller;
mod daemon;
mod events;
mod health;
mod identity;
mod locks;
mod mountinfo;
mod node;
mod options;
mod probe;
mod records;
mod registration;
mod server;
mod volumes;
mod warming;

use std::io::IsTerminal;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The messages of the kubelet's protocols and of the daemon's.
#[allow(clippy::all, missing_docs)]
mod proto {
    pub mod csi {
        tonic::include_proto!("csi.v1");
    }
    pub mod registration {
        tonic::include_proto!("pluginregistration");
    }
    pub mod control {
        tonic::include_proto!("weightfs.control.v1");
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = options::Options::parse();
    if let Some(options::Action::Probe) = options.action {
        return probe::run(&options.csi_socket()).await;
    }
    let filter = EnvFilter::try_from_env("WEIGHTFS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    server::run(options).await
}
