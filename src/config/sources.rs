//! The types of settings that say where models lie beside the Hub.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::layers::{Given, Written};
use super::settings::Settings;
use super::value::Value;
use crate::types::{Prefix, RepoId, RepoType, SourcePlace};

/// A table of names and places.
fn entries(given: &Given) -> Option<Vec<(String, String)>> {
    match &given.written {
        Written::Null => Some(Vec::new()),
        Written::Table(entries) => Some(entries.clone()),
        Written::Word(word) => {
            let pair = |entry: &str| entry.split_once('=').map(|(name, place)| (name.to_owned(), place.to_owned()));
            items(word).map(pair).collect()
        }
        _ => None,
    }
}

fn list(given: &Given) -> Option<Vec<String>> {
    match &given.written {
        Written::Null => Some(Vec::new()),
        Written::List(texts) => Some(texts.clone()),
        Written::Word(word) => Some(items(word).map(str::to_owned).collect()),
        _ => None,
    }
}

fn items(word: &str) -> impl Iterator<Item = &str> {
    word.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn directory(given: &Given, text: &str) -> Option<PathBuf> {
    let written = Written::Text(text.to_owned());
    let path = PathBuf::read(&Given { written, ..given.clone() })?;
    (path != Path::new("/")).then_some(path)
}

fn bucket(text: &str) -> Option<Prefix> {
    text.strip_prefix("s3://").and_then(Prefix::new)
}

fn place(given: &Given, text: &str) -> Option<SourcePlace> {
    match text.contains("://") {
        true => bucket(text).map(SourcePlace::Bucket),
        false => directory(given, text).map(SourcePlace::Directory),
    }
}

fn table(entries: impl Iterator<Item = (String, String)>) -> Json {
    Json::Object(entries.map(|(name, place)| (name, place.into())).collect::<Map<_, _>>())
}

fn is_unique<T: PartialEq>(items: &[T]) -> bool {
    items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
}

/// Models of an HF_HOME that lie elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlacedModels(pub Vec<(RepoId, SourcePlace)>);

impl Value for PlacedModels {
    const HINT: &'static str = "ORG/NAME=PLACE,…";

    fn expected() -> String {
        "a table of ORG/NAME: s3://BUCKET/PREFIX or an absolute path; in a variable ORG/NAME=PLACE,ORG/NAME=PLACE"
            .to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let placed = entries(given)?.into_iter().map(|(name, text)| {
            let repo = name.parse::<RepoId>().ok().filter(|repo| repo.kind().is_on_hub())?;
            Some((repo, place(given, &text)?))
        });
        let placed: Vec<_> = placed.collect::<Option<_>>()?;
        is_unique(&placed.iter().map(|(repo, _)| repo).collect::<Vec<_>>()).then_some(Self(placed))
    }

    fn json(&self) -> Json {
        table(self.0.iter().map(|(repo, place)| (repo.to_string(), place.to_string())))
    }
}

/// What `dir/NAME` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories(pub Vec<(RepoId, PathBuf)>);

impl Value for Directories {
    const HINT: &'static str = "NAME=PATH,…";

    fn expected() -> String {
        "a table of NAME: an absolute path; in a variable NAME=PATH,NAME=PATH".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let named = entries(given)?
            .into_iter()
            .map(|(name, text)| Some((RepoId::new(RepoType::Directory, &name).ok()?, directory(given, &text)?)));
        let named: Vec<_> = named.collect::<Option<_>>()?;
        is_unique(&named.iter().map(|(repo, _)| repo).collect::<Vec<_>>()).then_some(Self(named))
    }

    fn json(&self) -> Json {
        table(self.0.iter().map(|(repo, path)| (repo.name().to_owned(), path.to_string_lossy().into_owned())))
    }
}

/// What `s3/` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets(pub Vec<Prefix>);

impl Value for Buckets {
    const HINT: &'static str = "s3://BUCKET/PREFIX,…";

    fn expected() -> String {
        "a list of s3://BUCKET/PREFIX, each once".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let buckets: Vec<_> = list(given)?.iter().map(|text| bucket(text)).collect::<Option<_>>()?;
        is_unique(&buckets).then_some(Self(buckets))
    }

    fn json(&self) -> Json {
        self.0.iter().map(|prefix| prefix.repo().to_string()).collect()
    }
}

impl Settings {
    /// The directories that models come from, each with the key that names it.
    pub fn source_directories(&self) -> Vec<(&'static str, &Path)> {
        let placed = self.origin_models.0.iter().map(|(_, place)| ("origin.models", place));
        let mirrors = self.origin_chain.0.iter().filter_map(|link| match link {
            ChainPlace::Hub => None,
            ChainPlace::Mirror(place) => Some(("origin.chain", place)),
        });
        let directories = placed.chain(mirrors).filter_map(|(key, place)| match place {
            SourcePlace::Directory(path) => Some((key, path.as_path())),
            SourcePlace::Bucket(_) => None,
        });
        let named = self.origin_directories.0.iter().map(|(_, path)| ("origin.directories", path.as_path()));
        directories.chain(named).collect()
    }
}

/// Where contents of the Hub's repositories are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainPlace {
    Hub,
    Mirror(SourcePlace),
}

impl fmt::Display for ChainPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainPlace::Hub => f.write_str(ChainOrder::HUB),
            ChainPlace::Mirror(place) => place.fmt(f),
        }
    }
}

/// In which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainOrder(pub Vec<ChainPlace>);

impl ChainOrder {
    const HUB: &str = "hub";

    pub fn hub() -> Self {
        Self(vec![ChainPlace::Hub])
    }
}

impl Value for ChainOrder {
    const HINT: &'static str = "PLACE,…";

    fn expected() -> String {
        "a list of hub, s3://BUCKET/PREFIX and absolute paths, each once".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let link = |text: &String| match text.as_str() {
            Self::HUB => Some(ChainPlace::Hub),
            text => place(given, text).map(ChainPlace::Mirror),
        };
        let chain: Vec<_> = list(given)?.iter().map(link).collect::<Option<_>>()?;
        (!chain.is_empty() && is_unique(&chain)).then_some(Self(chain))
    }

    fn json(&self) -> Json {
        self.0.iter().map(ChainPlace::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Source;
    use super::*;

    fn given(written: Written) -> Given {
        let source = Source::Environment("X".to_owned());
        Given { written, source, base: None, home: Some("/home/ann".into()) }
    }

    fn word(text: &str) -> Given {
        given(Written::Word(text.to_owned()))
    }

    fn table_of(name: &str, place: &str) -> Given {
        given(Written::Table(vec![(name.to_owned(), place.to_owned())]))
    }

    #[test]
    fn a_table_of_a_file_and_a_variable_say_the_same() {
        let read = PlacedModels::read(&table_of("acme/tiny", "s3://bucket/a/")).unwrap();
        assert_eq!(Some(&read), PlacedModels::read(&word("acme/tiny=s3://bucket/a")).as_ref());
        assert_eq!(read.json(), serde_json::json!({"acme/tiny": "s3://bucket/a"}));
        let home = PlacedModels::read(&table_of("datasets/acme/d", "~/d")).unwrap();
        assert_eq!(home.0[0].1, SourcePlace::Directory("/home/ann/d".into()));
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        for place in ["", "relative", "http://h/x", "s3://", "s3://b/../x", "/"] {
            assert_eq!(PlacedModels::read(&table_of("acme/tiny", place)), None, "{place}");
        }
        for name in ["", "acme/tiny/x", "s3://bucket", "dir://x"] {
            assert_eq!(PlacedModels::read(&table_of(name, "/p")), None, "{name}");
        }
        assert_eq!(PlacedModels::read(&word("acme/tiny=/a,acme/tiny=/b")), None, "which of the two?");
        assert_eq!(Directories::read(&table_of("a/b", "/p")), None);
        assert_eq!(Buckets::read(&word("s3://bucket,s3://bucket/")), None);
    }

    #[test]
    fn a_chain_names_each_place_once_and_at_least_one() {
        let chain = ChainOrder::read(&given(Written::List(vec!["/cache/hub".to_owned(), "hub".to_owned()]))).unwrap();
        assert_eq!(chain.json(), serde_json::json!(["/cache/hub", "hub"]));
        for text in ["", "hub,hub", "hub,http://mirror"] {
            assert_eq!(ChainOrder::read(&word(text)), None, "{text}");
        }
    }
}
