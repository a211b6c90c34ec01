//! Whether the driver that runs here answers, asked as the kubelet asks.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tonic::Request;

use crate::daemon::dial;
use crate::proto::csi::ProbeRequest;
use crate::proto::csi::identity_client::IdentityClient;

/// Less than the timeout of a usual probe, so that the reason is told.
const PATIENCE: Duration = Duration::from_secs(4);

pub async fn run(socket: &Path) -> anyhow::Result<()> {
    let ask = async {
        let mut driver = IdentityClient::new(dial(socket).await?);
        driver.probe(Request::new(ProbeRequest {})).await?;
        anyhow::Ok(())
    };
    let asked = tokio::time::timeout(PATIENCE, ask).await.context("it takes too long").flatten();
    asked.with_context(|| format!("{}: the driver does not answer", socket.display()))
}
