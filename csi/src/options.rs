//! The administrator's settings. What a pod may ask for is in `attributes`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The name by which a cluster knows the driver.
pub const DRIVER: &str = "csi.weightfs.dev";

/// The CSI driver of weightfs, for one node.
///
/// It needs root, and the kubelet's directory under the same path as the kubelet has it, with mounts shared in both directions.
#[derive(Debug, Clone, Parser)]
#[command(name = "weightfs-csi", version, subcommand_negates_reqs = true)]
pub struct Options {
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The name of this node in the cluster.
    #[arg(long, env = "NODE_NAME", required = true)]
    pub node_id: Option<String>,
    /// The kubelet's directory; some distributions have another one.
    #[arg(long, env = "KUBELET_DIRECTORY", default_value = "/var/lib/kubelet", global = true)]
    pub kubelet_directory: PathBuf,
    /// The control socket of the node's daemon, `weightfs serve`.
    #[arg(long, env = "WEIGHTFS_SOCKET", default_value = "/run/weightfs/control.sock")]
    pub daemon_socket: PathBuf,
    /// The Hub that volumes are from. No pod can choose another one: it would be sent the pod's token.
    #[arg(long, env = "HF_ENDPOINT", default_value = "https://huggingface.co")]
    pub hub_endpoint: String,
    /// The cluster's API, where volumes that have died become events of their pods. Within a pod it is known; an empty
    /// text means no events.
    #[arg(long, env = "KUBERNETES_API")]
    pub kubernetes_api: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Ask the driver that runs here whether it answers, and end with 0 or 1: for the probes of its container.
    Probe,
}

impl Options {
    /// The driver's own folder, which outlives it.
    pub fn plugin_directory(&self) -> PathBuf {
        self.kubelet_directory.join("plugins").join(DRIVER)
    }

    pub fn csi_socket(&self) -> PathBuf {
        self.plugin_directory().join("csi.sock")
    }

    pub fn registration_socket(&self) -> PathBuf {
        self.kubelet_directory.join("plugins_registry").join(format!("{DRIVER}-reg.sock"))
    }

    /// Where the daemon mounts for it.
    pub fn mounts_directory(&self) -> PathBuf {
        self.plugin_directory().join("mnt")
    }

    /// In a pod the kubelet says where the cluster's API is.
    pub fn kubernetes_api(&self) -> Option<String> {
        let within_a_pod = || {
            let (host, port) =
                (std::env::var("KUBERNETES_SERVICE_HOST").ok()?, std::env::var("KUBERNETES_SERVICE_PORT").ok()?);
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            Some(format!("https://{host}:{port}"))
        };
        let api = self.kubernetes_api.clone().or_else(within_a_pod)?;
        Some(api.trim_end_matches('/').to_owned()).filter(|api| !api.is_empty())
    }

    pub fn records_directory(&self) -> PathBuf {
        self.plugin_directory().join("volumes")
    }
}
