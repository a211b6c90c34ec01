//! The SDK's requests, sent with this program's own HTTP client: one TLS, one set of proxies and CA certificates, and
//! HTTP/1.1, so that parallel ranges have connections of their own.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use reqwest::{Body, Request};

use crate::origin::http::Clients;

#[derive(Clone)]
pub(super) struct Transport {
    clients: Clients,
    /// Until the head of an answer is there, where the SDK knows: a metadata service that is not there must not be waited
    /// for. For a store's own answers the caller has a deadline.
    patience: Option<Duration>,
}

impl Transport {
    pub(super) fn new(clients: Clients) -> Self {
        Self { clients, patience: None }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let waits = settings.connect_timeout().zip(settings.read_timeout());
        let patience = waits.map(|(connect, read)| connect + read);
        SharedHttpConnector::new(Self { clients: self.clients.clone(), patience })
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { clients, patience } = self.clone();
        HttpConnectorFuture::new(async move {
            let client = clients.data().map_err(|error| ConnectorError::user(error.into()))?;
            let request = plain(request).map_err(ConnectorError::user)?;
            let answer = client.execute(request);
            let answer = match patience {
                Some(patience) => tokio::time::timeout(patience, answer).await,
                None => Ok(answer.await),
            };
            match answer {
                Ok(Ok(response)) => sdk(response),
                // Without the URL: its query may be a signature.
                Ok(Err(error)) if error.is_timeout() => Err(ConnectorError::timeout(error.without_url().into())),
                Ok(Err(error)) => Err(ConnectorError::io(error.without_url().into())),
                Err(late) => Err(ConnectorError::timeout(late.into())),
            }
        })
    }
}

fn plain(request: HttpRequest) -> Result<Request, Box<dyn std::error::Error + Send + Sync>> {
    let request = request.try_into_http1x()?.map(|body| match body.bytes().map(<[u8]>::to_vec) {
        Some(bytes) => Body::from(bytes),
        None => Body::wrap(body),
    });
    Ok(Request::try_from(request)?)
}

fn sdk(response: reqwest::Response) -> Result<HttpResponse, ConnectorError> {
    let response = http::Response::<Body>::from(response).map(SdkBody::from_body_1_x);
    HttpResponse::try_from(response).map_err(|error| ConnectorError::user(error.into()))
}
