//! How the stand-in behaves for every repository; may be changed while it runs.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Tree entries a page.
    pub page_size: usize,
    /// Tree entries a page with `expand=true`.
    pub expanded_page_size: usize,
    /// How long a signed CDN URL is good for. The URL states whole seconds, rounded up.
    pub url_lifetime_seconds: f64,
    /// Bytes per second of all bodies together, as over one line; null is without limit.
    pub link_bandwidth: Option<u64>,
    /// Send those who resolve a git file on to `/api/resolve-cache/...` with a relative 307, as the Hub may do.
    pub resolve_cache: bool,
    /// The URL of the Xet store that holds some of the files; null is without one.
    pub xet_store: Option<String>,
    /// How long leave to read of it is good for.
    pub xet_token_lifetime_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            page_size: 1000,
            expanded_page_size: 50,
            url_lifetime_seconds: 3600.0,
            link_bandwidth: None,
            resolve_cache: false,
            xet_store: None,
            xet_token_lifetime_seconds: 3600,
        }
    }
}
