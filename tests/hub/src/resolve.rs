//! `/{id}/resolve/{rev}/{file}`: git files with their bytes, LFS files as a redirect to the signed CDN URL.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::api::open_repo;
use crate::cdn;
use crate::commit::{Commit, FileEntry, LfsObject};
use crate::download::Download;
use crate::exchange::{Asking, World};
use crate::refusal::{Refusal, X_REPO_COMMIT, set};
use crate::route::{Ask, RepoRoute, Surface};
use crate::store::{Caller, may_resolve};

const X_LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const X_LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const X_XET_HASH: HeaderName = HeaderName::from_static("x-xet-hash");
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

pub async fn answer(world: &World, route: RepoRoute, caller: Caller, asking: &Asking) -> Result<Response, Refusal> {
    let repo = open_repo(world, &route, &caller, asking)?;
    if !may_resolve(&repo, &caller) {
        return Err(Refusal::Gated(route.repo, caller));
    }
    let Ask::File { revision, path } = &route.ask else {
        return Err(Refusal::NoSuchRoute);
    };
    let commit = repo.resolve(revision);
    let commit = commit.ok_or_else(|| Refusal::NoRevision(revision.clone()))?;
    let file = commit.files.get(path).ok_or_else(|| Refusal::NoEntry { commit: commit.id.clone() })?;
    let found = Found { world, route: &route, commit: &commit, path, file };
    found.answer(asking).await
}

struct Found<'a> {
    world: &'a World,
    route: &'a RepoRoute,
    commit: &'a Commit,
    path: &'a str,
    file: &'a FileEntry,
}

impl Found<'_> {
    async fn answer(&self, asking: &Asking) -> Result<Response, Refusal> {
        let etag = self.file.lfs.as_ref().map_or(&self.file.oid, |lfs| &lfs.sha256);
        asking.entry.update(|record| record.blob = Some(etag.clone()));
        let on_to_cache = self.world.options.read().resolve_cache;
        match &self.file.lfs {
            Some(lfs) => Ok(self.redirect_to_cdn(lfs)),
            None if on_to_cache && self.route.surface == Surface::Resolve => Ok(self.redirect_to_cache()),
            None => self.git_file(asking).await,
        }
    }

    async fn git_file(&self, asking: &Asking) -> Result<Response, Refusal> {
        let mut headers = self.headers();
        set(&mut headers, header::CONTENT_TYPE, "text/plain; charset=utf-8");
        let download = Download { content: &self.file.content, size: self.file.size, etag: &self.file.oid, headers };
        download.answer(asking.headers()).await
    }

    fn redirect_to_cdn(&self, lfs: &LfsObject) -> Response {
        let lifetime = self.world.options.read().url_lifetime_seconds;
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let signed = self.world.signer.sign(&cdn::path(&lfs.sha256), name, lifetime);
        let location = format!("{}{signed}", self.world.endpoints.cdn);
        let mut headers = self.headers();
        set(&mut headers, X_LINKED_ETAG, &format!("\"{}\"", lfs.sha256));
        set(&mut headers, X_LINKED_SIZE, &self.file.size.to_string());
        set(&mut headers, header::ACCEPT_RANGES, "bytes");
        self.say_xet(&mut headers, lfs);
        redirect(StatusCode::FOUND, headers, &location)
    }

    /// Where the same bytes are in the Xet store, if they are there.
    fn say_xet(&self, headers: &mut HeaderMap, lfs: &LfsObject) {
        let store = self.world.options.read().xet_store.clone();
        let (Some(store), Some(hash)) = (store, self.world.store.xet_hash(&lfs.sha256)) else { return };
        let (kind, repo, commit) = (self.route.repo.kind.plural(), &self.route.repo.name, &self.commit.id);
        let token = format!("{}/api/{kind}/{repo}/xet-read-token/{commit}", self.world.endpoints.hub);
        let links = format!(
            "<{token}>; rel=\"xet-auth\", <{store}/v1/reconstructions/{hash}>; rel=\"xet-reconstruction-info\""
        );
        set(headers, X_XET_HASH, &hash);
        set(headers, header::LINK, &links);
    }

    fn redirect_to_cache(&self) -> Response {
        let (repo, commit) = (&self.route.repo, &self.commit.id);
        let path = utf8_percent_encode(self.path, PATH);
        let etag = format!("\"{}\"", self.file.oid);
        let query = utf8_percent_encode(&etag, PATH);
        let location = format!("/api/resolve-cache/{repo}/{commit}/{path}?etag={query}");
        let mut headers = self.headers();
        set(&mut headers, X_LINKED_ETAG, &etag);
        set(&mut headers, X_LINKED_SIZE, &self.file.size.to_string());
        redirect(StatusCode::TEMPORARY_REDIRECT, headers, &location)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        set(&mut headers, X_REPO_COMMIT, &self.commit.id);
        headers
    }
}

/// Its Content-Length is that of the little text, as on the Hub.
fn redirect(status: StatusCode, mut headers: HeaderMap, location: &str) -> Response {
    set(&mut headers, header::LOCATION, location);
    let reason = status.canonical_reason().unwrap_or_default();
    let body = format!("{reason}. Redirecting to {location}");
    (status, headers, body).into_response()
}
