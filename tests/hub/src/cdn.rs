//! The other host: LFS objects under signed URLs. It knows nothing of repositories, commits or tokens, sends none of
//! the Hub's headers, and refuses whoever shows it credentials, so that a leaked token fails a test.

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::download::Download;
use crate::exchange::{Asking, World};
use crate::refusal::{Refusal, set};
use crate::sign::Verdict;

const PREFIX: &str = "/repos/";

/// Where an object is, before it is signed.
pub fn path(sha256: &str) -> String {
    format!("{PREFIX}{}/{}/{sha256}", &sha256[..2], &sha256[2..4])
}

pub async fn answer(world: &World, asking: &Asking) -> Response {
    let outcome = object(world, asking).await;
    outcome.unwrap_or_else(CdnError::into_response)
}

async fn object(world: &World, asking: &Asking) -> Result<Response, CdnError> {
    if !matches!(asking.parts.method, Method::GET | Method::HEAD) {
        return Err(CdnError::WrongMethod);
    }
    if asking.headers().contains_key(header::AUTHORIZATION) {
        return Err(CdnError::Credentials);
    }
    match world.signer.check(asking.path_and_query()) {
        Verdict::Valid => {}
        Verdict::Expired => return Err(CdnError::Expired),
        Verdict::Wrong => return Err(CdnError::Unsigned),
    }
    let sha256 = asking.parts.uri.path().rsplit('/').next();
    let sha256 = sha256.unwrap_or_default().to_owned();
    let blob = world.store.blob(&sha256).ok_or(CdnError::NoObject)?;
    asking.entry.update(|record| record.blob = Some(sha256.clone()));
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CONTENT_TYPE, "application/octet-stream");
    let download = Download { content: &blob.content, size: blob.size, etag: &object_etag(&sha256), headers };
    download.answer(asking.headers()).await.map_err(CdnError::Broken)
}

/// Looks like that of a multipart upload, and is not the sha256.
fn object_etag(sha256: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update("object");
    hasher.update(sha256);
    let digest = hex::encode(hasher.finalize());
    format!("{}-2", &digest[..32])
}

enum CdnError {
    WrongMethod,
    Credentials,
    Expired,
    Unsigned,
    NoObject,
    Broken(Refusal),
}

impl CdnError {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            CdnError::WrongMethod => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                (status, "MethodNotAllowed", "Only GET and HEAD are served here.")
            }
            CdnError::Credentials => {
                let message = "Only one auth mechanism allowed; the signed query is one already.";
                (StatusCode::BAD_REQUEST, "InvalidArgument", message)
            }
            CdnError::Expired => (StatusCode::FORBIDDEN, "AccessDenied", "Request has expired"),
            CdnError::Unsigned => {
                let message = "The request signature does not match.";
                (StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message)
            }
            CdnError::NoObject => (StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist."),
            CdnError::Broken(refusal) => return refusal.into_response(),
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
    }
}
