//! Asking a question about names until it is answered for good.

use std::time::Duration;

use super::{Backoff, OriginError};

/// How long a question is asked again, and after which wait first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) give_up: Duration,
    pub(super) first_retry: Duration,
}

impl Patience {
    /// Asks until the answer is one that asking again would not change, or until time is up.
    pub(super) async fn retrying<T, F>(&self, question: impl Fn() -> F) -> Result<T, OriginError>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        let mut backoff = Backoff::new(self.give_up).starting_at(self.first_retry);
        loop {
            let error = match question().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(wait) = backoff.next(&error) else { return Err(error) };
            tracing::debug!(%error, ?wait, "asking again");
            tokio::time::sleep(wait).await;
        }
    }
}
