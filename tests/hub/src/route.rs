//! What a request to the Hub asks for, read from its raw path. Pure.
//!
//! Repository names have one or two parts and revisions are one percent-encoded segment, so the path is split before
//! it is decoded.

use percent_encoding::percent_decode_str;

use crate::repo::{RepoId, RepoKind};

/// Words that follow a repository's name in the API.
const VERBS: [&str; 5] = ["revision", "tree", "paths-info", "refs", "xet-read-token"];

#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    WhoAmI,
    List(RepoKind),
    Repo(RepoRoute),
    Unknown,
}

#[derive(Debug, PartialEq, Eq)]
pub struct RepoRoute {
    pub repo: RepoId,
    pub surface: Surface,
    /// The raw path after the name, to go on with under another name.
    pub tail: String,
    pub ask: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    Api,
    Resolve,
    /// Where the Hub sends on those who resolve a git file, when told to.
    ResolveCache,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    Info { revision: Option<String> },
    Tree { revision: String, path: String },
    PathsInfo { revision: String },
    Refs,
    XetToken { revision: String },
    File { revision: String, path: String },
}

impl Route {
    pub fn parse(raw_path: &str) -> Self {
        let segments: Vec<&str> = raw_path.trim_start_matches('/').split('/').collect();
        let route = match segments.as_slice() {
            ["api", "whoami-v2"] => Some(Route::WhoAmI),
            ["api", "resolve-cache", kind, rest @ ..] => {
                RepoKind::from_plural(kind).and_then(|kind| resolve_cache(kind, rest))
            }
            ["api", kind, rest @ ..] => RepoKind::from_plural(kind).and_then(|kind| api(kind, rest)),
            [kind, rest @ ..] if *kind != "models" => match RepoKind::from_plural(kind) {
                Some(kind) => resolve(kind, rest),
                None => resolve(RepoKind::Model, &segments),
            },
            _ => resolve(RepoKind::Model, &segments),
        };
        route.unwrap_or(Route::Unknown)
    }

    /// The surface of a path, also where nothing is found there.
    pub fn surface(&self) -> Surface {
        match self {
            Route::Repo(route) => route.surface,
            _ => Surface::Api,
        }
    }
}

impl RepoRoute {
    /// The same question under another name.
    pub fn path_under(&self, name: &RepoId) -> String {
        let start = match self.surface {
            Surface::Api => format!("/api/{}/", name.kind.plural()),
            Surface::Resolve => format!("/{}", name.kind.url_prefix()),
            Surface::ResolveCache => format!("/api/resolve-cache/{}/", name.kind.plural()),
        };
        format!("{start}{}{}", name.name, self.tail)
    }
}

fn api(kind: RepoKind, rest: &[&str]) -> Option<Route> {
    let is_verb = |at: usize| rest.get(at).is_some_and(|word| VERBS.contains(word));
    let name_parts = match rest.len() {
        0 => return Some(Route::List(kind)),
        1 => return bare_or_list(kind, rest[0]),
        _ if is_verb(1) => 1,
        _ => 2,
    };
    let (name, tail) = rest.split_at(name_parts);
    let ask = match tail {
        [] => Ask::Info { revision: None },
        ["revision", revision] => Ask::Info { revision: Some(decode(revision)?) },
        ["tree", revision, path @ ..] => Ask::Tree { revision: decode(revision)?, path: decode(&path.join("/"))? },
        ["paths-info", revision] => Ask::PathsInfo { revision: decode(revision)? },
        ["refs"] => Ask::Refs,
        ["xet-read-token", revision] => Ask::XetToken { revision: decode(revision)? },
        _ => return None,
    };
    repo_route(kind, name, Surface::Api, tail, ask)
}

fn bare_or_list(kind: RepoKind, name: &str) -> Option<Route> {
    match name {
        "" => Some(Route::List(kind)),
        name => {
            let ask = Ask::Info { revision: None };
            repo_route(kind, &[name], Surface::Api, &[], ask)
        }
    }
}

fn resolve(kind: RepoKind, segments: &[&str]) -> Option<Route> {
    let at = [1, 2].into_iter().find(|at| segments.get(*at) == Some(&"resolve"))?;
    let (name, tail) = segments.split_at(at);
    let [_, revision, path @ ..] = tail else {
        return None;
    };
    let ask = file(revision, path)?;
    repo_route(kind, name, Surface::Resolve, tail, ask)
}

/// `/api/resolve-cache/models/ORG/NAME/COMMIT/PATH`; only names with an organisation get this far.
fn resolve_cache(kind: RepoKind, rest: &[&str]) -> Option<Route> {
    let is_commit = |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let at = [1, 2].into_iter().find(|at| rest.get(*at).is_some_and(is_commit))?;
    let (name, tail) = rest.split_at(at);
    let ask = file(tail[0], &tail[1..])?;
    repo_route(kind, name, Surface::ResolveCache, tail, ask)
}

fn file(revision: &str, path: &[&str]) -> Option<Ask> {
    let path = decode(&path.join("/"))?;
    if path.is_empty() {
        return None;
    }
    let revision = decode(revision)?;
    Some(Ask::File { revision, path })
}

fn repo_route(kind: RepoKind, name: &[&str], surface: Surface, tail: &[&str], ask: Ask) -> Option<Route> {
    let name = decode(&name.join("/"))?;
    let tail = tail.iter().map(|segment| format!("/{segment}")).collect();
    Some(Route::Repo(RepoRoute { repo: RepoId::new(kind, name), surface, tail, ask }))
}

fn decode(raw: &str) -> Option<String> {
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(path: &str) -> RepoRoute {
        match Route::parse(path) {
            Route::Repo(route) => route,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn names_have_one_or_two_parts() {
        let long = repo("/api/models/acme/tiny/revision/refs%2Fpr%2F1");
        let revision = Some("refs/pr/1".to_owned());
        assert_eq!(long.repo, "acme/tiny".into());
        assert_eq!(long.ask, Ask::Info { revision });
        let short = repo("/api/models/gpt2/revision/main");
        assert_eq!(short.repo, "gpt2".into());
        assert_eq!(repo("/api/datasets/squad").repo, "datasets/squad".into());
        assert_eq!(repo("/api/models/gpt2/refs").ask, Ask::Refs);
        assert_eq!(Route::parse("/api/models"), Route::List(RepoKind::Model));
    }

    #[test]
    fn a_resolve_path_is_decoded_after_it_is_split() {
        let route = repo("/datasets/acme/x/resolve/refs%2Fpr%2F1/a%20b/c.json");
        assert_eq!(route.repo, "datasets/acme/x".into());
        let ask = Ask::File { revision: "refs/pr/1".to_owned(), path: "a b/c.json".to_owned() };
        assert_eq!(route.ask, ask);
        let elsewhere = route.path_under(&"datasets/new/name".into());
        let expected = "/datasets/new/name/resolve/refs%2Fpr%2F1/a%20b/c.json";
        assert_eq!(elsewhere, expected);
        assert_eq!(repo("/gpt2/resolve/main/config.json").repo, "gpt2".into());
    }

    #[test]
    fn nonsense_is_unknown() {
        for path in ["/", "", "//", "/a/b/resolve/main", "/a/b/resolve/main/", "/api/x/y", "/a/b/resolve/%ff/x"] {
            assert_eq!(Route::parse(path), Route::Unknown, "{path}");
        }
    }
}
