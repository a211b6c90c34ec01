//! Remembers which host asked to be left alone, so that nobody else asks it meanwhile.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use super::answer::About;
use crate::origin::{Backoff, OriginError, OriginErrorKind};
use crate::types::IdentityDigest;

/// The Hub counts what each credential asks of the API apart from what it asks of the resolvers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PauseKey {
    host: String,
    contents: bool,
    identity: IdentityDigest,
}

impl PauseKey {
    pub(super) fn new(url: &Url, about: About, identity: IdentityDigest) -> Self {
        Self { host: url.authority().to_owned(), contents: about == About::Contents, identity }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<PauseKey, Instant>>);

impl Pauses {
    /// `Ok` if the host may be asked, else the error that it would answer, with the rest of the wait.
    pub(super) fn check(&self, key: &PauseKey, url: &Url) -> Result<(), OriginError> {
        let until = self.0.lock().get(key).copied();
        let left = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if left.is_zero() {
            return Ok(());
        }
        let cause = format!("{} asked for a pause, {:.0} s of it are left", key.host, left.as_secs_f64().ceil());
        Err(OriginError::new(OriginErrorKind::Transient, url.as_str(), cause).with_retry_after(Some(left)))
    }

    /// The host answered `error`.
    pub(super) fn note(&self, key: PauseKey, error: &OriginError) {
        let Some(wait) = error.retry_after.filter(|wait| !wait.is_zero()) else { return };
        let now = Instant::now();
        let mut pauses = self.0.lock();
        pauses.retain(|_, until| *until > now);
        let until = pauses.entry(key).or_insert(now);
        // An absurd wait would lock the host out for good, long after its operator has mended it.
        *until = (*until).max(now + wait.min(Backoff::LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::Identity;

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_its_host_bucket_and_credential_until_it_is_over() {
        let url = Url::parse("http://hub/x").unwrap();
        let key = |host: &str, about, token: &str| {
            let url = Url::parse(host).unwrap();
            let identity = Identity::new("http://hub", Some(crate::types::Token::new(token)), false);
            PauseKey::new(&url, about, identity.digest())
        };
        let pauses = Pauses::default();
        let asked = OriginError::new(OriginErrorKind::Transient, "http://hub/x", "429");
        pauses.note(key("http://hub/x", About::Repo, "a"), &asked.with_retry_after(Some(Duration::from_secs(5))));
        let ok = |host, about, token| pauses.check(&key(host, about, token), &url).is_ok();
        assert!(!ok("http://hub/y", About::Listing, "a"));
        assert!(ok("http://hub/y", About::Contents, "a"));
        assert!(ok("http://hub/y", About::Listing, "b"));
        assert!(ok("http://cdn/y", About::Listing, "a"));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(ok("http://hub/y", About::Listing, "a"));
    }
}
