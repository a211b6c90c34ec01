//! Every answer that is not what was asked for, with the status, headers and words of the Hub.
//!
//! Clients tell these apart by `X-Error-Code`, and some by `X-Error-Message`, so both are exact.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::repo::RepoId;
use crate::store::{Caller, StoreError};

pub const X_REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const X_ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

#[derive(Debug)]
pub enum Refusal {
    /// The same question under the repository's new name.
    Moved(String),
    BadCredentials,
    NotLoggedIn,
    /// Missing, or hidden from this caller.
    NoRepo(Caller),
    Disabled,
    Gated(RepoId, Caller),
    NoRevision(String),
    NoEntry {
        commit: String,
    },
    NoSuchRoute,
    WrongMethod,
    BadRequest(String),
    Broken(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Moved(_) => StatusCode::TEMPORARY_REDIRECT,
            Refusal::BadCredentials | Refusal::NotLoggedIn => StatusCode::UNAUTHORIZED,
            Refusal::NoRepo(Caller::Anonymous) => StatusCode::UNAUTHORIZED,
            Refusal::Gated(_, Caller::Anonymous) => StatusCode::UNAUTHORIZED,
            Refusal::Disabled | Refusal::Gated(..) => StatusCode::FORBIDDEN,
            Refusal::NoRepo(_) | Refusal::NoRevision(_) => StatusCode::NOT_FOUND,
            Refusal::NoEntry { .. } | Refusal::NoSuchRoute => StatusCode::NOT_FOUND,
            Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
            Refusal::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Refusal::NoRepo(_) => Some("RepoNotFound"),
            Refusal::Gated(..) => Some("GatedRepo"),
            Refusal::NoRevision(_) => Some("RevisionNotFound"),
            Refusal::NoEntry { .. } => Some("EntryNotFound"),
            _ => None,
        }
    }

    fn message(&self) -> String {
        match self {
            Refusal::Moved(to) => format!("Temporary Redirect. Redirecting to {to}"),
            Refusal::BadCredentials => "Invalid credentials in Authorization header".to_owned(),
            Refusal::NotLoggedIn | Refusal::NoRepo(Caller::Anonymous) => "Invalid username or password.".to_owned(),
            Refusal::NoRepo(_) => "Repository not found".to_owned(),
            Refusal::Disabled => "Access to this resource is disabled.".to_owned(),
            Refusal::Gated(repo, caller) => gated_message(repo, caller),
            Refusal::NoRevision(revision) => format!("Invalid rev id: {revision}"),
            Refusal::NoEntry { .. } => "Entry not found".to_owned(),
            Refusal::NoSuchRoute => "Sorry, we can't find the page you are looking for.".to_owned(),
            Refusal::WrongMethod => "Method not allowed".to_owned(),
            Refusal::BadRequest(why) | Refusal::Broken(why) => why.clone(),
        }
    }
}

fn gated_message(repo: &RepoId, caller: &Caller) -> String {
    let name = &repo.name;
    let what = repo.kind.plural().trim_end_matches('s');
    let restricted = format!("Access to {what} {name} is restricted");
    match caller {
        Caller::Anonymous => {
            format!("{restricted}. You must have access to it and be authenticated to access it. Please log in.")
        }
        _ => format!("{restricted} and you are not in the authorized list. Ask for access."),
    }
}

impl Refusal {
    /// As the pages outside the API say it.
    pub fn into_text(self) -> Response {
        let body = self.message();
        self.with_body(body)
    }

    fn with_body(self, body: impl IntoResponse) -> Response {
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        if let Some(code) = self.code() {
            headers.insert(X_ERROR_CODE, HeaderValue::from_static(code));
        }
        match &self {
            Refusal::Moved(to) => set(headers, header::LOCATION, to),
            refusal => set(headers, X_ERROR_MESSAGE, &refusal.message()),
        }
        if let Refusal::NoEntry { commit } = &self {
            set(headers, X_REPO_COMMIT, commit);
        }
        response
    }
}

impl IntoResponse for Refusal {
    /// As the API says it.
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.message() }));
        self.with_body(body)
    }
}

/// Inserts a header unless the value, which may come from a client, cannot be one.
pub fn set(headers: &mut axum::http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Refusal::BadRequest(error.to_string())
    }
}
