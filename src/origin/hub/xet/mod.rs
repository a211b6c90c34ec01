//! The ways of a range that the Hub also keeps in a Xet store: by chunks of the store, or plainly from the Hub's own URLs.
//!
//! `pace` and `breaker` say which way is taken, `grants` opens the store, `stream` goes the way and changes
//! over to the plain one on any trouble. The reader never hears of that trouble.

mod breaker;
mod grants;
mod pace;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::breaker::Breaker;
use self::grants::Granted;
use self::pace::{Pace, WORTH_IT, Way};
use super::ask::Line;
use super::resolve::Contents;
use crate::metrics::Metrics;
use crate::origin::http::{Timeouts, Wanted};
use crate::origin::xet::{Blame, Reading, Stores, XetError, XetHash};
use crate::origin::{ByteStream, OriginError, OriginErrorKind};
use crate::types::{Blob, ByteRange, Identity, RemoteFile};

/// Which files of a Xet store are read by its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XetWish {
    /// Those that are read faster so, as measured here, and those that the Hub does not promise to serve otherwise.
    #[default]
    Auto,
    /// All of them.
    Always,
    /// None.
    Never,
}

/// The Hub's own clients take no plain way for larger files: the Hub need not have one.
const LARGEST_PLAIN: u64 = 50_000_000_000;
/// How long a file goes plainly after trouble that is its own.
const FILE_PAUSE: Duration = Duration::from_secs(600);
const FILES: u64 = 10_000;
const HUBS: u64 = 64;

/// Contents by whichever way suits; what `HubOrigin` opens.
pub(super) struct Ways {
    wish: XetWish,
    contents: Contents,
    granted: Granted,
    /// Files with which the store is in trouble.
    unfit: Cache<XetHash, ()>,
    /// Contents that were wrong as a whole, whichever way they came.
    disproved: Cache<Blob, ()>,
    /// By endpoint.
    hubs: Cache<Arc<str>, Arc<HubState>>,
    metrics: Arc<Metrics>,
}

struct HubState {
    breaker: Breaker,
    pace: Mutex<Pace>,
}

/// A range that somebody wants.
struct Asked {
    identity: Identity,
    file: RemoteFile,
    range: ByteRange,
}

impl Ways {
    pub(super) fn new(
        wish: XetWish,
        contents: Contents,
        line: Arc<Line>,
        timeouts: Timeouts,
        metrics: Arc<Metrics>,
    ) -> Self {
        let unfit = Cache::builder().max_capacity(FILES).time_to_live(FILE_PAUSE).build();
        let granted = Granted::new(line, timeouts, Stores::new(timeouts, super::user_agent()));
        let hubs = Cache::new(HUBS);
        Self { wish, contents, granted, unfit, disproved: Cache::new(FILES), hubs, metrics }
    }

    pub(super) async fn authorize(&self, identity: &Identity, file: &RemoteFile) -> Result<(), OriginError> {
        let answer = self.contents.authorize(identity, file).await;
        if answer.as_ref().is_err_and(|error| !error.is_transient()) {
            self.granted.forget(identity, file).await;
        }
        answer
    }

    pub(super) async fn open(
        self: &Arc<Self>,
        identity: &Identity,
        file: &RemoteFile,
        range: ByteRange,
    ) -> Result<ByteStream, OriginError> {
        let hash = match self.wish {
            XetWish::Never => None,
            XetWish::Auto if range.len() < WORTH_IT && file.blob.size <= LARGEST_PLAIN => None,
            _ => self.contents.xet_hash(identity, file).await?,
        };
        let Some(hash) = hash else { return self.contents.open(identity, file, range).await };
        let hub = self.hubs.get_with(identity.endpoint.clone(), || Arc::new(HubState::new()));
        let wanted = Asked { identity: identity.clone(), file: file.clone(), range };
        match self.choose(&hub, hash, &wanted) {
            Way::Xet => Ok(stream::by_chunks(self.clone(), hub, hash, wanted)),
            Way::Plain => {
                let begun = Instant::now();
                let plain = self.plainly(&wanted, range).await?;
                Ok(stream::timed(plain, hub, range, begun))
            }
        }
    }

    /// The store does not say what its chunks should hash to. Whichever way spoiled it, the next attempt goes plainly.
    pub(super) fn disproved(&self, blob: &Blob) {
        self.disproved.insert(*blob, ());
    }

    async fn plainly(&self, wanted: &Asked, left: ByteRange) -> Result<ByteStream, OriginError> {
        let Asked { identity, file, .. } = wanted;
        self.contents.open(identity, file, left).await.map_err(|error| unless_only_way(error, file.blob.size))
    }

    fn choose(&self, hub: &HubState, hash: XetHash, wanted: &Asked) -> Way {
        let is_out = self.unfit.contains_key(&hash) || self.disproved.contains_key(&wanted.file.blob);
        let way = match self.wish {
            _ if is_out => Way::Plain,
            XetWish::Auto if wanted.file.blob.size <= LARGEST_PLAIN => hub.pace.lock().choose(),
            XetWish::Auto | XetWish::Always => Way::Xet,
            XetWish::Never => Way::Plain,
        };
        if way == Way::Xet && !hub.breaker.admits() { Way::Plain } else { way }
    }

    async fn begin(&self, hash: XetHash, wanted: &Asked, left: ByteRange) -> Result<Reading, XetError> {
        let store = self.granted.store(&wanted.identity, &wanted.file).await;
        let store = store.map_err(|error| {
            let blame = if error.is_transient() { Blame::Store } else { Blame::Grant };
            XetError::Failed { cause: error.to_string(), blame }
        })?;
        self.metrics.fetch_requests.add(1);
        Ok(store.read(hash, Wanted { range: left, size: wanted.file.blob.size }))
    }

    /// Remembers what to keep away from, and says it.
    async fn trouble(&self, hub: &HubState, hash: XetHash, wanted: &Asked, error: &XetError) {
        self.metrics.xet_fallbacks.add(1);
        self.metrics.fetch_failures.add(1);
        let Asked { identity, file, .. } = wanted;
        let pause = match error.blame() {
            Blame::Store => hub.breaker.trouble(),
            Blame::File | Blame::Grant => {
                self.unfit.insert(hash, ());
                FILE_PAUSE
            }
        };
        if error.blame() == Blame::Grant {
            self.granted.forget(identity, file).await;
        }
        let (what, repo, path) = (error.blame().what(), &file.repo, &file.path);
        tracing::warn!(%error, %repo, %path, "reading by chunks failed; {what} is read plainly for {pause:?}");
    }
}

/// Where chunks may be the only way, the plain one's refusal is not the last word: the store may be well again soon.
fn unless_only_way(error: OriginError, size: u64) -> OriginError {
    match error.kind {
        OriginErrorKind::Permanent if size > LARGEST_PLAIN => OriginError { kind: OriginErrorKind::Transient, ..error },
        _ => error,
    }
}

impl HubState {
    fn new() -> Self {
        Self { breaker: Breaker::new(), pace: Mutex::default() }
    }
}

impl Blame {
    /// What is affected, in a log line.
    fn what(self) -> &'static str {
        match self {
            Self::Store => "everything of this Hub",
            Self::File | Self::Grant => "the file",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlobId, Commit, RepoId, RepoPath, RepoType};

    fn wanted(size: u64) -> Asked {
        let file = RemoteFile {
            repo: RepoId::new(RepoType::Model, "a/b").unwrap(),
            commit: Commit::from_bytes([1; 20]),
            path: RepoPath::new("w").unwrap(),
            blob: Blob { id: BlobId::Sha256([7; 32]), size },
        };
        Asked { identity: Identity::new("http://hub", None, false), file, range: ByteRange::at(1 << 30, WORTH_IT) }
    }

    fn ways(wish: XetWish) -> (Ways, HubState, XetHash) {
        let (timeouts, metrics) = (Timeouts::default(), Arc::new(Metrics::default()));
        let clients = crate::origin::http::Clients::new(String::new(), timeouts);
        let line = Arc::new(Line::new(clients, timeouts, metrics.clone()));
        let contents = Contents::new(line.clone(), timeouts.stall, metrics.clone());
        let ways = Ways::new(wish, contents, line, timeouts, metrics);
        (ways, HubState::new(), XetHash::from_hex(&"a".repeat(64)).unwrap())
    }

    #[tokio::test]
    async fn what_the_hub_does_not_promise_to_serve_plainly_goes_by_chunks_at_once() {
        let (ways, hub, hash) = ways(XetWish::Auto);
        assert_eq!(ways.choose(&hub, hash, &wanted(LARGEST_PLAIN + 1)), Way::Xet);
        assert_eq!(ways.choose(&hub, hash, &wanted(LARGEST_PLAIN)), Way::Plain, "nothing was measured yet");
        hub.breaker.trouble();
        assert_eq!(ways.choose(&hub, hash, &wanted(LARGEST_PLAIN + 1)), Way::Plain, "which may work all the same");
    }

    #[test]
    fn a_file_that_the_hub_may_not_serve_plainly_is_not_given_up_for_that() {
        let kind = |kind, size| unless_only_way(OriginError::new(kind, "http://hub", "no"), size).kind;
        assert_eq!(kind(OriginErrorKind::Permanent, LARGEST_PLAIN + 1), OriginErrorKind::Transient);
        assert_eq!(kind(OriginErrorKind::Permanent, LARGEST_PLAIN), OriginErrorKind::Permanent);
        assert_eq!(kind(OriginErrorKind::Denied, LARGEST_PLAIN + 1), OriginErrorKind::Denied);
    }

    #[tokio::test]
    async fn what_came_wrong_or_not_at_all_by_chunks_goes_plainly() {
        let (ways, hub, hash) = ways(XetWish::Always);
        let wanted = wanted(1 << 40);
        assert_eq!(ways.choose(&hub, hash, &wanted), Way::Xet);
        ways.unfit.insert(hash, ());
        assert_eq!(ways.choose(&hub, hash, &wanted), Way::Plain);
        let other = XetHash::from_hex(&"b".repeat(64)).unwrap();
        assert_eq!(ways.choose(&hub, other, &wanted), Way::Xet);
        ways.disproved(&wanted.file.blob);
        assert_eq!(ways.choose(&hub, other, &wanted), Way::Plain);
    }
}
