//! What a volume may ask for. Whoever may write a pod writes these: nothing here names a path of the host, a flag or a Hub.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// In volume attributes, parameters of a storage class, or both.
const KNOWN: [&str; 7] = ["repo", "repoType", "revision", "view", "subPath", "warm", "tokenKey"];
/// What the kubelet and the provisioner add by themselves.
const FOREIGN: [&str; 2] = ["csi.storage.k8s.io/", "storage.kubernetes.io/"];
const MAIN: &str = "main";
const DEFAULT_TOKEN_KEY: &str = "token";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub view: View,
    /// Bring all of the named models here ahead of being read.
    pub warm: bool,
    /// Which of the secrets is the token; `None` if nothing was said.
    token_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// An HF_HOME: the whole Hub where no models are named.
    HfHome { models: Vec<Model> },
    /// The plain files of one model, or of a folder in it.
    Model { model: Model, sub_path: String },
}

/// As the daemon's protocol names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub repo: String,
    /// `None`: whatever a program asks for, by default the newest of `main`.
    pub revision: Option<String>,
}

impl Model {
    pub fn revision_or_main(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }
}

/// Why a volume cannot be what is asked for. It becomes an event of the pod.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    #[error("unknown volume attribute `{0}`; there are {known}", known = KNOWN.join(", "))]
    Unknown(String),
    #[error("{name}: `{value}` is not allowed; use {allowed}")]
    Value { name: &'static str, value: String, allowed: &'static str },
    #[error("{name} {advice}")]
    Combination { name: &'static str, advice: &'static str },
    #[error("tokenKey names `{0}`, which is not in the secret of nodePublishSecretRef")]
    NoToken(String),
}

impl Wish {
    pub fn read(attributes: &HashMap<String, String>) -> Result<Self, AttributeError> {
        let is_ours = |name: &&String| !FOREIGN.iter().any(|prefix| name.starts_with(prefix));
        if let Some(unknown) = attributes.keys().filter(is_ours).filter(|name| !KNOWN.contains(&name.as_str())).min() {
            return Err(AttributeError::Unknown(unknown.clone()));
        }
        let text = |name: &str| attributes.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let warm = match text("warm") {
            None | Some("false") => false,
            Some("true") => true,
            Some(value) => return Err(wrong("warm", value, "\"true\" or \"false\"")),
        };
        let models = models(text("repo"), text("repoType"), text("revision"))?;
        let sub_path = text("subPath").map(sub_path).transpose()?;
        let view = match text("view") {
            None | Some("hf-home") if sub_path.is_some() => {
                return Err(AttributeError::Combination { name: "subPath", advice: "needs view: model" });
            }
            None | Some("hf-home") => View::HfHome { models },
            Some("model") => {
                View::Model { model: single(models, text("repoType"))?, sub_path: sub_path.unwrap_or_default() }
            }
            Some(value) => return Err(wrong("view", value, "hf-home or model")),
        };
        if warm && view.models().is_empty() {
            return Err(AttributeError::Combination { name: "warm", advice: "needs repo: the whole Hub does not fit" });
        }
        Ok(Self { view, warm, token_key: text("tokenKey").map(str::to_owned) })
    }

    /// The token among a volume's secrets. Without any it is anonymous.
    pub fn token(&self, secrets: &HashMap<String, String>) -> Result<Option<String>, AttributeError> {
        let key = self.token_key.as_deref().unwrap_or(DEFAULT_TOKEN_KEY);
        let found = secrets.get(key).map(|token| token.trim()).filter(|token| !token.is_empty());
        match (found, &self.token_key) {
            (None, Some(key)) => Err(AttributeError::NoToken(key.clone())),
            (found, _) => Ok(found.map(str::to_owned)),
        }
    }
}

impl View {
    pub fn models(&self) -> &[Model] {
        match self {
            View::HfHome { models } => models,
            View::Model { model, .. } => std::slice::from_ref(model),
        }
    }
}

fn wrong(name: &'static str, value: &str, allowed: &'static str) -> AttributeError {
    AttributeError::Value { name, value: value.to_owned(), allowed }
}

/// `repo` may name several, divided by commas. Their names are the daemon's to check.
fn models(repos: Option<&str>, kind: Option<&str>, revision: Option<&str>) -> Result<Vec<Model>, AttributeError> {
    let prefix = match kind {
        None | Some("model") => "",
        Some("dataset") => "datasets/",
        Some("space") => "spaces/",
        Some(value) => return Err(wrong("repoType", value, "model, dataset or space")),
    };
    let names: Vec<_> = repos.into_iter().flat_map(|repos| repos.split(',')).map(str::trim).collect();
    for name in &names {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        // No other kind by the way of a prefix, and no other origin.
        if name.is_empty() || !name.chars().all(is_plain) || name.split('/').count() > 2 {
            return Err(wrong("repo", name, "ORG/NAME, or several divided by commas"));
        }
    }
    if names.is_empty() && (kind.is_some() || revision.is_some()) {
        return Err(AttributeError::Combination { name: "repoType and revision", advice: "need repo" });
    }
    if names.len() > 1 && revision.is_some() {
        return Err(AttributeError::Combination { name: "revision", advice: "can be given for one repo only" });
    }
    let revision = revision.map(str::to_owned);
    Ok(names.iter().map(|name| Model { repo: format!("{prefix}{name}"), revision: revision.clone() }).collect())
}

fn single(models: Vec<Model>, kind: Option<&str>) -> Result<Model, AttributeError> {
    let is_other_kind = kind.is_some_and(|kind| kind != "model");
    let [model] = <[Model; 1]>::try_from(models)
        .map_err(|_| AttributeError::Combination { name: "view: model", advice: "needs exactly one repo" })?;
    if is_other_kind {
        let advice = "shows models only; datasets and spaces are in view: hf-home";
        return Err(AttributeError::Combination { name: "view: model", advice });
    }
    Ok(model)
}

/// Relative, and leading nowhere but down.
fn sub_path(text: &str) -> Result<String, AttributeError> {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !text.split('/').all(is_plain) {
        return Err(wrong("subPath", text, "a folder inside the repository, like onnx or a/b"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Wish, AttributeError> {
        Wish::read(&map(pairs))
    }

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn model(repo: &str, revision: Option<&str>) -> Model {
        Model { repo: repo.to_owned(), revision: revision.map(str::to_owned) }
    }

    #[test]
    fn nothing_asked_for_is_an_hf_home_of_the_whole_hub() {
        let added = [("csi.storage.k8s.io/pod.name", "p"), ("csi.storage.k8s.io/ephemeral", "true")];
        assert_eq!(read(&added).unwrap().view, View::HfHome { models: vec![] });
    }

    #[test]
    fn models_are_named_with_their_kind_and_revision() {
        let several = read(&[("repo", "a/b, c")]).unwrap();
        assert_eq!(several.view, View::HfHome { models: vec![model("a/b", None), model("c", None)] });
        let data = read(&[("repo", "a/b"), ("repoType", "dataset"), ("revision", "v1")]).unwrap();
        assert_eq!(data.view, View::HfHome { models: vec![model("datasets/a/b", Some("v1"))] });
        let plain = read(&[("view", "model"), ("repo", "a/b"), ("subPath", "x/y")]).unwrap();
        assert_eq!(plain.view, View::Model { model: model("a/b", None), sub_path: "x/y".to_owned() });
    }

    #[test]
    fn no_attribute_reaches_the_host_a_flag_or_another_hub() {
        for name in ["cacheDir", "mountFlags", "hubEndpoint", "endpoint", "path", "token"] {
            assert_eq!(read(&[(name, "x")]), Err(AttributeError::Unknown(name.to_owned())));
        }
        for repo in ["dir://pvc", "s3://bucket/x", "../x/y/z", "a/b/c", "datasets/a/b", "a b", ""] {
            assert!(repo.is_empty() || read(&[("repo", repo)]).is_err(), "{repo}");
        }
        for path in ["..", "a/../b", "/etc", "a//b", "./a", "a/"] {
            assert!(read(&[("view", "model"), ("repo", "a/b"), ("subPath", path)]).is_err(), "{path}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for pairs in [
            &[("view", "model")][..],
            &[("view", "model"), ("repo", "a/b,c/d")],
            &[("view", "model"), ("repo", "a/b"), ("repoType", "dataset")],
            &[("view", "x")],
            &[("revision", "v1")],
            &[("repo", "a/b,c/d"), ("revision", "v1")],
            &[("repo", "a/b"), ("subPath", "x")],
            &[("warm", "true")],
            &[("warm", "yes"), ("repo", "a/b")],
        ] {
            assert!(read(pairs).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_token_that_is_named_must_be_there() {
        let secrets = map(&[("token", "one\n"), ("team", "two")]);
        let token = |pairs: &[(&str, &str)]| read(pairs).unwrap().token(&secrets);
        assert_eq!(token(&[]), Ok(Some("one".to_owned())));
        assert_eq!(token(&[("tokenKey", "team")]), Ok(Some("two".to_owned())));
        assert_eq!(token(&[("tokenKey", "none")]), Err(AttributeError::NoToken("none".to_owned())));
        assert_eq!(read(&[]).unwrap().token(&HashMap::new()), Ok(None));
    }
}
