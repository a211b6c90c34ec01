//! The bearer token that whoever asks must show, where one is set.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::types::Token;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "{path}: the service's token cannot be read: {cause}; set server.token_file to a file that this user can read"
    )]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("{path}: it holds no token; set server.token_file to a file with one word, or to null to ask for none")]
    Empty { path: PathBuf },
}

/// The token in a file of one word.
pub fn read_token(path: &Path) -> Result<Token, TokenError> {
    let text = std::fs::read_to_string(path).map_err(|cause| TokenError::Read { path: path.to_owned(), cause })?;
    let word = text.trim();
    if word.is_empty() || word.contains(char::is_whitespace) {
        return Err(TokenError::Empty { path: path.to_owned() });
    }
    Ok(Token::new(word))
}

/// Lets in who shows the token, or everybody where there is none.
#[derive(Clone)]
pub struct Admission {
    /// Of the token: hashes compare in a time that tells nothing of what they are made of.
    expected: Option<[u8; 32]>,
}

impl Admission {
    pub fn new(token: Option<Token>) -> Self {
        Self { expected: token.map(|token| Sha256::digest(token.secret()).into()) }
    }
}

impl Interceptor for Admission {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = self.expected else { return Ok(request) };
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        match shown {
            Some(token) if <[u8; 32]>::from(Sha256::digest(token)) == expected => Ok(request),
            Some(_) => Err(Status::unauthenticated("the token is not this server's; its operator knows the right one")),
            None => Err(Status::unauthenticated("this server wants a token: send `authorization: Bearer TOKEN`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_token_is_let_in() {
        let shows = |token: Option<&str>, header: Option<&str>| {
            let mut request = Request::new(());
            if let Some(header) = header {
                request.metadata_mut().insert("authorization", header.parse().unwrap());
            }
            Admission::new(token.map(Token::new)).call(request).map(drop).map_err(|status| status.code())
        };
        assert_eq!(shows(None, None), Ok(()));
        assert_eq!(shows(None, Some("Bearer x")), Ok(()));
        assert_eq!(shows(Some("secret"), Some("Bearer secret")), Ok(()));
        assert_eq!(shows(Some("secret"), Some("bearer secret")), Ok(()));
        for wrong in [None, Some("Bearer other"), Some("secret"), Some("Basic secret"), Some("Bearer ")] {
            assert_eq!(shows(Some("secret"), wrong), Err(tonic::Code::Unauthenticated), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(read_token(&path), Err(TokenError::Read { .. })));
        for text in ["", " \n", "two words"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read_token(&path), Err(TokenError::Empty { .. })), "{text:?}");
        }
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(read_token(&path).unwrap().secret(), "secret");
    }
}
