//! A Security Token Service that knows one call: it hands out a key for whatever token a web identity shows.

use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::{Body, HttpResponse};

use crate::Keys;

/// A token `NAME` becomes the key `AKNAME`; one that begins with `short` expires in a moment, one that is `refused` is.
pub(crate) async fn answer(request: Request<Incoming>, keys: &Keys) -> HttpResponse {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let form = String::from_utf8_lossy(&body);
    let field = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let token = match (field("Action"), field("WebIdentityToken")) {
        (Some("AssumeRoleWithWebIdentity"), Some(token)) if token != "refused" => token,
        _ => return error(),
    };
    let (key, secret) = (format!("AK{token}"), format!("secret of {token}"));
    keys.add(&key, &secret);
    // The SDK renews what has less than ten seconds left.
    let lasts = Duration::from_secs(if token.starts_with("short") { 11 } else { 3600 });
    let expiration = s3s::dto::Timestamp::from(SystemTime::now() + lasts);
    let mut date = Vec::new();
    expiration.format(s3s::dto::TimestampFormat::DateTime, &mut date).unwrap();
    let date = String::from_utf8(date).unwrap();
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>session</SessionToken><Expiration>{date}</Expiration></Credentials>\
         <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/reader/x</Arn><AssumedRoleId>R:x</AssumedRoleId></AssumedRoleUser>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    Response::new(Body::from(body))
}

fn error() -> HttpResponse {
    let body =
        "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>as asked</Message></Error></ErrorResponse>";
    Response::builder().status(400).body(Body::from(body.to_owned())).unwrap()
}
