//! Whose token a mount uses.

use std::ffi::OsString;
use std::path::Path;

use super::Config;
use super::layers::Source;
use crate::fs::mount::{is_below_our_mount, resolve};
use crate::origin::hub::{TokenFileError, find_token};
use crate::types::Token;

impl Config {
    /// The token for a mount at `directory`, or for a command that mounts nothing, by the order of the layers: flag or variable of ours, HF_TOKEN and
    /// HF_TOKEN_PATH, the YAML file, the login under HF_HOME.
    pub fn token(&self, directory: Option<&Path>) -> Result<Option<Token>, TokenFileError> {
        let variable = |name: &str| self.surroundings.variable(name).map(OsString::from);
        if matches!(self.source("hub.token_file"), Some(Source::File { .. })) {
            let by_path = variable("HF_TOKEN_PATH").is_some();
            let environment = |name: &str| match name {
                "HF_TOKEN" | "HF_TOKEN_PATH" => variable(name),
                "HOME" if by_path => variable(name),
                _ => None,
            };
            if let Some(token) = find_token(None, environment)? {
                return Ok(Some(token));
            }
        }
        let hidden = self.hidden_variables(directory);
        find_token(
            self.settings.hub_token_file.as_deref(),
            |name| {
                if hidden.contains(&name) { None } else { variable(name) }
            },
        )
    }

    /// HF_HOME, if it leads into a mount of ours or the one that is to come: a daemon that read its token there would
    /// wait for itself. Told from the path's text; what is inside a mount is not looked at.
    pub fn hidden_variables(&self, directory: Option<&Path>) -> Vec<&'static str> {
        let leads_to_us = |name: &&str| {
            let path = self.surroundings.variable(name).map(|path| resolve(&self.surroundings.absolute(path.as_ref())));
            let below = |path: &Path| directory.is_some_and(|directory| path.starts_with(directory));
            path.is_some_and(|path| below(&path) || is_below_our_mount(&path))
        };
        ["HF_HOME"].into_iter().filter(leads_to_us).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, Surroundings};
    use super::*;

    fn token(variables: &[(&str, &str)], yaml: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["flag", "yaml", "path"] {
            std::fs::write(folder.join(name), format!("{name}\n")).unwrap();
        }
        for home in ["mount", "elsewhere"] {
            std::fs::create_dir(folder.join(home)).unwrap();
            std::fs::write(folder.join(home).join("token"), format!("{home}\n")).unwrap();
        }
        let here = |text: &str| text.replace("HERE", folder.to_str().unwrap());
        std::fs::write(folder.join("config.yaml"), here(yaml)).unwrap();
        let surroundings = Surroundings {
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), here(value))).collect(),
            working_directory: folder.to_owned(),
            home: Some(folder.to_owned()),
            uid: 1000,
        };
        let config = Config::load(Layer::default(), Some(folder.join("config.yaml")), surroundings).unwrap();
        config.token(Some(&resolve(&folder.join("mount")))).unwrap().map(|token| token.secret().to_owned())
    }

    #[test]
    fn the_layers_are_asked_from_the_top_for_a_token() {
        let yaml = "hub: {token_file: HERE/yaml}";
        let ours = ("WEIGHTFS_HUB_TOKEN_FILE", "flag");
        let variable = ("HF_TOKEN", "variable");
        let path = ("HF_TOKEN_PATH", "HERE/path");
        let login = ("HF_HOME", "HERE/elsewhere");
        assert_eq!(token(&[ours, variable, path, login], yaml).as_deref(), Some("flag"));
        assert_eq!(token(&[variable, path, login], yaml).as_deref(), Some("variable"));
        assert_eq!(token(&[path, login], yaml).as_deref(), Some("path"));
        assert_eq!(token(&[login], yaml).as_deref(), Some("yaml"));
        assert_eq!(token(&[login], "").as_deref(), Some("elsewhere"));
    }

    #[test]
    fn an_hf_home_that_is_or_will_be_our_mount_is_passed_over() {
        assert_eq!(token(&[("HF_HOME", "HERE/mount")], ""), None);
        assert_eq!(token(&[("HF_HOME", "HERE/elsewhere/../mount/inner/..")], ""), None);
    }
}
