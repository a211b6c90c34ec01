//! Takes the place of `src/cache/sync.rs`: the same names over shuttle.

pub(super) use shuttle::sync::Arc;
pub(super) use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().expect("nobody panics with it")
    }
}

/// As tokio's, as far as flights use it: a receiver sees the latest value and hears of every change after it looked.
pub(super) mod watch {
    use std::future::poll_fn;
    use std::task::{Poll, Waker};

    use super::{Arc, Mutex};

    struct Shared<T> {
        value: T,
        waiting: Vec<Waker>,
    }

    pub(in crate::cache) struct Sender<T>(Arc<Mutex<Shared<T>>>);
    pub(in crate::cache) struct Receiver<T>(Arc<Mutex<Shared<T>>>);

    pub(in crate::cache) struct Ref<'a, T>(shuttle::sync::MutexGuard<'a, Shared<T>>);

    impl<T> std::ops::Deref for Ref<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0.value
        }
    }

    impl<T> Sender<T> {
        pub(in crate::cache) fn new(value: T) -> Self {
            Self(Arc::new(Mutex::new(Shared { value, waiting: Vec::new() })))
        }

        pub(in crate::cache) fn borrow(&self) -> Ref<'_, T> {
            Ref(self.0.lock())
        }

        pub(in crate::cache) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
            let mut shared = self.0.lock();
            modify(&mut shared.value);
            let waiting = std::mem::take(&mut shared.waiting);
            drop(shared);
            waiting.into_iter().for_each(Waker::wake);
        }

        pub(in crate::cache) fn send_replace(&self, value: T) -> T {
            let mut old = None;
            self.send_modify(|current| old = Some(std::mem::replace(current, value)));
            old.expect("it was replaced")
        }

        pub(in crate::cache) fn subscribe(&self) -> Receiver<T> {
            Receiver(self.0.clone())
        }
    }

    impl<T> Receiver<T> {
        pub(in crate::cache) async fn wait_for(
            &mut self,
            mut is_it: impl FnMut(&T) -> bool,
        ) -> Result<Ref<'_, T>, std::convert::Infallible> {
            poll_fn(|context| {
                let mut shared = self.0.lock();
                if is_it(&shared.value) {
                    return Poll::Ready(());
                }
                shared.waiting.push(context.waker().clone());
                Poll::Pending
            })
            .await;
            // Both conditions that flights wait for stay true once they are.
            Ok(Ref(self.0.lock()))
        }
    }
}
