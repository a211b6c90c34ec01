//! What goes although there is room: contents that nobody uses, and models beyond the number wanted. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::ledger::Used;
use crate::db::ModelId;
use crate::types::Blob;

/// What was used last more than `threshold` seconds ago.
pub fn unused(uses: &HashMap<Blob, Used>, now: u64, threshold: u64) -> Vec<Blob> {
    let old = uses.iter().filter(|(_, used)| now.saturating_sub(used.at) > threshold);
    old.map(|(blob, _)| *blob).collect()
}

/// The contents of the models that are too many: those used longest ago go, with all that no other model needs.
///
/// A model with something in `kept` counts and stays.
pub fn surplus(
    models: &[(ModelId, Blob)],
    uses: &HashMap<Blob, Used>,
    kept: &HashSet<Blob>,
    max_models: u64,
) -> Vec<Blob> {
    let mut last_use: BTreeMap<ModelId, (bool, Used)> = BTreeMap::new();
    for (model, blob) in models {
        let used = uses.get(blob).copied().unwrap_or_default();
        let known = last_use.entry(*model).or_default();
        *known = (known.0 || kept.contains(blob), known.1.max(used));
    }
    let surplus = last_use.len().saturating_sub(usize::try_from(max_models).unwrap_or(usize::MAX));
    let mut candidates: Vec<_> = last_use.iter().filter(|(_, (kept, _))| !kept).collect();
    candidates.sort_by_key(|(_, (_, used))| *used);
    let gone: HashSet<ModelId> = candidates.into_iter().take(surplus).map(|(model, _)| *model).collect();
    let stays: HashSet<Blob> =
        models.iter().filter(|(model, _)| !gone.contains(model)).map(|(_, blob)| *blob).collect();
    let goes: HashSet<Blob> = models.iter().map(|(_, blob)| *blob).filter(|blob| !stays.contains(blob)).collect();
    goes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BlobId;

    fn blob(byte: u8) -> Blob {
        Blob { id: BlobId::Sha256([byte; 32]), size: 100 }
    }

    fn uses(of: &[(u8, u64)]) -> HashMap<Blob, Used> {
        of.iter().map(|(byte, at)| (blob(*byte), Used::long_ago(*at))).collect()
    }

    fn names(mut blobs: Vec<Blob>) -> Vec<Blob> {
        blobs.sort_by_key(|blob| blob.id);
        blobs
    }

    #[test]
    fn what_was_used_within_the_threshold_stays_and_so_does_the_future() {
        let uses = uses(&[(1, 100), (2, 150), (3, 900)]);
        assert_eq!(names(unused(&uses, 200, 99)), [blob(1)]);
        assert_eq!(names(unused(&uses, 200, 100)), []);
    }

    #[test]
    fn the_model_used_longest_ago_goes_with_what_it_shares_with_none() {
        let models: Vec<_> =
            [(1, 1), (1, 9), (2, 2), (2, 9), (3, 3)].map(|(model, byte)| (ModelId::test(model), blob(byte))).into();
        // Model 1 was used last by its shared content, model 3 before model 2.
        let uses = uses(&[(1, 10), (9, 50), (2, 40), (3, 30)]);
        let none = HashSet::new();
        assert_eq!(names(surplus(&models, &uses, &none, 3)), []);
        assert_eq!(names(surplus(&models, &uses, &none, 2)), [blob(3)]);
        assert_eq!(names(surplus(&models, &uses, &none, 1)), [blob(1), blob(3)]);
        assert_eq!(names(surplus(&models, &uses, &none, 0)), [blob(1), blob(2), blob(3), blob(9)]);
        let kept = HashSet::from([blob(3)]);
        assert_eq!(names(surplus(&models, &uses, &kept, 2)), [blob(1)]);
    }
}
