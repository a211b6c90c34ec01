//! Where the bytes of files are: signed URLs, remembered until shortly before they expire.

use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use reqwest::header::HeaderMap;
use url::Url;

use crate::origin::OriginError;
use crate::origin::http::{dates, headers};
use crate::origin::xet::XetHash;
use crate::types::{Commit, Identity, IdentityDigest, RemoteFile, RepoId, RepoPath};

/// Whom to ask for the bytes of a file, and for how long that is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) url: Url,
    pub(super) host: Host,
    pub(super) lifetime: Duration,
    /// The same bytes in the Hub's Xet store.
    pub(super) xet: Option<XetHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// The Hub's own resolve URL.
    Hub,
    /// A URL that carries its own, short-lived permission.
    Storage,
}

impl Place {
    /// For URLs that do not say how long they live.
    const UNSTATED: Duration = Duration::from_secs(600);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    /// A request may take a while to arrive; a tenth of a short life is given up for it.
    const MARGIN: Duration = Duration::from_secs(60);

    pub(super) fn hub(url: Url, headers: &HeaderMap) -> Self {
        Self { url, host: Host::Hub, lifetime: Self::UNSTATED, xet: xet_hash(headers) }
    }

    /// `headers` came with the redirect to `url`; they tell the time of the clock that signed it.
    pub(super) fn signed(url: Url, headers: &HeaderMap) -> Self {
        let stated = stated_lifetime(&url, headers::server_time(headers));
        let lifetime = stated.unwrap_or(Self::UNSTATED).min(Self::LONGEST);
        let lifetime = lifetime - Self::MARGIN.min(lifetime / 10);
        Self { url, host: Host::Storage, lifetime, xet: xet_hash(headers) }
    }
}

fn xet_hash(headers: &HeaderMap) -> Option<XetHash> {
    headers::text(headers, "x-xet-hash").and_then(XetHash::from_hex)
}

/// `X-Amz-Expires` (seconds from `X-Amz-Date`, with Google's twin) or `Expires` (seconds since 1970).
fn stated_lifetime(url: &Url, now: i64) -> Option<Duration> {
    let query = |name: &str| url.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let relative = |vendor: &str| {
        let lasts: i64 = query(&format!("X-{vendor}-Expires"))?.parse().ok()?;
        let signed = query(&format!("X-{vendor}-Date")).and_then(|date| dates::from_iso(&date));
        Some(lasts.saturating_sub(now.saturating_sub(signed.unwrap_or(now))))
    };
    let absolute = || Some(query("Expires")?.parse::<i64>().ok()?.saturating_sub(now));
    let left = relative("Amz").or_else(|| relative("Goog")).or_else(absolute)?;
    Some(Duration::from_secs(left.max(0) as u64))
}

/// Permission is personal: what one identity was given is not used for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: IdentityDigest,
    repo: RepoId,
    commit: Commit,
    path: RepoPath,
}

impl Key {
    fn new(identity: &Identity, file: &RemoteFile) -> Self {
        Self { identity: identity.digest(), repo: file.repo.clone(), commit: file.commit, path: file.path.clone() }
    }
}

struct Lifetime;

impl Expiry<Key, Place> for Lifetime {
    fn expire_after_create(&self, _: &Key, place: &Place, _: Instant) -> Option<Duration> {
        Some(place.lifetime)
    }

    fn expire_after_update(&self, _: &Key, place: &Place, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(place.lifetime)
    }
}

pub(super) struct Places(Cache<Key, Place>);

impl Places {
    const MAX: u64 = 10_000;

    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(Self::MAX).expire_after(Lifetime).build())
    }

    pub(super) async fn known(&self, identity: &Identity, file: &RemoteFile) -> Option<Place> {
        self.0.get(&Key::new(identity, file)).await
    }

    /// The known place, or what `find` says; many who ask at once find it once.
    pub(super) async fn known_or(
        &self,
        identity: &Identity,
        file: &RemoteFile,
        find: impl Future<Output = Result<Place, OriginError>>,
    ) -> Result<Place, OriginError> {
        let found = self.0.try_get_with(Key::new(identity, file), find).await;
        found.map_err(|error| OriginError::clone(&error))
    }

    pub(super) async fn remember(&self, identity: &Identity, file: &RemoteFile, place: &Place) {
        self.0.insert(Key::new(identity, file), place.clone()).await;
    }

    pub(super) async fn forget_any(&self, identity: &Identity, file: &RemoteFile) {
        self.0.invalidate(&Key::new(identity, file)).await;
    }

    /// Forgets `refused`, unless another has been found already.
    pub(super) async fn forget(&self, identity: &Identity, file: &RemoteFile, refused: &Place) {
        let key = Key::new(identity, file);
        if self.0.get(&key).await.is_some_and(|place| place == *refused) {
            self.0.invalidate(&key).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 784_111_777;

    fn lifetime(query: &str) -> Option<u64> {
        let url = Url::parse(&format!("http://cdn/x?{query}")).unwrap();
        stated_lifetime(&url, NOW).map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn a_signed_url_says_how_long_it_lives() {
        assert_eq!(lifetime("X-Amz-Expires=3600"), Some(3600));
        assert_eq!(lifetime("X-Amz-Date=19941106T084837Z&X-Amz-Expires=3600"), Some(3540));
        assert_eq!(lifetime("X-Goog-Expires=60"), Some(60));
        assert_eq!(lifetime(&format!("Expires={}&Signature=x", NOW + 90)), Some(90));
        assert_eq!(lifetime(&format!("Expires={}", NOW - 90)), Some(0));
        for query in ["", "Expires=soon", "X-Amz-Expires=-", "Expires=99999999999999999999"] {
            assert_eq!(lifetime(query), None, "{query}");
        }
    }

    #[test]
    fn a_xet_hash_is_64_digits_or_none() {
        let place = |hash: &str| {
            let headers = HeaderMap::from_iter([("x-xet-hash".parse().unwrap(), hash.parse().unwrap())]);
            Place::signed(Url::parse("http://cdn/x").unwrap(), &headers)
        };
        assert_eq!(place(&"a1".repeat(32)).xet, XetHash::from_hex(&"a1".repeat(32)));
        assert!(place(&"a1".repeat(32)).xet.is_some());
        for wrong in ["", "a1", &"g1".repeat(32), &"a1".repeat(33)] {
            assert_eq!(place(wrong).xet, None, "{wrong}");
        }
    }

    #[test]
    fn a_place_is_left_a_little_before_it_expires() {
        let place = |query: &str| {
            let url = Url::parse(&format!("http://cdn/x?{query}")).unwrap();
            Place::signed(url, &HeaderMap::new()).lifetime.as_secs()
        };
        assert_eq!(place("X-Amz-Expires=3600"), 3540);
        assert_eq!(place("X-Amz-Expires=10"), 9);
        assert_eq!(place(""), 540);
        assert_eq!(place("X-Amz-Expires=9223372036854775807"), 24 * 3600 - 60);
    }
}
