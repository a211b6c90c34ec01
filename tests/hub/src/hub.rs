//! The handle a test holds: start, stop, push commits, set faults, read the log. Everything is synchronous and may be
//! called from async code too, because the servers run on a thread of their own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use crate::exchange::{Endpoints, World};
use crate::faults::{Fault, FaultRules, Faults};
use crate::files::Files;
use crate::folder;
use crate::log::{Log, RequestRecord};
use crate::options::Options;
use crate::repo::{RepoId, RepoSettings};
use crate::server::{Listeners, Server};
use crate::sign::Signer;
use crate::store::{Store, StoreError};

const ANY_LOOPBACK_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub struct HubBuilder {
    listen: SocketAddr,
    cdn_listen: SocketAddr,
    url: Option<String>,
    cdn_url: Option<String>,
    root: Option<PathBuf>,
    options: Options,
    tokens: Vec<(String, String)>,
}

impl HubBuilder {
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    pub fn cdn_listen(mut self, address: SocketAddr) -> Self {
        self.cdn_listen = address;
        self
    }

    /// The Hub's own URL where clients reach it under another name than the address it listens on.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// The same for the CDN: what redirects point to.
    pub fn cdn_url(mut self, url: impl Into<String>) -> Self {
        self.cdn_url = Some(url.into());
        self
    }

    /// Serve the repositories in this folder, see `folder`.
    pub fn root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.root = Some(folder.into());
        self
    }

    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    pub fn page_size(mut self, entries: usize) -> Self {
        self.options.page_size = entries;
        self
    }

    pub fn url_lifetime(mut self, lifetime: Duration) -> Self {
        self.options.url_lifetime_seconds = lifetime.as_secs_f64();
        self
    }

    pub fn token(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.tokens.push((name.into(), secret.into()));
        self
    }

    /// Reads and hashes the root folder, then listens.
    pub fn start(self) -> io::Result<Hub> {
        let listeners = Listeners::bind(self.listen, self.cdn_listen)?;
        let hub_address = listeners.hub.local_addr()?;
        let cdn_address = listeners.cdn.local_addr()?;
        let named = |url: Option<String>, address| match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        };
        let world = World {
            store: Store::default(),
            log: Log::default(),
            faults: FaultRules::default(),
            options: RwLock::new(self.options),
            signer: Signer::default(),
            link: Arc::default(),
            endpoints: Endpoints { hub: named(self.url, hub_address), cdn: named(self.cdn_url, cdn_address) },
            root: self.root,
        };
        for (name, secret) in &self.tokens {
            world.store.add_token(name, secret);
        }
        if let Some(root) = &world.root {
            folder::load(root, &world.store)?;
        }
        let world = Arc::new(world);
        let server = Server::start(Arc::clone(&world), listeners)?;
        Ok(Hub { world, addresses: (hub_address, cdn_address), server: Mutex::new(Some(server)) })
    }
}

/// A running stand-in; dropping it closes its ports.
///
/// Repositories are named `acme/tiny`, `gpt2`, `datasets/acme/words`.
pub struct Hub {
    world: Arc<World>,
    addresses: (SocketAddr, SocketAddr),
    server: Mutex<Option<Server>>,
}

impl Hub {
    pub fn builder() -> HubBuilder {
        HubBuilder {
            listen: ANY_LOOPBACK_PORT,
            cdn_listen: ANY_LOOPBACK_PORT,
            url: None,
            cdn_url: None,
            root: None,
            options: Options::default(),
            tokens: Vec::new(),
        }
    }

    /// An empty Hub on two free loopback ports.
    pub fn start() -> io::Result<Hub> {
        Self::builder().start()
    }

    /// `http://127.0.0.1:PORT`, to be used as `HF_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.world.endpoints.hub
    }

    pub fn cdn_endpoint(&self) -> &str {
        &self.world.endpoints.cdn
    }

    /// Closes both ports and every connection; what the Hub holds stays. Returns when connections are refused.
    pub fn stop(&self) {
        self.server.lock().take();
    }

    /// Listens again on the same ports.
    pub fn restart(&self) -> io::Result<()> {
        let mut server = self.server.lock();
        server.take();
        let (hub, cdn) = self.addresses;
        let listeners = Listeners::bind(hub, cdn)?;
        *server = Some(Server::start(Arc::clone(&self.world), listeners)?);
        Ok(())
    }

    /// Creates a repository, or replaces the settings of the one there is. Needed only for other than the defaults.
    pub fn put_repo(&self, repo: impl Into<RepoId>, settings: RepoSettings) {
        self.world.store.put_repo(&repo.into(), settings);
    }

    pub fn remove_repo(&self, repo: impl Into<RepoId>) -> bool {
        self.world.store.remove_repo(&repo.into())
    }

    /// A new commit with exactly these files, `main` moved to it; creates the repository where there is none.
    pub fn commit(&self, repo: impl Into<RepoId>, files: impl Into<Files>) -> Result<String, StoreError> {
        self.commit_to(repo, "main", files)
    }

    /// The same for another branch or a full ref such as `refs/pr/1`.
    pub fn commit_to(
        &self,
        repo: impl Into<RepoId>,
        branch: &str,
        files: impl Into<Files>,
    ) -> Result<String, StoreError> {
        let repo = repo.into();
        let commit = self.world.store.commit(&repo, files.into())?;
        self.world.store.set_branch(&repo, branch, &commit)?;
        Ok(commit)
    }

    /// A commit that no ref names yet.
    pub fn commit_detached(&self, repo: impl Into<RepoId>, files: impl Into<Files>) -> Result<String, StoreError> {
        self.world.store.commit(&repo.into(), files.into())
    }

    pub fn set_branch(&self, repo: impl Into<RepoId>, branch: &str, commit: &str) -> Result<(), StoreError> {
        self.world.store.set_branch(&repo.into(), branch, commit)
    }

    pub fn set_tag(&self, repo: impl Into<RepoId>, tag: &str, commit: &str) -> Result<(), StoreError> {
        self.world.store.set_tag(&repo.into(), tag, commit)
    }

    /// Deletes a branch, or the ref with that full name.
    pub fn delete_ref(&self, repo: impl Into<RepoId>, name: &str) -> Result<bool, StoreError> {
        self.world.store.delete_ref(&repo.into(), name)
    }

    /// Registers a token; access lists and the log know it by its name.
    pub fn add_token(&self, name: &str, secret: &str) {
        self.world.store.add_token(name, secret);
    }

    /// Only these tokens, by name, see the repository.
    pub fn set_private(&self, repo: impl Into<RepoId>, readers: &[&str]) -> Result<(), StoreError> {
        self.world.store.change_settings(&repo.into(), |settings| {
            settings.private = true;
            settings.readers = owned(readers);
        })
    }

    /// Only these tokens, by name, resolve its files.
    pub fn set_gated(&self, repo: impl Into<RepoId>, granted: &[&str]) -> Result<(), StoreError> {
        self.world.store.change_settings(&repo.into(), |settings| {
            settings.gated = true;
            settings.granted = owned(granted);
        })
    }

    pub fn set_public(&self, repo: impl Into<RepoId>) -> Result<(), StoreError> {
        self.world.store.change_settings(&repo.into(), |settings| {
            (settings.private, settings.gated) = (false, false);
        })
    }

    pub fn set_disabled(&self, repo: impl Into<RepoId>, disabled: bool) -> Result<(), StoreError> {
        let repo = repo.into();
        self.world.store.change_settings(&repo, |settings| settings.disabled = disabled)
    }

    /// Requests for the old name are redirected to the new one.
    pub fn rename_repo(&self, old: impl Into<RepoId>, new: impl Into<RepoId>) {
        self.world.store.rename(&old.into(), &new.into());
    }

    /// Shows any JSON in the tree of a commit, and its `path` among the siblings.
    pub fn add_raw_tree_entry(&self, repo: impl Into<RepoId>, commit: &str, entry: Value) -> Result<(), StoreError> {
        self.world.store.add_raw_entry(&repo.into(), commit, entry)
    }

    /// Every CDN URL handed out so far answers 403 from now on.
    pub fn expire_urls(&self) {
        self.world.signer.expire_all();
    }

    pub fn options(&self) -> Options {
        self.world.options.read().clone()
    }

    pub fn set_options(&self, options: Options) {
        *self.world.options.write() = options;
    }

    /// Says that the Xet store at `options().xet_store` has the file of that sha256, under this name.
    pub fn set_xet_hash(&self, sha256: &str, hash: &str) {
        self.world.store.set_xet_hash(sha256, hash);
    }

    /// Replaces all faults: `hub.set_faults(Fault::on(Target::Cdn).times(1).status(503))`.
    pub fn set_faults(&self, faults: impl Into<Faults>) {
        self.world.faults.set(faults.into());
    }

    pub fn add_fault(&self, fault: Fault) {
        self.world.faults.add(fault);
    }

    pub fn clear_faults(&self) {
        self.world.faults.set(Faults::default());
    }

    /// The rules in force, with the uses they have left.
    pub fn faults(&self) -> Faults {
        self.world.faults.get()
    }

    /// Every request since the start or the last clearing, in order of arrival, those under way included.
    pub fn log(&self) -> Vec<RequestRecord> {
        self.world.log.records()
    }

    pub fn clear_log(&self) {
        self.world.log.clear();
    }

    /// Bytes of file content sent, by resolve and CDN together; what redirects and errors say is not counted.
    pub fn data_bytes(&self) -> u64 {
        let log = self.log();
        let data = log.iter().filter(|record| record.is_data());
        data.map(|record| record.bytes).sum()
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
