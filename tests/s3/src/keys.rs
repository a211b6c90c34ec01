//! Whose requests are answered.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Keys with their secrets, as they are now.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    keys: HashMap<String, Key>,
    is_public: bool,
}

struct Key {
    secret: String,
    expired: bool,
}

impl Keys {
    pub fn add(&self, key: &str, secret: &str) {
        self.0.lock().keys.insert(key.to_owned(), Key { secret: secret.to_owned(), expired: false });
    }

    /// It is known still, and not accepted any more.
    pub fn expire(&self, key: &str) {
        self.0.lock().keys.get_mut(key).unwrap().expired = true;
    }

    pub fn revoke(&self, key: &str) {
        self.0.lock().keys.remove(key);
    }

    /// Answers requests that nobody signed, too.
    pub fn open_to_all(&self) {
        self.0.lock().is_public = true;
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, key: &str) -> S3Result<SecretKey> {
        match self.0.lock().keys.get(key) {
            Some(Key { expired: true, .. }) => Err(S3Error::new(S3ErrorCode::ExpiredToken)),
            Some(known) => Ok(known.secret.as_str().into()),
            None => Err(S3Error::new(S3ErrorCode::InvalidAccessKeyId)),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, asked: &mut S3AccessContext<'_>) -> S3Result<()> {
        match asked.credentials().is_some() || self.0.lock().is_public {
            true => Ok(()),
            false => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Signature is required")),
        }
    }
}
