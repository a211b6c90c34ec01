//! What a store's refusals mean. Messages of stores are shown, as they name what is missing; they hold no secret but may be
//! long.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::origin::{OriginError, OriginErrorKind};

/// Longer answers are cut: some stores send pages.
const LONGEST_MESSAGE: usize = 300;

/// Why a question was not answered.
pub(super) enum Refusal {
    /// The bucket lies in this region.
    Elsewhere(String, OriginError),
    /// The key is not accepted, or not any more.
    Key(OriginError),
    Final(OriginError),
}

impl Refusal {
    pub(super) fn of<E>(place: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let failed = |kind, cause: String| OriginError::new(kind, place, cause);
        match &error {
            SdkError::ServiceError(answer) => {
                let meta = answer.err().meta();
                Answer { place, response: answer.raw(), code: meta.code(), message: meta.message() }.meaning()
            }
            SdkError::TimeoutError(_) => Self::late(place),
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status();
                let cause = format!("{status}, and the answer cannot be read: {}", innermost(&error));
                let kind =
                    if is_overload(status.as_u16()) { OriginErrorKind::Transient } else { OriginErrorKind::Nonsense };
                Self::Final(failed(kind, cause))
            }
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                Self::Final(failed(OriginErrorKind::Permanent, innermost(&error)))
            }
            SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
                Self::Final(failed(OriginErrorKind::Transient, format!("cannot connect: {}", innermost(&error))))
            }
            // Before anything was sent: mostly that there are no credentials, or that nobody hands them out now.
            _ => Self::Key(failed(OriginErrorKind::Transient, unsigned(&error))),
        }
    }

    pub(super) fn late(place: &str) -> Self {
        Self::Final(OriginError::new(OriginErrorKind::Transient, place, "no answer in time"))
    }

    pub(super) fn error(self) -> OriginError {
        match self {
            Self::Elsewhere(_, error) | Self::Key(error) | Self::Final(error) => error,
        }
    }
}

fn unsigned(error: &dyn Error) -> String {
    format!(
        "the request could not be made: {}; are there AWS credentials (AWS_ACCESS_KEY_ID, a profile, a role), or is the \
         bucket public (origin.s3.anonymous)?",
        innermost(error)
    )
}

struct Answer<'a> {
    place: &'a str,
    response: &'a HttpResponse,
    code: Option<&'a str>,
    message: Option<&'a str>,
}

impl Answer<'_> {
    fn meaning(&self) -> Refusal {
        use OriginErrorKind::*;
        let status = self.response.status().as_u16();
        let code = self.code.unwrap_or_default();
        // Other answers name the region as well, and are about something else.
        let is_elsewhere = matches!((status, code), (301 | 307, _) | (400, "" | "AuthorizationHeaderMalformed"));
        if let Some(region) = self.header("x-amz-bucket-region").filter(|_| is_elsewhere) {
            let cause = format!("the bucket lies in region {region} (origin.s3.region)");
            return Refusal::Elsewhere(region.to_owned(), self.error(Permanent, &cause));
        }
        match (status, code) {
            (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired") => {
                Refusal::Key(self.error(Transient, "the AWS credentials have expired"))
            }
            (_, "InvalidAccessKeyId" | "InvalidToken" | "SignatureDoesNotMatch" | "UnrecognizedClientException") => {
                Refusal::Key(self.error(Denied, "the AWS credentials are not accepted"))
            }
            // HEAD has no body that could tell an expired key from a right that is missing.
            (400 | 403, "") => {
                Refusal::Key(self.error(Denied, "access is denied, or the credentials are not accepted"))
            }
            (_, "SlowDown" | "Throttling" | "ThrottlingException" | "RequestTimeout" | "RequestTimeTooSkewed") => {
                Refusal::Final(self.error(Transient, ""))
            }
            (_, "NoSuchBucket") => Refusal::Final(self.error(NoRepo, "there is no such bucket")),
            (404 | 412, _) => Refusal::Final(self.error(NoFile, "")),
            (401 | 403, _) => Refusal::Final(self.error(Denied, "")),
            (status, _) if is_overload(status) => Refusal::Final(self.error(Transient, "")),
            _ => Refusal::Final(self.error(Permanent, "")),
        }
    }

    fn error(&self, kind: OriginErrorKind, meaning: &str) -> OriginError {
        let mut cause = self.response.status().as_u16().to_string();
        for part in [self.code.unwrap_or_default(), self.message.unwrap_or_default(), meaning] {
            if !part.is_empty() {
                let part: String = part.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
                cause = format!("{cause}: {part}");
            }
        }
        let wait = self.header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        OriginError::new(kind, self.place, cause).with_retry_after(wait)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)
    }
}

fn is_overload(status: u16) -> bool {
    // 501 is a store that does not know the question.
    matches!(status, 408 | 429 | 500 | 502..)
}

/// The error at the root: the outer ones only say that there was one.
fn innermost(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
