//! Files of a Xet store, by the crates of hf-xet: a byte range is put together from compressed chunks, which files share.
//!
//! Called by `hub`, which decides when this path is taken and has the plain one for every trouble here. Reads no variable
//! of the environment, writes no file, keeps no bytes between two ranges and sends no telemetry. The only token it knows
//! is the short-lived one of the store. The store's answers are checked by length and by their compression; the hashes of
//! chunks are not part of them (docs/design/0020-xet.md), so what comes out is no better proved than a plain range.

mod client;
mod error;
mod reading;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use tokio::runtime::Handle;
use url::Url;
use xet_client::cas_client::RemoteClient;
use xet_client::cas_client::auth::{AuthConfig, AuthError, TokenInfo, TokenRefresher};
use xet_core_structures::merklehash::MerkleHash;
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

pub use error::{Blame, XetError};
pub use reading::Reading;

use super::OriginError;
use super::http::Timeouts;

/// Names a file in a Xet store. A way to get bytes, never a name of contents here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct XetHash(MerkleHash);

impl XetHash {
    pub fn from_hex(text: &str) -> Option<Self> {
        MerkleHash::from_hex(text).ok().map(Self)
    }
}

/// Leave to read of a store, for a short while.
#[derive(Clone)]
pub struct Grant {
    pub store: Url,
    pub token: String,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Who gives grants.
#[async_trait]
pub trait Grants: Send + Sync {
    async fn grant(&self) -> Result<Grant, OriginError>;
}

/// A store that somebody may read of. Fresh grants are asked for when the last one is about to expire.
pub struct Store {
    context: XetContext,
    client: Arc<RemoteClient>,
    timeouts: Timeouts,
}

/// What all stores have in common: connections and limits. Set up when the first one is opened.
pub struct Stores {
    context: OnceLock<Result<XetContext, XetError>>,
    timeouts: Timeouts,
    user_agent: String,
}

/// Uncompressed bytes between the network and the reader, of all ranges together. Whoever finds no room waits.
const BUFFERED_BYTES: u64 = 64 << 20;
/// Requests to a store at once: the crate starts with the first figure and looks for the best up to the second.
const CONNECTIONS: (usize, usize) = (16, 64);

impl Stores {
    pub fn new(timeouts: Timeouts, user_agent: String) -> Self {
        Self { context: OnceLock::new(), timeouts, user_agent }
    }

    /// The store of `grant`; asks nobody yet.
    pub fn open(&self, grant: Grant, grants: Arc<dyn Grants>) -> Result<Store, XetError> {
        let context = self.context.get_or_init(|| context(self.timeouts)).clone()?;
        let refresher = Arc::new(Refresher { store: grant.store.clone(), grants });
        let auth = AuthConfig::maybe_new(Some(grant.token), Some(grant.expires_at), Some(refresher));
        let user_agent = HeaderValue::from_str(&self.user_agent).unwrap_or(HeaderValue::from_static("weightfs"));
        let headers = HeaderMap::from_iter([(USER_AGENT, user_agent)]);
        let endpoint = grant.store.as_str().trim_end_matches('/');
        // Nothing tells the store which sessions are one client's.
        let client = RemoteClient::new(context.clone(), endpoint, &auth, "", false, Some(Arc::new(headers)));
        Ok(Store { context, client, timeouts: self.timeouts })
    }
}

/// The defaults of the crate and not its variables: what a user set for `huggingface_hub` is not meant for a daemon.
fn context(timeouts: Timeouts) -> Result<XetContext, XetError> {
    // The crate panics where it finds no certificates.
    reqwest::Client::builder().build().map_err(|_| XetError::NoCertificates)?;
    let mut config = XetConfig::default();
    config.telemetry.enabled = false;
    config.client.connect_timeout = timeouts.connect;
    config.client.read_timeout = timeouts.stall;
    // One more attempt is what an expired URL needs; all other patience is the caller's.
    config.client.retry_max_attempts = 1;
    config.client.retry_base_delay = std::time::Duration::from_millis(100);
    config.client.ac_initial_download_concurrency = CONNECTIONS.0;
    config.client.ac_min_download_concurrency = CONNECTIONS.0 / 4;
    config.client.ac_max_download_concurrency = CONNECTIONS.1;
    let buffers = &mut config.reconstruction;
    buffers.download_buffer_size = BUFFERED_BYTES.into();
    buffers.download_buffer_perfile_size = 0_u64.into();
    buffers.download_buffer_limit = BUFFERED_BYTES.into();
    Ok(XetContext::from_external(Handle::current(), config))
}

/// Asks for fresh grants in the crate's stead.
struct Refresher {
    store: Url,
    grants: Arc<dyn Grants>,
}

#[async_trait]
impl TokenRefresher for Refresher {
    async fn refresh(&self) -> Result<TokenInfo, AuthError> {
        let grant = self.grants.grant().await.map_err(AuthError::token_refresh_failure)?;
        if grant.store != self.store {
            return Err(AuthError::token_refresh_failure("the files are in another store now"));
        }
        Ok((grant.token, grant.expires_at))
    }
}
