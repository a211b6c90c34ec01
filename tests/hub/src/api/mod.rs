//! `/api/...`: who the caller is, and what repositories hold. Listings answer for gated repositories too.

mod info;
mod page;
mod paths_info;
mod refs;
mod tree;
mod whoami;
mod xet_token;

use std::sync::Arc;

use axum::http::Method;
use axum::response::Response;

use crate::commit::Commit;
use crate::exchange::{Asking, World};
use crate::refusal::Refusal;
use crate::repo::Repo;
use crate::route::{Ask, RepoRoute, Route};
use crate::store::{Caller, Lookup, may_resolve};

pub fn answer(world: &World, route: Route, caller: Caller, asking: &Asking) -> Result<Response, Refusal> {
    if caller == Caller::Unknown {
        return Err(Refusal::BadCredentials);
    }
    match route {
        Route::WhoAmI => whoami::answer(caller),
        Route::List(kind) => Ok(info::list(world, kind, &caller, asking)),
        Route::Repo(route) => repo(world, route, caller, asking),
        Route::Unknown => Err(Refusal::NoSuchRoute),
    }
}

fn repo(world: &World, route: RepoRoute, caller: Caller, asking: &Asking) -> Result<Response, Refusal> {
    let repo = open_repo(world, &route, &caller, asking)?;
    match &route.ask {
        Ask::Info { revision } => {
            let revision = revision.as_deref();
            info::answer(&route.repo, &repo, revision, asking)
        }
        Ask::Tree { revision, path } => {
            let commit = commit(&repo, revision)?;
            let options = world.options.read().clone();
            tree::answer(&commit, path, &options, asking, &world.endpoints.hub)
        }
        Ask::PathsInfo { revision } => {
            let commit = commit(&repo, revision)?;
            paths_info::answer(&commit, asking)
        }
        Ask::Refs => Ok(refs::answer(&repo, asking)),
        Ask::XetToken { revision } => {
            commit(&repo, revision)?;
            if !may_resolve(&repo, &caller) {
                return Err(Refusal::Gated(route.repo, caller));
            }
            xet_token::answer(world)
        }
        Ask::File { .. } => Err(Refusal::NoSuchRoute),
    }
}

fn commit(repo: &Repo, revision: &str) -> Result<Arc<Commit>, Refusal> {
    let found = repo.resolve(revision);
    found.ok_or_else(|| Refusal::NoRevision(revision.to_owned()))
}

/// The repository of a route, once method, credentials and rights are in order.
pub fn open_repo(world: &World, route: &RepoRoute, caller: &Caller, asking: &Asking) -> Result<Arc<Repo>, Refusal> {
    let method = &asking.parts.method;
    let is_fitting = match route.ask {
        Ask::PathsInfo { .. } => method == Method::POST,
        _ => method == Method::GET || method == Method::HEAD,
    };
    if !is_fitting {
        return Err(Refusal::WrongMethod);
    }
    if *caller == Caller::Unknown {
        return Err(Refusal::BadCredentials);
    }
    match world.store.look_up(&route.repo, caller) {
        Lookup::Found(repo) if repo.settings.disabled => Err(Refusal::Disabled),
        Lookup::Found(repo) => Ok(repo),
        Lookup::Moved(to) => {
            let query = asking.parts.uri.query();
            let query = query.map(|text| format!("?{text}")).unwrap_or_default();
            Err(Refusal::Moved(route.path_under(&to) + &query))
        }
        Lookup::Absent => Err(Refusal::NoRepo(caller.clone())),
    }
}
