//! The simulated server of the Xet crates, and uploads to it.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use xet_client::cas_client::{LocalServer, LocalServerConfig};
use xet_data::processing::configurations::{SessionContext, TranslatorConfig};
use xet_data::processing::{FileUploadSession, Sha256Policy};
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

pub(crate) struct Store {
    context: XetContext,
    endpoint: String,
    /// Where an upload looks for what the store has already.
    uploads: TempDir,
    _stop: oneshot::Sender<()>,
}

impl Store {
    pub(crate) async fn start(listener: TcpListener, runtime: &Runtime) -> anyhow::Result<Self> {
        let mut config = XetConfig::default();
        config.telemetry.enabled = false;
        let context = XetContext::from_external(runtime.handle().clone(), config);
        let endpoint = format!("http://{}", listener.local_addr()?);
        let server = LocalServerConfig { in_memory: true, ..LocalServerConfig::default() };
        let server = LocalServer::new(context.clone(), server).await?;
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(async move { server.serve_until_stopped(listener, stopped).await });
        Ok(Self { context, endpoint, uploads: tempfile::tempdir()?, _stop: stop })
    }

    pub(crate) async fn upload(&self, bytes: &[u8]) -> anyhow::Result<String> {
        let session = SessionContext {
            endpoint: self.endpoint.clone(),
            auth: None,
            custom_headers: None,
            repo_paths: vec![String::new()],
            session_id: None,
            cache_root: Some(self.uploads.path().to_owned()),
        };
        let upload = FileUploadSession::new(Arc::new(TranslatorConfig::new(&self.context, session)?)).await?;
        let (_, mut file) = upload.start_clean(None, Some(bytes.len() as u64), Sha256Policy::Skip)?;
        file.add_data(bytes).await?;
        let (info, _) = file.finish().await?;
        upload.finalize().await?;
        Ok(info.hash().to_owned())
    }
}
