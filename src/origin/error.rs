//! What an origin can answer instead of bytes or names.

use std::fmt;
use std::time::Duration;

/// Whose fault it is and what may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginErrorKind {
    /// No such repository, or one that this identity may not know of.
    NoRepo,
    NoRevision,
    NoFile,
    /// The repository is there, this identity may not read its contents.
    Denied,
    /// The identity is offline: nothing was asked.
    Offline,
    /// Connection refused, reset, timed out, stalled, cut short; 408, 429 or 5xx.
    Transient,
    /// An answer that makes no sense: another length, range or commit than asked. Another attempt may do better.
    Nonsense,
    /// Anything else: it will not get better by asking again.
    Permanent,
}

/// An answer that is not the one asked for: what was asked of which URL and what came back.
///
/// Cloneable, since one failed fetch answers many waiting readers.
#[derive(Debug, Clone, thiserror::Error)]
pub struct OriginError {
    pub kind: OriginErrorKind,
    /// The URL asked, without its query and user: signed URLs hold secrets, and some endpoints a password.
    pub url: String,
    /// What came back, in words: `503 Service Unavailable`, `connection refused`.
    pub cause: String,
    /// The earliest time at which the origin wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl OriginError {
    pub fn new(kind: OriginErrorKind, url: impl Into<String>, cause: impl Into<String>) -> Self {
        let mut url = url.into();
        url.truncate(url.find(['?', '#']).unwrap_or(url.len()));
        let host = url.find("://").map_or(0, |scheme| scheme + 3);
        let path = url[host..].find('/').map_or(url.len(), |path| host + path);
        if let Some(user) = url[host..path].rfind('@') {
            url.replace_range(host..=host + user, "");
        }
        Self { kind, url, cause: cause.into(), retry_after: None }
    }

    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, OriginErrorKind::Transient | OriginErrorKind::Nonsense)
    }

    /// Whether another identity could get another answer.
    pub fn depends_on_identity(&self) -> bool {
        use OriginErrorKind::*;
        matches!(self.kind, NoRepo | NoRevision | NoFile | Denied | Offline)
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_no_secret_of_its_url() {
        let shown = |url: &str| OriginError::new(OriginErrorKind::Permanent, url, "").url;
        assert_eq!(shown("https://cdn/x?Signature=secret"), "https://cdn/x");
        assert_eq!(shown("https://user:p@ss@mirror:8080/a@b#c"), "https://mirror:8080/a@b");
        for url in ["", "hub", "://", "http://hub", "@", "s3://bucket/key"] {
            shown(url);
        }
    }
}
