//! Who asks: an endpoint and a credential.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// A secret that shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one header it belongs in.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// An endpoint and the credential to show there.
///
/// It is an argument of every question to an origin and part of the key of every answer that is kept,
/// so that what one credential may see is never shown to another. Bytes are shared, answers are not.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `https://huggingface.co`, without a slash at its end.
    pub endpoint: Arc<str>,
    pub token: Option<Token>,
    /// Ask no network for this one: what is known locally is all there is.
    pub offline: bool,
    digest: IdentityDigest,
}

/// Stands for an identity in keys and in the database; says nothing of the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityDigest([u8; 16]);

impl Identity {
    pub fn new(endpoint: &str, token: Option<Token>, offline: bool) -> Self {
        let endpoint = endpoint.trim_end_matches('/');
        let mut hash = Sha256::new();
        hash.update(endpoint);
        hash.update([0]);
        if let Some(token) = &token {
            hash.update(token.secret());
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        Self { endpoint: endpoint.into(), token, offline, digest: IdentityDigest(digest) }
    }

    /// Equal for equal endpoint and credential.
    pub fn digest(&self) -> IdentityDigest {
        self.digest
    }
}

impl IdentityDigest {
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for IdentityDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_printed() {
        let identity = Identity::new("http://hub", Some(Token::new("hf_secret")), false);
        assert!(!format!("{identity:?}").contains("hf_secret"));
    }

    #[test]
    fn endpoint_and_token_make_the_identity() {
        let digest = |endpoint, token: Option<&str>| Identity::new(endpoint, token.map(Token::new), false).digest();
        assert_eq!(digest("http://a", None), digest("http://a/", None));
        assert_ne!(digest("http://a", None), digest("http://b", None));
        assert_ne!(digest("http://a", Some("x")), digest("http://a", Some("y")));
    }
}
