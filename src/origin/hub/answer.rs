//! What the Hub's answers mean: failures by status and `X-Error-Code`, and whether an answer is about the file asked for.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use url::Url;

use crate::origin::http::headers;
use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{BlobId, RemoteFile};

/// What was asked for: it says what a bare 404 or 401 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum About {
    Repo,
    Listing,
    Contents,
}

/// The longest word of the Hub's that is passed on.
const MAX_MESSAGE: usize = 200;

/// The error that an answer other than success or redirect stands for.
pub(super) fn failure(
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    about: About,
    with_token: bool,
) -> OriginError {
    let code = headers::text(headers, "x-error-code").unwrap_or_default();
    let message: String =
        headers::text(headers, "x-error-message").unwrap_or_default().chars().take(MAX_MESSAGE).collect();
    let kind = kind(status, code, &message, about);
    let mut cause = match (code, message.as_str()) {
        ("", "") => status.to_string(),
        (code, "") => format!("{status}, {code}"),
        (_, message) => format!("{status}, {}", message.trim_end_matches('.')),
    };
    if let Some(advice) = advice(kind, status, with_token) {
        cause = format!("{cause}: {advice}");
    }
    let wait = (kind == OriginErrorKind::Transient).then(|| headers::retry_after(headers)).flatten();
    OriginError::new(kind, url.as_str(), cause).with_retry_after(wait)
}

/// The same for a storage that the Hub redirected to. It knows nothing of repositories and credentials: what it refuses is
/// a URL, and a fresh one may be all that it takes.
pub(super) fn storage_failure(url: &Url, status: StatusCode, headers: &HeaderMap) -> OriginError {
    let kind = match kind(status, "", "", About::Contents) {
        kind @ (OriginErrorKind::Transient | OriginErrorKind::Nonsense) => kind,
        _ => OriginErrorKind::Permanent,
    };
    let wait = (kind == OriginErrorKind::Transient).then(|| headers::retry_after(headers)).flatten();
    OriginError::new(kind, url.as_str(), format!("the storage answers {status}")).with_retry_after(wait)
}

fn kind(status: StatusCode, code: &str, message: &str, about: About) -> OriginErrorKind {
    use OriginErrorKind::*;
    let again = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504 | 506..=599);
    match (code, status.as_u16()) {
        _ if again => Transient,
        ("GatedRepo", _) => Denied,
        ("RepoNotFound", _) => NoRepo,
        ("RevisionNotFound", _) => NoRevision,
        ("EntryNotFound", _) => NoFile,
        // A token that is not valid is refused even for public repositories.
        (_, 401) if message.starts_with("Invalid credentials") => Denied,
        // Without a token the Hub says 401 for what is missing and what is private alike.
        (_, 401) if about != About::Contents => NoRepo,
        (_, 401 | 403) => Denied,
        _ if message.contains("Access to this resource is disabled") => Denied,
        (_, 404) => match about {
            About::Repo => NoRepo,
            About::Listing => NoRevision,
            About::Contents => NoFile,
        },
        (_, 416) => Nonsense,
        _ => Permanent,
    }
}

fn advice(kind: OriginErrorKind, status: StatusCode, with_token: bool) -> Option<&'static str> {
    match (kind, with_token) {
        (OriginErrorKind::NoRepo, false) => Some("missing or private: give a token"),
        (OriginErrorKind::NoRepo, true) => Some("missing, or the token may not see it"),
        (OriginErrorKind::Denied, false) => Some("gated or private: give a token"),
        (OriginErrorKind::Denied, true) if status == StatusCode::UNAUTHORIZED => Some("the token is not accepted"),
        (OriginErrorKind::Denied, true) => Some("the token's owner has no access to it"),
        _ => None,
    }
}

/// Checks that the Hub's answer to a resolve, a redirect or the contents themselves, is about `file`. What is not stated is not checked.
pub(super) fn check(url: &Url, status: StatusCode, headers: &HeaderMap, file: &RemoteFile) -> Result<(), OriginError> {
    check_words(status, headers, file).map_err(|cause| OriginError::new(OriginErrorKind::Nonsense, url.as_str(), cause))
}

fn check_words(status: StatusCode, headers: &HeaderMap, file: &RemoteFile) -> Result<(), String> {
    let differs = |what: &str, expected: &dyn std::fmt::Display, got: &str| {
        Err(format!("the {what} should be {expected}, the answer says {got:?}"))
    };
    let (etag, size) = (file.blob.id.etag(), file.blob.size.to_string());
    if let Some(commit) = headers::text(headers, "x-repo-commit").filter(|commit| *commit != file.commit.to_string()) {
        return differs("commit", &file.commit, commit);
    }
    match headers::etag(headers, "x-linked-etag") {
        Some(linked) if linked != etag => return differs("etag", &etag, linked),
        // A redirect's own etag and length are not the file's, and a mirror's etag may be of a kind of its own.
        None if status.is_success() => {
            if let Some(own) = headers::etag(headers, "etag").filter(|own| is_other_blob(own, file.blob.id)) {
                return differs("etag", &etag, own);
            }
        }
        _ => {}
    }
    let is_whole = status == StatusCode::OK && !headers.contains_key(CONTENT_ENCODING);
    let length = headers.get(CONTENT_LENGTH).filter(|_| is_whole).and_then(|length| length.to_str().ok());
    match headers::text(headers, "x-linked-size").or(length) {
        Some(got) if got != size => differs("size", &size, got),
        _ => Ok(()),
    }
}

fn is_other_blob(etag: &str, id: BlobId) -> bool {
    BlobId::from_etag(etag).is_ok_and(|other| other.tag() == id.tag() && other != id)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::types::{Blob, Commit, RepoId, RepoPath, RepoType};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn fail(status: u16, pairs: &[(&'static str, &str)], about: About, with_token: bool) -> OriginError {
        let url = Url::parse("http://hub/x?secret=1").unwrap();
        failure(&url, StatusCode::from_u16(status).unwrap(), &headers(pairs), about, with_token)
    }

    #[test]
    fn every_failure_has_its_kind() {
        use OriginErrorKind::*;
        let cases: &[(u16, &str, &str, About, OriginErrorKind)] = &[
            (401, "", "", About::Repo, NoRepo),
            (401, "RepoNotFound", "Repository not found", About::Contents, NoRepo),
            (401, "GatedRepo", "Access to model x is restricted", About::Contents, Denied),
            (401, "", "", About::Contents, Denied),
            (401, "", "Invalid credentials in Authorization header", About::Repo, Denied),
            (403, "GatedRepo", "", About::Contents, Denied),
            (403, "", "Access to this resource is disabled.", About::Repo, Denied),
            (404, "RepoNotFound", "", About::Listing, NoRepo),
            (404, "RevisionNotFound", "", About::Repo, NoRevision),
            (404, "EntryNotFound", "", About::Contents, NoFile),
            (404, "", "", About::Repo, NoRepo),
            (404, "", "", About::Contents, NoFile),
            (416, "", "", About::Contents, Nonsense),
            (408, "", "", About::Contents, Transient),
            (429, "", "", About::Repo, Transient),
            (503, "RepoNotFound", "", About::Repo, Transient),
            (501, "", "", About::Repo, Permanent),
            (400, "", "", About::Repo, Permanent),
        ];
        for (status, code, message, about, kind) in cases {
            let error = fail(*status, &[("x-error-code", code), ("x-error-message", message)], *about, false);
            assert_eq!(error.kind, *kind, "{status} {code} {message} {about:?}");
            assert!(!error.url.contains("secret"));
        }
    }

    #[test]
    fn a_missing_repo_says_what_a_token_could_change() {
        assert!(fail(401, &[], About::Repo, false).cause.contains("missing or private: give a token"));
        assert!(fail(404, &[], About::Repo, true).cause.contains("the token may not see it"));
    }

    #[test]
    fn only_what_may_get_better_carries_a_wait() {
        assert_eq!(fail(429, &[("retry-after", "3")], About::Repo, false).retry_after.unwrap().as_secs(), 3);
        assert_eq!(fail(404, &[("retry-after", "3")], About::Repo, false).retry_after, None);
    }

    #[test]
    fn an_answer_about_another_file_commit_or_size_is_nonsense() {
        let id = BlobId::Sha256([7; 32]);
        let file = RemoteFile {
            repo: RepoId::new(RepoType::Model, "a/b").unwrap(),
            commit: Commit::from_bytes([1; 20]),
            path: RepoPath::new("w").unwrap(),
            blob: Blob { id, size: 10 },
        };
        let (good, other) = (format!("\"{}\"", id.etag()), format!("\"{}\"", "8".repeat(64)));
        let commit = file.commit.to_string();
        let ok = |status, pairs: &[(&'static str, &str)]| check_words(status, &headers(pairs), &file).is_ok();
        let (found, whole) = (StatusCode::FOUND, StatusCode::OK);
        assert!(ok(found, &[("x-repo-commit", &commit), ("x-linked-etag", &good), ("x-linked-size", "10")]));
        assert!(ok(found, &[]) && ok(whole, &[]));
        assert!(ok(found, &[("etag", &other), ("content-length", "99")]), "these are the redirect's own");
        assert!(ok(whole, &[("etag", "\"5f3-abc\"")]), "a mirror's own kind of etag");
        assert!(!ok(found, &[("x-repo-commit", &"2".repeat(40))]));
        assert!(!ok(found, &[("x-linked-etag", &other)]));
        assert!(!ok(found, &[("x-linked-size", "11")]));
        assert!(!ok(whole, &[("etag", &other)]));
        assert!(!ok(whole, &[("content-length", "11")]));
    }
}
