//! The Hub's routes. Names are quoted here and nowhere else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use url::Url;

use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{Commit, Identity, RemoteFile, RepoId};

/// What Python's `quote(text, safe="")` encodes.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const QUOTED_PATH: &AsciiSet = &QUOTED.remove(b'/');

/// Where Hubs say that they are even when they are mirrors.
const PUBLIC_HUB: &str = "https://huggingface.co/";

fn quote(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, QUOTED)
}

/// A path and query on the identity's Hub.
fn on_hub(identity: &Identity, path: String) -> Result<Url, OriginError> {
    let is_hub = |url: &Url| matches!(url.scheme(), "http" | "https") && url.query().is_none();
    let endpoint = Url::parse(&identity.endpoint).ok().filter(is_hub);
    let url = endpoint.and_then(|_| Url::parse(&format!("{}/{path}", identity.endpoint)).ok());
    url.ok_or_else(|| {
        let cause = "the Hub's endpoint is not an http or https URL; check --hub-endpoint or HF_ENDPOINT";
        OriginError::new(OriginErrorKind::Permanent, &*identity.endpoint, cause)
    })
}

/// Facts about a repository at a revision.
pub(super) fn info(identity: &Identity, repo: &RepoId, revision: &str) -> Result<Url, OriginError> {
    on_hub(identity, format!("api/{}/{}/revision/{}", repo.kind().plural(), repo.name(), quote(revision)))
}

/// The same, with every file's hash and size.
pub(super) fn info_with_files(identity: &Identity, repo: &RepoId, revision: &str) -> Result<Url, OriginError> {
    let mut url = info(identity, repo, revision)?;
    url.set_query(Some("blobs=true"));
    Ok(url)
}

/// The first page of every file of a commit.
pub(super) fn tree(identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Url, OriginError> {
    let (kind, name) = (repo.kind().plural(), repo.name());
    on_hub(identity, format!("api/{kind}/{name}/tree/{commit}?recursive=true&expand=false"))
}

/// A file's contents, or the redirect to them.
pub(super) fn resolve(identity: &Identity, file: &RemoteFile) -> Result<Url, OriginError> {
    let path = utf8_percent_encode(file.path.as_str(), QUOTED_PATH);
    on_hub(identity, format!("{}/resolve/{}/{path}", file.repo, file.commit))
}

/// Leave to read the repository's files of the Hub's Xet store.
pub(super) fn xet_token(identity: &Identity, repo: &RepoId, commit: Commit) -> Result<Url, OriginError> {
    on_hub(identity, format!("api/{}/{}/xet-read-token/{commit}", repo.kind().plural(), repo.name()))
}

/// The page that `page` names as its next. A mirror may hand through links that name the public Hub.
pub(super) fn next_page(identity: &Identity, page: &Url, link: &str) -> Option<Url> {
    match link.strip_prefix(PUBLIC_HUB) {
        Some(path) => Url::parse(&format!("{}/{path}", identity.endpoint)).ok(),
        None => page.join(link).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Blob, BlobId, RepoPath, RepoType};

    #[test]
    fn names_are_quoted_as_the_hub_expects() {
        let hub = Identity::new("http://hub/base/", None, false);
        let repo = RepoId::new(RepoType::Dataset, "org/name").unwrap();
        let commit = Commit::from_bytes([0xab; 20]);
        let url = info(&hub, &repo, "refs/pr/1").unwrap();
        assert_eq!(url.as_str(), "http://hub/base/api/datasets/org/name/revision/refs%2Fpr%2F1");
        let path = RepoPath::new("a b/ü#?%2e%2e/c.bin").unwrap();
        let blob = Blob { id: BlobId::GitSha1([0; 20]), size: 1 };
        let url = resolve(&hub, &RemoteFile { repo: repo.clone(), commit, path, blob }).unwrap();
        let hex = "ab".repeat(20);
        let expected = format!("http://hub/base/datasets/org/name/resolve/{hex}/a%20b/%C3%BC%23%3F%252e%252e/c.bin");
        assert_eq!(url.as_str(), expected);
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_an_error_with_a_reason() {
        let repo = RepoId::new(RepoType::Model, "gpt2").unwrap();
        for endpoint in ["hub", "ftp://hub", "http://", "", "http://hub?x=1"] {
            assert!(info(&Identity::new(endpoint, None, false), &repo, "main").is_err(), "{endpoint}");
        }
    }

    #[test]
    fn a_mirrors_link_to_the_public_hub_stays_on_the_mirror() {
        let hub = Identity::new("http://mirror/hf", None, false);
        let page = Url::parse("http://mirror/hf/api/models/a/tree/x").unwrap();
        let next = |link| next_page(&hub, &page, link).unwrap().to_string();
        assert_eq!(
            next("https://huggingface.co/api/models/a/tree/x?cursor=1"),
            "http://mirror/hf/api/models/a/tree/x?cursor=1"
        );
        assert_eq!(next("?cursor=1"), "http://mirror/hf/api/models/a/tree/x?cursor=1");
        assert_eq!(next("http://evil/x"), "http://evil/x");
    }
}
