//! A folder that is being listed when the daemon changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::Home;
use crate::fs::list::{Cookie, Listed, listed_after};
use crate::tree::Node;
use crate::types::{Blob, BlobId, Commit, RepoPath, Snapshot};

/// The kernel's side: asks for a few entries at a time, each time behind the last one it has.
struct Reader {
    seen: Vec<String>,
    offset: Cookie,
}

impl Reader {
    fn new() -> Self {
        Self { seen: Vec::new(), offset: Cookie(0) }
    }

    fn take(&mut self, listed: &[Listed], most: usize) {
        for entry in listed_after(listed, self.offset).iter().take(most) {
            self.seen.push(entry.name.clone());
            self.offset = entry.cookie;
        }
    }
}

fn list(home: &Home, node: Node) -> Vec<Listed> {
    home.run(home.fs().list(node)).unwrap()
}

fn file(home: &Home, name: &str) {
    std::fs::write(home.on_disk("folder").join(name), name).unwrap();
}

#[test]
fn a_listing_goes_on_under_the_next_daemon_and_what_stayed_comes_once() {
    let mut home = Home::new();
    std::fs::create_dir(home.on_disk("folder")).unwrap();
    let lasting: Vec<String> = (0..100).map(|number| format!("lasting-{number}")).collect();
    lasting.iter().for_each(|name| file(&home, name));
    (0..100).for_each(|number| file(&home, &format!("going-{number}")));
    let folder = home.node("folder");
    for half in [1, 2, 50, 99, 101, 150, 201, 202] {
        let mut reader = Reader::new();
        reader.take(&list(&home, folder), half);
        home.take_over();
        for number in 0..100 {
            std::fs::rename(
                home.on_disk(&format!("folder/going-{number}")),
                home.on_disk(&format!("folder/coming-{number}")),
            )
            .unwrap();
        }
        // Written anew beside it and renamed onto it: to whoever lists, the name was there all the while.
        file(&home, "new");
        std::fs::rename(home.on_disk("folder/new"), home.on_disk("folder/lasting-7")).unwrap();
        home.run(home.fs().nodes.remove("folder/lasting-7")).unwrap();
        reader.take(&list(&home, folder), usize::MAX);
        let seen: BTreeSet<_> = reader.seen.iter().collect();
        assert_eq!(seen.len(), reader.seen.len(), "nothing comes twice");
        assert!(lasting.iter().all(|name| seen.contains(name)), "and nothing is left out");
        assert_eq!(&reader.seen[..2], [".", ".."]);
        for number in 0..100 {
            std::fs::rename(
                home.on_disk(&format!("folder/coming-{number}")),
                home.on_disk(&format!("folder/going-{number}")),
            )
            .unwrap();
        }
    }
}

#[test]
fn a_place_in_a_listing_can_be_gone_back_to() {
    let home = Home::new();
    std::fs::create_dir(home.on_disk("folder")).unwrap();
    (0..50).for_each(|number| file(&home, &format!("{number}")));
    let listed = list(&home, home.node("folder"));
    assert!(listed.is_sorted_by(|one, other| one.cookie < other.cookie), "no place means two entries");
    assert!(listed.iter().all(|entry| 0 < entry.cookie.0 && entry.cookie.0 <= i64::MAX as u64), "seekdir takes a long");
    for (index, entry) in listed.iter().enumerate() {
        assert_eq!(listed_after(&listed, entry.cookie).len(), listed.len() - index - 1);
    }
    assert_eq!(listed_after(&listed, Cookie(0)).len(), 52, "rewinddir");
    assert!(listed_after(&listed, listed.last().unwrap().cookie).is_empty(), "and its end is an end");
}

#[test]
fn a_commits_folder_is_listed_in_the_order_of_names() {
    let mut home = Home::new();
    let repo = "acme/tiny".parse().unwrap();
    let commit = Commit::from_bytes([7; 20]);
    let names: Vec<String> = (0..30).map(|number| format!("model-{number:05}.safetensors")).collect();
    let files = names.iter().enumerate().map(|(number, name)| {
        (RepoPath::new(name).unwrap(), Blob { id: BlobId::Sha256([number as u8; 32]), size: 10 })
    });
    let (snapshot, _) = Snapshot::new(repo, commit, files);
    let identity = home.view.identity.clone();
    home.run(home.db.put_snapshot(&identity.endpoint, identity.digest(), Arc::new(snapshot))).unwrap();
    let folder = home.node(&format!("hub/models--acme--tiny/snapshots/{commit}"));
    let mut reader = Reader::new();
    reader.take(&list(&home, folder), 12);
    home.take_over();
    reader.take(&list(&home, folder), usize::MAX);
    assert_eq!(reader.seen[2..], names);
}

#[test]
fn a_finished_file_keeps_its_place_under_its_other_number() {
    // The place comes from the name alone, so the number has no part in it. This holds the two apart for good.
    let home = Home::new();
    std::fs::create_dir(home.on_disk("folder")).unwrap();
    file(&home, "a");
    let first = list(&home, home.node("folder"));
    home.run(home.fs().nodes.remove("folder/a")).unwrap();
    let second = list(&home, home.node("folder"));
    assert_ne!(first[2].node, second[2].node);
    assert_eq!(first[2].cookie, second[2].cookie);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_a_folder_changes_between_two_reads_what_stays_comes_once(
        lasting in proptest::collection::btree_set("[a-f]{1,3}", 0..20),
        steps in proptest::collection::vec((proptest::collection::btree_set("[a-f]{1,3}", 0..20), 1..6usize), 1..12),
    ) {
        let home = Home::new();
        let mut reader = Reader::new();
        let mut others = BTreeSet::new();
        std::fs::create_dir(home.on_disk("folder")).unwrap();
        lasting.iter().for_each(|name| file(&home, name));
        let folder = home.node("folder");
        for (other, most) in steps {
            for gone in &others {
                std::fs::remove_file(home.on_disk("folder").join(gone)).unwrap();
            }
            others = other.difference(&lasting).cloned().collect::<BTreeSet<String>>();
            others.iter().for_each(|name| file(&home, name));
            reader.take(&list(&home, folder), most);
        }
        reader.take(&list(&home, folder), usize::MAX);
        for name in &lasting {
            prop_assert_eq!(reader.seen.iter().filter(|seen| *seen == name).count(), 1, "{}", name);
        }
    }
}
