//! Signed CDN URLs: a keyed hash over path, file name and expiry. `expire_all` makes those handed out so far worthless.

use std::sync::atomic::{AtomicU64, Ordering};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::clock;

const KEY_PAIR_ID: &str = "K0TESTHUB";
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

pub struct Signer {
    secret: u128,
    generation: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    Expired,
    /// No signature, or not of this URL.
    Wrong,
}

impl Default for Signer {
    fn default() -> Self {
        Signer { secret: clock::since_epoch().as_nanos(), generation: AtomicU64::new(0) }
    }
}

impl Signer {
    /// The path with its signed query; `file` is the name a browser would save under.
    pub fn sign(&self, path: &str, file: &str, lifetime_seconds: f64) -> String {
        let expires = (clock::since_epoch().as_secs_f64() + lifetime_seconds).ceil() as u64;
        let name = utf8_percent_encode(file, QUERY_VALUE);
        let saved_as = format!("inline; filename*=UTF-8''{name};");
        let saved_as = utf8_percent_encode(&saved_as, QUERY_VALUE);
        let seconds = lifetime_seconds.ceil() as u64;
        let unsigned =
            format!("{path}?response-content-disposition={saved_as}&X-Amz-Expires={seconds}&Expires={expires}");
        let generation = self.generation.load(Ordering::SeqCst);
        let signature = self.signature(&unsigned, generation);
        format!("{unsigned}&Signature={signature}&Key-Pair-Id={KEY_PAIR_ID}")
    }

    pub fn expire_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Judges a path and query as it arrived.
    pub fn check(&self, path_and_query: &str) -> Verdict {
        let Some((unsigned, rest)) = path_and_query.split_once("&Signature=") else {
            return Verdict::Wrong;
        };
        let given = rest.split('&').next().unwrap_or_default();
        let expires = unsigned.rsplit_once("&Expires=").map(|(_, text)| text.parse::<u64>());
        let Some(Ok(expires)) = expires else {
            return Verdict::Wrong;
        };
        let now = self.generation.load(Ordering::SeqCst);
        let Some(generation) = (0..=now).rev().find(|g| self.signature(unsigned, *g) == given) else {
            return Verdict::Wrong;
        };
        let in_time = clock::since_epoch().as_secs_f64() < expires as f64;
        match in_time && generation == now {
            true => Verdict::Valid,
            false => Verdict::Expired,
        }
    }

    fn signature(&self, unsigned: &str, generation: u64) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.secret.to_be_bytes());
        hasher.update(generation.to_be_bytes());
        hasher.update(unsigned);
        hex::encode(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_untouched_url_in_time_is_valid() {
        let signer = Signer::default();
        let url = signer.sign("/repos/ab", "a b;.bin", 60.0);
        assert_eq!(signer.check(&url), Verdict::Valid);
        assert_eq!(signer.check(&url.replace("/ab", "/ac")), Verdict::Wrong);
        assert_eq!(signer.check("/repos/ab"), Verdict::Wrong);
        let late = signer.sign("/repos/ab", "x", -2.0);
        assert_eq!(signer.check(&late), Verdict::Expired);
        signer.expire_all();
        assert_eq!(signer.check(&url), Verdict::Expired);
        assert_eq!(signer.check(&signer.sign("/repos/ab", "x", 60.0)), Verdict::Valid);
    }
}
