//! What goes wrong on the way of chunks, and whose fault it is.

use std::time::Duration;

use reqwest::StatusCode;
use xet_client::ClientError;
use xet_data::file_reconstruction::FileReconstructionError;

/// Cloneable, since one failure answers many ranges.
#[derive(Debug, Clone, thiserror::Error)]
pub enum XetError {
    #[error("cannot set up the HTTPS client; are CA certificates installed?")]
    NoCertificates,
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    #[error("not one chunk was complete after {0:?}")]
    Slow(Duration),
    #[error("the bytes end {0} short")]
    Short(u64),
    #[error("there are more bytes than were asked for")]
    Long,
    #[error("{cause}")]
    Failed { cause: String, blame: Blame },
}

/// What to keep away from for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The store as a whole: it is away, slow or broken.
    Store,
    /// What the store has of this file.
    File,
    /// The grant: the store does not accept it.
    Grant,
}

/// As much of a foreign message as a log line may take.
const LONGEST_CAUSE: usize = 300;

impl XetError {
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoCertificates | Self::Stalled(_) | Self::Slow(_) => Blame::Store,
            Self::Short(_) | Self::Long => Blame::File,
            Self::Failed { blame, .. } => *blame,
        }
    }
}

impl From<FileReconstructionError> for XetError {
    fn from(error: FileReconstructionError) -> Self {
        let blame = match &error {
            FileReconstructionError::ClientError(client) => of_client(client),
            _ => Blame::File,
        };
        Self::Failed { cause: without_queries(&error.to_string()), blame }
    }
}

fn of_client(error: &ClientError) -> Blame {
    match (error, error.status()) {
        (_, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) | (ClientError::AuthError(_), _) => Blame::Grant,
        (_, Some(status)) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Blame::File,
        (ClientError::FormatError(_) | ClientError::InvalidRange | ClientError::Other(_), _) => Blame::File,
        (ClientError::FileNotFound(_) | ClientError::XORBNotFound(_), _) => Blame::File,
        _ => Blame::Store,
    }
}

/// Signed URLs hold secrets, and a crate's error may hold a URL.
fn without_queries(text: &str) -> String {
    let mut clean = String::new();
    let mut in_query = false;
    for letter in text.chars().take(LONGEST_CAUSE) {
        in_query = match letter {
            '?' => true,
            ' ' | ')' | '"' | ',' | '\n' => false,
            _ => in_query,
        };
        if !in_query {
            clean.push(letter);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_shows_no_query_and_has_a_limit() {
        let text = "error for url (https://store/x?X-Signature=secret): closed";
        assert_eq!(without_queries(text), "error for url (https://store/x): closed");
        assert_eq!(without_queries(&"x".repeat(1000)).len(), LONGEST_CAUSE);
    }

    #[test]
    fn a_file_that_the_store_lacks_is_no_fault_of_the_store() {
        let lacking = ClientError::FileNotFound(Default::default());
        assert_eq!(XetError::from(FileReconstructionError::from(lacking)).blame(), Blame::File);
        let refused = ClientError::AuthError(xet_client::cas_client::auth::AuthError::token_refresh_failure("no"));
        assert_eq!(XetError::from(FileReconstructionError::from(refused)).blame(), Blame::Grant);
        let away = ClientError::IOError(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(XetError::from(FileReconstructionError::from(away)).blame(), Blame::Store);
    }
}
