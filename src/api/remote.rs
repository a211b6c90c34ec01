//! The caller's end of the network service, which may be on another machine.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use super::wire::api::api_service_client::ApiServiceClient;
use super::wire::api::{ApiRequest, ApiResponse};
use super::wire::health::health_service_client::HealthServiceClient;
use super::wire::health::{HealthRequest, HealthResponse};
use super::wire::model::model_service_client::ModelServiceClient;
use super::wire::model::{ModelDownloadRequest, ModelStatus, ModelStatusUpdate};
use crate::types::Token;

/// A service that works says so more often.
const SILENCE: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The one error after which it is certain that the service has done nothing.
    #[error("{endpoint}: no service answers: {cause}; --endpoint names another one")]
    Unreachable { endpoint: String, cause: String },
    #[error("{endpoint}: the service refuses: {message}")]
    Refused { endpoint: String, message: String },
    #[error("{endpoint}: the service did not answer within {} s", .after.as_secs())]
    Late { endpoint: String, after: Duration },
    #[error("the token for {endpoint} has characters that cannot be sent; see client.token_file")]
    Token { endpoint: String },
}

/// A connection to a service.
pub struct Remote {
    channel: Channel,
    endpoint: String,
    timeout: Duration,
    token: Option<MetadataValue<Ascii>>,
}

impl Remote {
    /// `timeout` holds for the connection and for each answer that is no stream.
    pub async fn connect(endpoint: &str, timeout: Duration, token: Option<&Token>) -> Result<Self, RemoteError> {
        let unreachable = |cause: String| RemoteError::Unreachable { endpoint: endpoint.to_owned(), cause };
        let place = place(endpoint).map_err(|cause| unreachable(deepest(&cause)))?;
        let token = token.map(|token| format!("Bearer {}", token.secret()).parse());
        let token = token.transpose().map_err(|_| RemoteError::Token { endpoint: endpoint.to_owned() })?;
        let channel = match tokio::time::timeout(timeout, place.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(unreachable(with_advice(deepest(&error)))),
            Err(_) => return Err(unreachable(format!("nothing within {} s", timeout.as_secs()))),
        };
        Ok(Self { channel, endpoint: endpoint.to_owned(), timeout, token })
    }

    pub async fn health(&self) -> Result<HealthResponse, RemoteError> {
        let mut client = HealthServiceClient::new(self.channel.clone());
        let answer = self.within(self.timeout, client.get_health(self.request(HealthRequest {}))).await?;
        Ok(answer.into_inner())
    }

    /// `payload` is JSON.
    pub async fn send(&self, action: &str, payload: Option<Vec<u8>>) -> Result<ApiResponse, RemoteError> {
        let mut client = ApiServiceClient::new(self.channel.clone());
        let id = format!("{:032x}", rand::random::<u128>());
        let request = self.request(ApiRequest { id, action: action.to_owned(), payload });
        Ok(self.within(self.timeout, client.send_request(request)).await?.into_inner())
    }

    /// Until the service has the model. `each` sees what it says meanwhile.
    pub async fn ensure(
        &self,
        request: ModelDownloadRequest,
        mut each: impl FnMut(&ModelStatusUpdate),
    ) -> Result<ModelStatusUpdate, RemoteError> {
        let mut client = ModelServiceClient::new(self.channel.clone());
        let request = self.request(request);
        let mut updates = self.within(SILENCE, client.ensure_model_downloaded(request)).await?.into_inner();
        loop {
            let refused = |message: String| RemoteError::Refused { endpoint: self.endpoint.clone(), message };
            let Some(update) = self.within(SILENCE, updates.message()).await? else {
                return Err(refused("it ended in the middle of the download".to_owned()));
            };
            match update.status() {
                ModelStatus::Downloaded => return Ok(update),
                ModelStatus::Error => return Err(refused(update.message.unwrap_or_default())),
                ModelStatus::Downloading => each(&update),
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    async fn within<T>(
        &self,
        after: Duration,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, RemoteError> {
        let endpoint = self.endpoint.clone();
        match tokio::time::timeout(after, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(RemoteError::Refused { endpoint, message: status.message().to_owned() }),
            Err(_) => Err(RemoteError::Late { endpoint, after }),
        }
    }
}

/// With the certificates that this machine trusts, or those of SSL_CERT_FILE, for `https://`.
fn place(endpoint: &str) -> Result<Endpoint, tonic::transport::Error> {
    let place = Endpoint::from_shared(endpoint.to_owned())?;
    match place.uri().scheme_str() {
        Some("https") => place.tls_config(ClientTlsConfig::new().with_native_roots()),
        _ => Ok(place),
    }
}

fn with_advice(cause: String) -> String {
    match cause.contains("certificate") {
        true => format!("{cause} (SSL_CERT_FILE names a file with certificates to trust)"),
        false => cause,
    }
}

/// The one that says what happened; those above it say only that something did.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
