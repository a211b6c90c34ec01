//! The questions that one bucket is asked, each under a deadline, with what it answers in this program's words.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{ChecksumMode, EncodingType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use parking_lot::Mutex;

use super::account::{Account, Session};
use super::refusal::Refusal;
use crate::metrics::{Counter, Metrics};
use crate::origin::OriginError;
use crate::origin::patience::Patience;
use crate::types::ByteRange;

pub(super) struct Bucket {
    account: Arc<Account>,
    name: String,
    /// Where it lies, once it has said so.
    region: Mutex<Option<String>>,
    metrics: Arc<Metrics>,
}

/// What a question is counted as.
#[derive(Clone, Copy)]
enum About {
    Names,
    Contents,
}

/// One object as it was once: what every request for its bytes must still find.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pin {
    /// Without quotes.
    pub(super) etag: String,
    /// In a bucket that keeps versions.
    pub(super) version: Option<String>,
}

impl Bucket {
    /// A question is asked once more where the first answer names the right region, or a newer key may be there.
    const ROUNDS: usize = 3;
    const FIRST_RETRY: Duration = Duration::from_millis(500);

    pub(super) fn new(account: Arc<Account>, name: String, metrics: Arc<Metrics>) -> Self {
        Self { account, name, region: Mutex::default(), metrics }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For messages.
    pub(super) fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// The store as it stands in an object's identity.
    pub(super) async fn store(&self) -> Result<String, OriginError> {
        Ok(self.account.session().await?.store.clone())
    }

    /// A page of what lies below `prefix`, from where the last one ended.
    pub(super) async fn list(&self, prefix: &str, next: Option<String>) -> Result<ListObjectsV2Output, OriginError> {
        let ask = |client: Client| {
            let page = client.list_objects_v2().bucket(&self.name).prefix(prefix);
            page.encoding_type(EncodingType::Url).set_continuation_token(next.clone()).send()
        };
        self.ask(About::Names, prefix, ask).await
    }

    /// The versions of what begins with `key`.
    pub(super) async fn versions(&self, key: &str) -> Result<ListObjectVersionsOutput, OriginError> {
        let ask = |client: Client| client.list_object_versions().bucket(&self.name).prefix(key).send();
        self.ask(About::Names, key, ask).await
    }

    pub(super) async fn head(&self, key: &str) -> Result<HeadObjectOutput, OriginError> {
        let ask = |client: Client| {
            client.head_object().bucket(&self.name).key(key).checksum_mode(ChecksumMode::Enabled).send()
        };
        self.ask(About::Names, key, ask).await
    }

    /// One part of what was uploaded in parts.
    pub(super) async fn head_part(&self, key: &str, pin: &Pin, part: i32) -> Result<HeadObjectOutput, OriginError> {
        let ask = |client: Client| {
            let part = client.head_object().bucket(&self.name).key(key).part_number(part);
            part.if_match(quoted(&pin.etag)).set_version_id(pin.version.clone()).send()
        };
        self.ask(About::Names, key, ask).await
    }

    /// Bytes of the object as it was; without a pin as it is now.
    pub(super) async fn get(
        &self,
        key: &str,
        pin: Option<&Pin>,
        range: ByteRange,
    ) -> Result<GetObjectOutput, OriginError> {
        let ask = |client: Client| {
            let get = client.get_object().bucket(&self.name).key(key);
            let get = get.range(format!("bytes={}-{}", range.start, range.end - 1));
            let get = get.set_if_match(pin.map(|pin| quoted(&pin.etag)));
            get.set_version_id(pin.and_then(|pin| pin.version.clone())).send()
        };
        self.ask(About::Contents, key, ask).await
    }

    async fn ask<T, E, F>(&self, about: About, key: &str, ask: impl Fn(Client) -> F) -> Result<T, OriginError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (requests, failures) = self.counters(about);
        let mut round = 1;
        loop {
            let session = self.account.session().await?;
            requests.add(1);
            let refusal = match tokio::time::timeout(self.deadline(), ask(self.client(&session))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Refusal::of(&self.url(key), error),
                Err(_) => Refusal::late(&self.url(key)),
            };
            let again = match &refusal {
                Refusal::Elsewhere(region, _) if self.follows(&session, region) => true,
                Refusal::Elsewhere(..) | Refusal::Key(_) => self.account.renew(&session).await,
                Refusal::Final(_) => false,
            };
            if !again || round == Self::ROUNDS {
                failures.add(1);
                return Err(refusal.error());
            }
            round += 1;
        }
    }

    fn counters(&self, about: About) -> (&Counter, &Counter) {
        let metrics = &self.metrics;
        match about {
            About::Names => (&metrics.catalog_requests, &metrics.catalog_failures),
            About::Contents => (&metrics.fetch_requests, &metrics.fetch_failures),
        }
    }

    pub(super) fn client(&self, session: &Session) -> Client {
        match self.region.lock().clone().filter(|_| session.region.is_some()) {
            Some(region) => Client::from_conf(session.client.config().to_builder().region(Region::new(region)).build()),
            None => session.client.clone(),
        }
    }

    /// From now on requests are signed for `region`. Answers whether that is another one than before.
    pub(super) fn follows(&self, session: &Session, region: &str) -> bool {
        let Some(first) = session.region.as_deref() else { return false };
        let mut known = self.region.lock();
        let is_news = known.as_deref().unwrap_or(first) != region;
        *known = Some(region.to_owned());
        is_news
    }

    /// How long one question may take.
    fn deadline(&self) -> Duration {
        let timeouts = self.account.timeouts();
        // The second one is for credentials that have to be fetched first.
        2 * timeouts.connect + timeouts.stall
    }

    /// How long a question about names is asked again.
    pub(super) fn patience(&self) -> Patience {
        Patience { give_up: self.account.settings().give_up, first_retry: Self::FIRST_RETRY }
    }
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// An etag's bare value.
pub(super) fn bare(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}
