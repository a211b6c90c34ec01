//! Which request an operation answers, and whether an earlier daemon may have carried it out already.
//!
//! A daemon that dies leaves requests unanswered, and the kernel hands them to the next one again. What the dead one had
//! done of them is told by what is on disk: the kernel holds the folder's lock until the answer, so nobody else did it.

use crate::db::RequestNumber;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub request: RequestNumber,
    pub attempt: Attempt,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attempt {
    /// Nobody has seen the request before.
    #[default]
    First,
    /// Nothing, some or all of it may be done, and what is done is to be completed and answered as if it were new.
    Again,
}

impl Delivery {
    pub fn is_again(self) -> bool {
        self.attempt == Attempt::Again
    }
}

/// Between two steps of which one may be done without the other. Under test, this is where a daemon is killed.
#[cfg(not(test))]
pub(super) fn between_steps() {}

#[cfg(test)]
pub(super) use death::between_steps;

#[cfg(test)]
pub(super) mod death {
    //! A daemon's death for tests: the operation ends where it stands, with nothing that would be done on an error.

    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    thread_local!(static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) });

    struct Killed;

    pub(in crate::fs) fn between_steps() {
        STEPS_LEFT.with(|left| match left.get() {
            Some(0) => {
                left.set(None);
                resume_unwind(Box::new(Killed));
            }
            Some(steps) => left.set(Some(steps - 1)),
            None => {}
        });
    }

    /// Does `work`, which stays on this thread, and dies after so many steps of it. `None`: it did.
    pub(in crate::fs) fn killed_after<T>(steps: u32, work: impl FnOnce() -> T) -> Option<T> {
        STEPS_LEFT.set(Some(steps));
        let outcome = catch_unwind(AssertUnwindSafe(work));
        STEPS_LEFT.set(None);
        match outcome {
            Ok(done) => Some(done),
            Err(killed) if killed.is::<Killed>() => None,
            Err(panic) => resume_unwind(panic),
        }
    }
}
