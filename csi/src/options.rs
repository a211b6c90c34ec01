//! The administrator's settings. What a pod may ask for is in `attributes`.

use std::path::PathBuf;

use clap::Parser;

/// The name by which a cluster knows the driver.
pub const DRIVER: &str = "csi.weightfs.dev";

/// The CSI driver of weightfs, for one node.
///
/// It needs root, and the kubelet's directory under the same path as the kubelet has it, with mounts shared in both directions.
#[derive(Debug, Clone, Parser)]
#[command(name = "weightfs-csi", version)]
pub struct Options {
    /// The name of this node in the cluster.
    #[arg(long, env = "NODE_NAME")]
    pub node_id: String,
    /// The kubelet's directory; some distributions have another one.
    #[arg(long, env = "KUBELET_DIRECTORY", default_value = "/var/lib/kubelet")]
    pub kubelet_directory: PathBuf,
    /// The control socket of the node's daemon, `weightfs serve`.
    #[arg(long, env = "WEIGHTFS_SOCKET", default_value = "/run/weightfs/control.sock")]
    pub daemon_socket: PathBuf,
    /// The Hub that volumes are from. No pod can choose another one: it would be sent the pod's token.
    #[arg(long, env = "HF_ENDPOINT", default_value = "https://huggingface.co")]
    pub hub_endpoint: String,
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

    pub fn records_directory(&self) -> PathBuf {
        self.plugin_directory().join("volumes")
    }
}
