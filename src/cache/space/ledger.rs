//! The ledger: what each content takes on this disk, what fetches under way will take, and what was used when.
//!
//! Pure: no clock, no disk. Who takes from the total has made sure of it first: a reservation comes before the fetch, and
//! what is evicted counts until its file is gone.

use std::collections::HashMap;
use std::sync::Arc;

use crate::db::HeldBlob;
use crate::types::{Blob, Commit, RepoId};

/// A commit of a model that somebody reads: what it brought in is not taken away for its own read-ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load(Arc<(RepoId, Commit)>);

impl Load {
    pub fn new(repo: &RepoId, commit: Commit) -> Self {
        Self(Arc::new((repo.clone(), commit)))
    }
}

/// When a content was last used, in seconds since 1970 and, within a second, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Used {
    pub at: u64,
    tick: u64,
}

impl Used {
    /// By another process: before everything that this one saw in that second.
    pub fn long_ago(at: u64) -> Self {
        Self { at, tick: 0 }
    }
}

struct Account {
    bytes: u64,
    used: Used,
    /// Who brought it, since this process started.
    load: Option<Load>,
    /// Used since the database was told last.
    unsaved: bool,
}

#[derive(Default)]
pub struct Ledger {
    accounts: HashMap<Blob, Account>,
    held: u64,
    reserved: u64,
    leaving: u64,
    ticks: u64,
}

impl Ledger {
    /// Enters what is on record and not known here.
    pub fn enter(&mut self, recorded: impl IntoIterator<Item = HeldBlob>) {
        for HeldBlob { blob, bytes, used_at } in recorded {
            self.accounts.entry(blob).or_insert_with(|| {
                self.held += bytes;
                Account { bytes, used: Used::long_ago(used_at), load: None, unsaved: false }
            });
        }
    }

    /// Everything that is, or is about to be, on the disk.
    pub fn total(&self) -> u64 {
        self.held + self.reserved + self.leaving
    }

    /// The part of the total that is not written yet.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    pub fn bytes(&self, blob: &Blob) -> Option<u64> {
        self.accounts.get(blob).map(|account| account.bytes)
    }

    pub fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    pub fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// Reserved bytes have been written, and that is a use of their content.
    pub fn spend(&mut self, blob: Blob, bytes: u64, load: &Load, now: u64) {
        self.reserved -= bytes;
        self.held += bytes;
        let used = self.use_at(now);
        let first = Account { bytes: 0, used, load: None, unsaved: true };
        let account = self.accounts.entry(blob).or_insert(first);
        account.bytes += bytes;
        (account.used, account.unsaved) = (used, true);
        account.load = Some(load.clone());
    }

    /// Of a content that is not here there is nothing to remember.
    pub fn touch(&mut self, blob: &Blob, now: u64) {
        let used = self.use_at(now);
        if let Some(account) = self.accounts.get_mut(blob) {
            (account.used, account.unsaved) = (used, true);
        }
    }

    fn use_at(&mut self, at: u64) -> Used {
        self.ticks += 1;
        Used { at, tick: self.ticks }
    }

    /// The content is not here any more; its bytes count until [`Ledger::left`].
    pub fn leave(&mut self, blob: &Blob) -> u64 {
        let bytes = self.accounts.remove(blob).map_or(0, |account| account.bytes);
        self.held -= bytes;
        self.leaving += bytes;
        bytes
    }

    pub fn left(&mut self, bytes: u64) {
        self.leaving -= bytes;
    }

    /// Every content but those that `spare` brought in, the one that was used longest ago first.
    pub fn oldest_first(&self, spare: Option<&Load>) -> Vec<(Blob, u64)> {
        let spared = |account: &Account| spare.is_some() && account.load.as_ref() == spare;
        let mut all: Vec<_> = self.accounts.iter().filter(|(_, account)| !spared(account)).collect();
        all.sort_unstable_by_key(|(_, account)| account.used);
        all.into_iter().map(|(blob, account)| (*blob, account.bytes)).collect()
    }

    pub fn uses(&self) -> HashMap<Blob, Used> {
        self.accounts.iter().map(|(blob, account)| (*blob, account.used)).collect()
    }

    /// What the database has not been told yet.
    pub fn take_unsaved(&mut self) -> Vec<(Blob, u64)> {
        let tell = |(blob, account): (&Blob, &mut Account)| {
            std::mem::take(&mut account.unsaved).then_some((*blob, account.used.at))
        };
        self.accounts.iter_mut().filter_map(tell).collect()
    }

    pub fn not_saved(&mut self, blobs: &[(Blob, u64)]) {
        for (blob, _) in blobs {
            if let Some(account) = self.accounts.get_mut(blob) {
                account.unsaved = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BlobId;

    fn blob(byte: u8) -> Blob {
        Blob { id: BlobId::Sha256([byte; 32]), size: 100 }
    }

    fn load(commit: u8) -> Load {
        Load::new(&"acme/tiny".parse().unwrap(), Commit::from_bytes([commit; 20]))
    }

    fn order(ledger: &Ledger, spare: Option<&Load>) -> Vec<Blob> {
        ledger.oldest_first(spare).into_iter().map(|(blob, _)| blob).collect()
    }

    #[test]
    fn what_is_on_its_way_in_or_out_counts() {
        let mut ledger = Ledger::default();
        ledger.enter([HeldBlob { blob: blob(1), bytes: 40, used_at: 5 }]);
        ledger.reserve(30);
        ledger.spend(blob(2), 10, &load(1), 6);
        assert_eq!((ledger.total(), ledger.reserved()), (70, 20));
        let leaving = ledger.leave(&blob(1));
        assert_eq!(ledger.total(), 70, "its file is still there");
        ledger.left(leaving);
        ledger.release(20);
        assert_eq!((ledger.total(), ledger.bytes(&blob(1)), ledger.bytes(&blob(2))), (10, None, Some(10)));
    }

    #[test]
    fn the_order_is_that_of_uses_also_within_a_second() {
        let mut ledger = Ledger::default();
        ledger.enter([3, 1, 2].map(|byte| HeldBlob { blob: blob(byte), bytes: 1, used_at: 7 }));
        for byte in [1, 3, 2, 1] {
            ledger.touch(&blob(byte), 7);
        }
        ledger.touch(&blob(9), 7);
        assert_eq!(order(&ledger, None), [blob(3), blob(2), blob(1)]);
    }

    #[test]
    fn a_load_is_spared_what_it_brought_in() {
        let mut ledger = Ledger::default();
        ledger.reserve(2);
        ledger.spend(blob(1), 1, &load(1), 1);
        ledger.spend(blob(2), 1, &load(2), 2);
        assert_eq!(order(&ledger, Some(&load(1))), [blob(2)]);
        assert_eq!(order(&ledger, None), [blob(1), blob(2)]);
    }

    #[test]
    fn a_use_is_told_once_and_again_if_the_telling_failed() {
        let mut ledger = Ledger::default();
        ledger.enter([HeldBlob { blob: blob(1), bytes: 1, used_at: 7 }]);
        assert_eq!(ledger.take_unsaved(), []);
        ledger.touch(&blob(1), 9);
        let unsaved = ledger.take_unsaved();
        assert_eq!(ledger.take_unsaved(), []);
        ledger.not_saved(&unsaved);
        assert_eq!(ledger.take_unsaved(), [(blob(1), 9)]);
    }
}
