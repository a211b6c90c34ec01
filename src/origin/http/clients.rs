//! The two HTTP clients of an origin, set up when they are first needed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use super::{Timeouts, innermost};

/// Connections kept for the next range, a host.
const IDLE_CONNECTIONS: usize = 32;
/// A connection that died without a word is noticed after this and [`Timeouts::connect`].
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// The connections of one origin. To read the machine's CA certificates takes longer than the rest of a daemon's start,
/// so whoever only reads what is cached never does it.
#[derive(Clone)]
pub struct Clients(Arc<LazyLock<Result<Pair, ClientError>, Build>>);

type Build = Box<dyn FnOnce() -> Result<Pair, ClientError> + Send>;

struct Pair {
    api: Client,
    data: Client,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "cannot set up the HTTPS client: {0}; are CA certificates installed, or does SSL_CERT_FILE name a file of them?"
)]
pub struct ClientError(String);

impl Clients {
    pub fn new(user_agent: String, timeouts: Timeouts) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(move || build(&user_agent, timeouts)))))
    }

    /// Sets them up on a thread of their own, so that the first question need not wait for it.
    pub fn prepare(&self) {
        let clients = self.0.clone();
        let prepared = std::thread::Builder::new().name("http-clients".to_owned()).spawn(move || {
            LazyLock::force(&clients);
        });
        if let Err(error) = prepared {
            tracing::debug!(%error, "the first question sets up the HTTP clients");
        }
    }

    /// For questions and small files: HTTP/2 where the server has it.
    pub fn api(&self) -> Result<&Client, ClientError> {
        self.pair().map(|pair| &pair.api)
    }

    /// For contents: HTTP/1.1 only, since HTTP/2 would put all ranges on one connection.
    pub fn data(&self) -> Result<&Client, ClientError> {
        self.pair().map(|pair| &pair.data)
    }

    fn pair(&self) -> Result<&Pair, ClientError> {
        self.0.as_ref().as_ref().map_err(ClientError::clone)
    }
}

/// Proxies and CA certificates come from the environment, as reqwest reads it. Without any certificates only plain HTTP
/// works.
fn build(user_agent: &str, timeouts: Timeouts) -> Result<Pair, ClientError> {
    let builder = || {
        Client::builder()
            .user_agent(user_agent)
            .redirect(Policy::none())
            .connect_timeout(timeouts.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
    };
    let api = || builder().http2_keep_alive_interval(PING_INTERVAL).http2_keep_alive_timeout(timeouts.connect);
    let data = || builder().http1_only();
    let built = |builder: ClientBuilder| builder.build().map_err(|error| ClientError(innermost(&error)));
    match built(data()) {
        Ok(data) => Ok(Pair { api: built(api())?, data }),
        Err(error) => {
            tracing::warn!(%error, "https will not work; install CA certificates or name a file of them in SSL_CERT_FILE");
            Ok(Pair { api: built(api().tls_certs_only([]))?, data: built(data().tls_certs_only([]))? })
        }
    }
}
