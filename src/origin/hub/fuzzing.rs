//! The parsers of the Hub's answers, for `crate::fuzzing`.

use serde_json::Value;
use url::Url;

use super::listing::{self, Entry};
use super::{api, auth, urls};
use crate::types::{Commit, Identity, RepoId, RepoType, Snapshot, Token};

fn repo() -> RepoId {
    RepoId::new(RepoType::Model, "acme/tiny").expect("it is a name")
}

fn check(snapshot: &Snapshot) {
    let mut total = 0u64;
    for (path, blob) in snapshot.files() {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        assert!(path.as_str().split('/').all(plain), "{path} leads out");
        total = total.checked_add(blob.size).expect("the sum of a listing is a number");
    }
}

/// The input is one page of a listing.
pub fn tree(bytes: &[u8]) {
    let Ok(page) = serde_json::from_slice::<Vec<Value>>(bytes) else { return };
    let entries = page.into_iter().map(Entry::of_tree).collect();
    check(&listing::read(&repo(), Commit::from_bytes([1; 20]), entries));
}

/// The input is a repository's info, with its files or without.
pub fn info(bytes: &[u8]) {
    if let Some(snapshot) = api::parse_info(bytes, &repo()) {
        check(&snapshot);
    }
}

/// The input is where a listing says that it goes on.
pub fn next_page(bytes: &[u8]) {
    let Ok(link) = std::str::from_utf8(bytes) else { return };
    let hub = Identity::new("http://mirror/hf", Some(Token::new("hf_x")), false);
    let page = Url::parse("http://mirror/hf/api/models/a/tree/x").expect("it is a URL");
    if let Some(next) = urls::next_page(&hub, &page, link).filter(|next| auth::is_own_hub(&hub, next)) {
        assert_eq!((next.scheme(), next.host_str(), next.port_or_known_default()), ("http", Some("mirror"), Some(80)));
    }
}
