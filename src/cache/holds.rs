//! How many hold an entry, and its end: nobody takes hold of what was retired, and nothing that is held retires.

use super::sync::{AtomicU32, Ordering};

#[derive(Default)]
pub(super) struct Holds(AtomicU32);

impl Holds {
    /// Stands for "nobody, and nobody will": the entry is on its way out.
    const RETIRED: u32 = u32::MAX;

    /// One more. `false` if the entry is retired.
    #[must_use]
    pub(super) fn take(&self) -> bool {
        let more = |holds: u32| (holds != Self::RETIRED).then(|| holds + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// One more, for somebody who holds it already.
    pub(super) fn again(&self) {
        // It is not retired meanwhile, so nobody looks at the count but to count.
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Answers whether this was the last one.
    pub(super) fn release(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Ends it if nobody holds it and `last_look` agrees, during which nobody can take hold.
    #[must_use]
    pub(super) fn retire(&self, last_look: impl FnOnce() -> bool) -> bool {
        if self.0.compare_exchange(0, Self::RETIRED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        let agreed = last_look();
        if !agreed {
            self.0.store(0, Ordering::Release);
        }
        agreed
    }

    pub(super) fn is_held(&self) -> bool {
        !matches!(self.0.load(Ordering::Acquire), 0 | Self::RETIRED)
    }
}
