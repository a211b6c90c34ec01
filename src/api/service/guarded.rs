//! A stream and what lives as long as somebody listens to it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

pub struct Guarded<S, G> {
    stream: S,
    _guards: G,
}

impl<S, G> Guarded<S, G> {
    pub fn new(stream: S, guards: G) -> Self {
        Self { stream, _guards: guards }
    }
}

impl<S: Stream + Unpin, G: Unpin> Stream for Guarded<S, G> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(context)
    }
}
