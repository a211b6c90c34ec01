//! Settings from a YAML file.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::environment::Surroundings;
use super::error::ConfigError;
use super::faults::Faults;
use super::layers::{Given, Layer, Source, Written};
use super::model_express;
use super::settings::{SETTINGS, Setting, setting};

/// A configuration is a page; anything longer is the wrong file.
const MAX_BYTES: u64 = 1 << 20;

/// What is good of it; the rest goes to `faults`.
pub(super) fn read(path: &Path, surroundings: &Surroundings, faults: &mut Faults) -> Layer {
    let text = faults.good(text(path));
    text.map_or_else(Layer::default, |text| parse(&text, path, surroundings, faults))
}

fn text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { path: path.to_owned(), cause };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_BYTES {
        return Err(unreadable(std::io::Error::other(format!("it has {length} bytes, more than {MAX_BYTES}"))));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

pub(super) fn parse(text: &str, path: &Path, surroundings: &Surroundings, faults: &mut Faults) -> Layer {
    let syntax = |cause: String| ConfigError::Syntax { path: path.to_owned(), cause };
    let mut file = File { path, surroundings, layer: Layer::default(), faults };
    match serde_saphyr::from_str(text).map(|tree: Option<Spanned<Tree>>| tree.map(|tree| tree.value)) {
        Err(cause) => file.faults.add(syntax(cause.to_string())),
        Ok(None | Some(Tree::Scalar(Written::Null))) => {}
        Ok(Some(Tree::Map(entries))) => file.take_map("", entries),
        Ok(Some(Tree::Scalar(_))) => {
            file.faults.add(syntax(format!("expected groups of settings: {}", allowed_below(""))));
        }
    }
    file.layer
}

struct File<'a> {
    path: &'a Path,
    surroundings: &'a Surroundings,
    layer: Layer,
    faults: &'a mut Faults,
}

impl File<'_> {
    /// Takes the keys below `group`, which is empty or ends with a dot.
    fn take_map(&mut self, group: &str, entries: Vec<(String, Spanned<Tree>)>) {
        for (name, Spanned { value, referenced, .. }) in entries {
            let place = Source::File { path: self.path.to_owned(), line: referenced.line() };
            let taken = self.take(group, &name, value, place);
            self.faults.good(taken);
        }
    }

    fn take(&mut self, group: &str, name: &str, value: Tree, place: Source) -> Result<(), ConfigError> {
        let key = format!("{group}{name}");
        // One way to write a key, so that no key is given twice.
        let known = setting(&key).or_else(|| model_express::key(&key)).filter(|_| !name.contains('.'));
        match (known, value) {
            (Some(setting), value) => self.give(setting, &key, value, place),
            (None, value) if key == model_express::POLICY_KEY => check_policy(value, place),
            (None, Tree::Map(below)) if is_group(&key) => {
                self.take_map(&format!("{key}."), below);
                Ok(())
            }
            // `cache:` with nothing below it sets nothing.
            (None, Tree::Scalar(Written::Null)) if is_group(&key) => Ok(()),
            (None, _) if is_group(&key) => {
                let allowed = allowed_below(&format!("{key}."));
                Err(ConfigError::UnknownKey { place, key, allowed })
            }
            (None, _) => Err(match model_express::advice(&key) {
                Some(advice) => ConfigError::ForeignKey { place, key, advice },
                None => ConfigError::UnknownKey { place, key, allowed: allowed_below(group) },
            }),
        }
    }

    /// `name` is the key as it is written.
    fn give(&mut self, setting: &'static Setting, name: &str, value: Tree, source: Source) -> Result<(), ConfigError> {
        let given = Given { written: value.written(), source, base: None, home: self.surroundings.home.clone() };
        setting.check(&given)?;
        if self.layer.0.contains_key(setting.key) {
            return Err(ConfigError::Twice { place: given.source, key: setting.key, name: name.to_owned() });
        }
        self.layer.0.insert(setting.key, given);
        Ok(())
    }
}

fn check_policy(value: Tree, place: Source) -> Result<(), ConfigError> {
    match value.written() {
        Written::Text(word) if word == model_express::POLICY => Ok(()),
        other => Err(ConfigError::BadValue {
            place,
            key: model_express::POLICY_KEY,
            found: other.to_string(),
            expected: format!("{}, the only policy, or left out", model_express::POLICY),
        }),
    }
}

fn is_group(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The keys one level below `group` (empty, or ending with a dot).
fn allowed_below(group: &str) -> String {
    let mut names = Vec::new();
    for name in SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(group)) {
        let name = format!("{group}{}", name.split('.').next().unwrap_or(name));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// YAML with its own types, before it is known which key wants which.
enum Tree {
    Scalar(Written),
    Map(Vec<(String, Spanned<Tree>)>),
}

impl Tree {
    fn written(self) -> Written {
        match self {
            Tree::Scalar(written) => written,
            Tree::Map(entries) => {
                let texts = entries.into_iter().map(|(name, entry)| Some((name, entry.value.text()?)));
                texts.collect::<Option<_>>().map_or(Written::Group, Written::Table)
            }
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Tree::Scalar(Written::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Integer(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Text(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Written::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut texts = Some(Vec::new());
        while let Some(item) = items.next_element::<Tree>()? {
            texts = texts.zip(item.text()).map(|(mut texts, text)| {
                texts.push(text);
                texts
            });
        }
        Ok(Tree::Scalar(texts.map_or(Written::Group, Written::List)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}
