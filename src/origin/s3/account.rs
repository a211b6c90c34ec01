//! The SDK's client and whose credentials it signs with, both made anew when these change.
//!
//! The SDK renews what expires by itself: roles, web identities (whose token file it reads each time), containers' and
//! machines' credentials. What it reads once only are the AWS configuration files, so they are watched here; and whoever
//! finds that a store does not know the key any more has everything read again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Builder, IdentityCache, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_types::service_config::ServiceConfigKey;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::profile_files::ProfileFiles;
use super::settings::{Access, PathStyle, S3Settings};
use super::transport::Transport;
use crate::origin::http::{Clients, Timeouts};
use crate::origin::{OriginError, OriginErrorKind};

/// What stands in an object's identity for AWS itself, whose buckets have one name in the whole world.
const AWS: &str = "aws";
/// Where nothing says a region; a bucket that lies elsewhere says so.
const FIRST_REGION: &str = "us-east-1";

pub struct Account {
    settings: S3Settings,
    transport: Transport,
    current: Mutex<Current>,
}

struct Current {
    slot: Arc<Slot>,
    /// When the AWS configuration files were last compared with what the client was made of.
    looked_at: Instant,
}

/// Filled by the first who needs it, once for all who wait.
type Slot = OnceCell<Made>;

struct Made {
    session: Arc<Session>,
    files: ProfileFiles,
    at: Instant,
}

/// A client as the configuration and its files were at one time.
pub(super) struct Session {
    pub(super) client: Client,
    /// The endpoint's URL, or a word for AWS.
    pub(super) store: String,
    /// What requests are signed for. AWS says where a bucket lies; another store has one place only.
    pub(super) region: Option<String>,
}

impl Account {
    /// How often the AWS configuration files are looked at.
    const LOOK: Duration = Duration::from_secs(2);
    /// A key that is refused is not read again more often: it may simply be wrong.
    const RENEWAL: Duration = Duration::from_secs(5);

    pub fn new(settings: S3Settings) -> Self {
        let agent = format!("weightfs/{}", env!("CARGO_PKG_VERSION"));
        let transport = Transport::new(Clients::new(agent, settings.timeouts));
        let current = Current { slot: Arc::default(), looked_at: Instant::now() };
        Self { settings, transport, current: Mutex::new(current) }
    }

    pub(super) fn settings(&self) -> &S3Settings {
        &self.settings
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }

    pub(super) async fn session(&self) -> Result<Arc<Session>, OriginError> {
        let slot = self.slot().await;
        let patience = self.settings.timeouts.connect + self.settings.timeouts.stall;
        let made = tokio::time::timeout(patience, slot.get_or_init(|| self.make())).await.map_err(|_| {
            let cause = "the AWS configuration was not found out in time";
            OriginError::new(OriginErrorKind::Transient, AWS, cause)
        })?;
        Ok(made.session.clone())
    }

    async fn slot(&self) -> Arc<Slot> {
        let slot = {
            let mut current = self.current.lock();
            if current.looked_at.elapsed() < Self::LOOK {
                return current.slot.clone();
            }
            current.looked_at = Instant::now();
            current.slot.clone()
        };
        match slot.get() {
            Some(made) if made.files.have_changed().await => {
                tracing::info!("the AWS configuration files have changed and are read again");
                self.replace(&slot)
            }
            _ => slot,
        }
    }

    /// The store does not accept the key of `session`. Answers whether another attempt may have a newer one.
    pub(super) async fn renew(&self, session: &Arc<Session>) -> bool {
        let slot = self.current.lock().slot.clone();
        let Some(made) = slot.get().filter(|made| Arc::ptr_eq(&made.session, session)) else { return true };
        if made.at.elapsed() < Self::RENEWAL && !made.files.have_changed().await {
            return false;
        }
        self.replace(&slot);
        true
    }

    /// The next one who asks makes everything anew, unless that was done meanwhile.
    fn replace(&self, old: &Arc<Slot>) -> Arc<Slot> {
        let mut current = self.current.lock();
        if Arc::ptr_eq(&current.slot, old) {
            *current = Current { slot: Arc::default(), looked_at: Instant::now() };
        }
        current.slot.clone()
    }

    async fn make(&self) -> Made {
        // Before they are read: what changes meanwhile is seen the next time.
        let files = ProfileFiles::now().await;
        Made { session: Arc::new(self.connect().await), files, at: Instant::now() }
    }

    async fn connect(&self) -> Session {
        let config = self.load().await;
        let endpoint = config.endpoint_url().map(str::to_owned).or_else(|| endpoint_of_s3(&config));
        let by_path = match self.settings.path_style {
            PathStyle::Auto => endpoint.is_some(),
            PathStyle::Always => true,
            PathStyle::Never => false,
        };
        let mut builder = Builder::from(&config)
            .force_path_style(by_path)
            // Asking again is the caller's, who knows how much time there is.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Contents are proved as a whole; and other stores stumble over checksums they do not know.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if self.settings.access == Access::Anonymous {
            builder = builder.allow_no_auth();
        }
        let region = config.region().filter(|_| endpoint.is_none()).map(Region::to_string);
        let store = endpoint.map_or(AWS.to_owned(), |url| url.trim_end_matches('/').to_owned());
        Session { client: Client::from_conf(builder.build()), store, region }
    }

    async fn load(&self) -> SdkConfig {
        let settings = &self.settings;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(self.transport.clone())
            .identity_cache(IdentityCache::lazy().load_timeout(settings.timeouts.connect).build());
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        } else if settings.endpoint_url.is_some() || settings.access == Access::Anonymous {
            // It is of no meaning there, and no machine's metadata need be asked for it.
            loader = loader.region(Region::new(FIRST_REGION));
        }
        loader = match settings.access {
            Access::Environment => loader,
            Access::Anonymous => loader.no_credentials(),
            #[cfg(test)]
            Access::Test(key) => {
                loader.credentials_provider(aws_sdk_s3::config::Credentials::new(key, "secret", None, None, "test"))
            }
        };
        let config = loader.load().await;
        match config.region() {
            Some(_) => config,
            None => config.into_builder().region(Region::new(FIRST_REGION)).build(),
        }
    }
}

/// AWS_ENDPOINT_URL_S3 and its like in the configuration files.
fn endpoint_of_s3(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("s3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    config.service_config()?.load_config(key.ok()?)
}
