//! The SDK's requests, sent with this program's own HTTP client: one TLS, one set of proxies and CA certificates, and
//! HTTP/1.1, so that parallel ranges have connections of their own.

use std::fmt;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use reqwest::{Body, Request};

use crate::origin::http::Clients;

/// Deadlines are the caller's: those that the SDK asks of a connector are not looked at.
#[derive(Clone)]
pub(super) struct Transport(pub(super) Clients);

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let clients = self.0.clone();
        HttpConnectorFuture::new(async move {
            let client = clients.data().map_err(|error| ConnectorError::user(error.into()))?;
            let request = plain(request).map_err(ConnectorError::user)?;
            match client.execute(request).await {
                Ok(response) => sdk(response),
                // Without the URL: its query may be a signature.
                Err(error) if error.is_timeout() => Err(ConnectorError::timeout(error.without_url().into())),
                Err(error) => Err(ConnectorError::io(error.without_url().into())),
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
