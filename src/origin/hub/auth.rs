//! The token: where it is found, and the one place that puts it into a request.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use url::Url;

use crate::origin::{OriginError, OriginErrorKind};
use crate::types::{Identity, Token};

/// A token file that was named on purpose and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the token file {}: {source}", path.display())]
pub struct TokenFileError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Finds the token as the Hub's own clients do: `token_file` (named on purpose, so it must be readable), `HF_TOKEN`,
/// the file `HF_TOKEN_PATH`, `$HF_HOME/token`, `$XDG_CACHE_HOME/huggingface/token`, `~/.cache/huggingface/token`.
///
/// `env` looks a variable up; the caller may hide some, such as an `HF_HOME` below our own mount.
pub fn find_token(
    token_file: Option<&Path>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<Token>, TokenFileError> {
    if let Some(path) = token_file {
        let text = std::fs::read_to_string(path).map_err(|source| TokenFileError { path: path.to_owned(), source })?;
        return Ok(clean(&text));
    }
    if let Some(token) = env("HF_TOKEN").and_then(|text| clean(&text.to_string_lossy())) {
        return Ok(Some(token));
    }
    let Some(path) = usual_token_file(env) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(clean(&text)),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot read the token file; going on without a token");
            }
            Ok(None)
        }
    }
}

fn usual_token_file(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("HOME");
    let expand = |path: PathBuf| match (path.strip_prefix("~"), &home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path,
    };
    if let Some(file) = path("HF_TOKEN_PATH") {
        return Some(expand(file));
    }
    let hf_home = path("HF_HOME")
        .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(home.clone()?.join(".cache/huggingface")))?;
    Some(expand(hf_home).join("token"))
}

/// Editors and shells leave blanks and line ends behind.
fn clean(text: &str) -> Option<Token> {
    let text = text.trim();
    (!text.is_empty()).then(|| Token::new(text))
}

/// Whether `url` is at the identity's own Hub: the same scheme, host and port.
pub(super) fn is_own_hub(identity: &Identity, url: &Url) -> bool {
    Url::parse(&identity.endpoint).is_ok_and(|endpoint| endpoint.origin() == url.origin())
}

/// Adds the token if, and only if, `url` is at the identity's own Hub.
pub(super) fn authorize(
    request: RequestBuilder,
    identity: &Identity,
    url: &Url,
) -> Result<RequestBuilder, OriginError> {
    let Some(token) = identity.token.as_ref().filter(|_| is_own_hub(identity, url)) else { return Ok(request) };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret())).map_err(|_| {
        let cause = "the token holds characters that no request can carry; check the token file or HF_TOKEN";
        OriginError::new(OriginErrorKind::Permanent, url.as_str(), cause)
    })?;
    value.set_sensitive(true);
    Ok(request.header(AUTHORIZATION, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.to_string(), OsString::from(value))).collect();
        move |name| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn secret(found: Result<Option<Token>, TokenFileError>) -> Option<String> {
        found.unwrap().map(|token| token.secret().to_owned())
    }

    #[test]
    fn the_token_is_found_in_the_order_of_the_hubs_own_clients() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (named, by_path) = (file("named", "a\n"), file("by-path", " b "));
        let hf_home = file("hf/token", "c").replace("/token", "");
        let xdg = file("xdg/huggingface/token", "d").replace("/huggingface/token", "");
        let home = file("home/.cache/huggingface/token", "e").replace("/.cache/huggingface/token", "");
        let all = [
            ("HF_TOKEN", "env\r\n"),
            ("HF_TOKEN_PATH", &by_path),
            ("HF_HOME", &hf_home),
            ("XDG_CACHE_HOME", &xdg),
            ("HOME", &home),
        ];
        assert_eq!(secret(find_token(Some(Path::new(&named)), env(&all))).as_deref(), Some("a"));
        for (hidden, expected) in ["env", "b", "c", "d", "e"].iter().enumerate() {
            assert_eq!(secret(find_token(None, env(&all[hidden..]))).as_deref(), Some(*expected));
        }
        let tilde = [("HF_HOME", "~/.cache/huggingface"), ("HOME", home.as_str())];
        assert_eq!(secret(find_token(None, env(&tilde))).as_deref(), Some("e"));
        assert_eq!(secret(find_token(None, env(&[]))), None);
    }

    #[test]
    fn a_named_token_file_that_cannot_be_read_is_an_error_and_a_usual_one_is_not() {
        let missing = Path::new("/nonexistent/token");
        let error = find_token(Some(missing), env(&[("HF_TOKEN", "x")])).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/token"), "{error}");
        assert_eq!(secret(find_token(None, env(&[("HF_TOKEN_PATH", "/nonexistent/token")]))), None);
    }

    #[test]
    fn an_empty_token_is_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(secret(find_token(Some(&path), env(&[]))), None);
    }

    #[test]
    fn another_scheme_host_or_port_is_not_our_hub() {
        let identity = Identity::new("https://hub.example", None, false);
        let own = |url| is_own_hub(&identity, &Url::parse(url).unwrap());
        assert!(own("https://hub.example:443/x"));
        for url in ["http://hub.example/x", "https://hub.example.evil/x", "https://hub.example:8443/", "https://cdn/"] {
            assert!(!own(url), "{url}");
        }
    }

    #[test]
    fn only_a_request_to_the_own_hub_carries_the_token() {
        let identity = Identity::new("http://hub.example", Some(Token::new("hf_secret")), false);
        let header = |url: &str| {
            let request = reqwest::Client::new().get(url);
            let request = authorize(request, &identity, &Url::parse(url).unwrap()).unwrap().build().unwrap();
            request.headers().get(AUTHORIZATION).cloned()
        };
        let own = header("http://hub.example/x").unwrap();
        assert_eq!(own, "Bearer hf_secret");
        assert!(own.is_sensitive(), "so that no debug output shows it");
        assert_eq!(header("http://cdn.example/x"), None);
    }
}
