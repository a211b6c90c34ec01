//! Words to whoever looks at a pod: events in the cluster's API, the one thing that the driver asks it for.
//!
//! `volumes` calls it when a volume has died under a running pod. Nobody waits for an event, and one that is lost is only logged.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};

use crate::options::DRIVER;

const PATIENCE: Duration = Duration::from_secs(10);
/// Where a pod finds its own rights, and who signs for the API.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const REASON: &str = "VolumeConditionAbnormal";

/// Whose volume it is, as the kubelet tells it where the CSIDriver has `podInfoOnMount`.
#[derive(Debug, Clone)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Default)]
pub struct Events {
    /// `None` outside of a cluster.
    api: Option<String>,
    node: String,
}

impl Events {
    pub fn new(api: Option<String>, node: String) -> Self {
        Self { api, node }
    }

    /// Tells of a pod in the background.
    pub fn warn(&self, pod: &Pod, message: &str) {
        let Some(api) = self.api.clone() else { return };
        let (event, pod) = (event(pod, message, &self.node), pod.clone());
        tokio::spawn(async move {
            let sent = tokio::time::timeout(PATIENCE, post(&api, &pod.namespace, &event)).await;
            if let Err(error) = sent.context("it takes too long").flatten() {
                tracing::warn!(pod = pod.name, namespace = pod.namespace, "an event was not taken: {error:#}");
            }
        });
    }
}

/// The token and the certificate are read anew each time: both change while the driver runs.
async fn post(api: &str, namespace: &str, event: &Value) -> anyhow::Result<()> {
    let read = async |name: &str| tokio::fs::read(Path::new(ACCOUNT).join(name)).await;
    let mut client = Client::builder().no_proxy();
    if let Ok(authority) = read("ca.crt").await {
        client = client.tls_certs_only(Certificate::from_pem_bundle(&authority)?);
    }
    let mut request = client.build()?.post(format!("{api}/api/v1/namespaces/{namespace}/events")).json(event);
    if let Ok(token) = read("token").await {
        request = request.bearer_auth(String::from_utf8_lossy(&token).trim());
    }
    let answer = request.send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
    Ok(())
}

fn event(pod: &Pod, message: &str, node: &str) -> Value {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "generateName": "weightfs-", "namespace": pod.namespace },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
        },
        "type": "Warning",
        "reason": REASON,
        "message": message,
        "source": { "component": DRIVER, "host": node },
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}
