//! Files that the Hub keeps in a Xet store, through the mount.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use test_cas::{Cas, Fault, On};
use test_hub::{Files, Hub, Options};
use weightfs::cache::IntegritySettings;
use weightfs::origin::hub::XetWish;

use crate::harness::{NodeOptions, World, names, noise};
use crate::machine::Machine;

const MIB: usize = 1 << 20;

/// A Hub with a model whose one file is in the store.
fn hub_with(cas: &Cas, bytes: &[u8]) -> (Hub, String) {
    let hub = Hub::start().unwrap();
    hub.set_options(Options { xet_store: Some(cas.endpoint().to_owned()), ..hub.options() });
    let commit = hub.commit("acme/big", Files::new().bytes("model.safetensors", bytes.to_vec())).unwrap();
    hub.set_xet_hash(&sha256(bytes), &cas.store(bytes).unwrap());
    (hub, commit)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[test]
fn a_model_is_read_by_chunks_and_nothing_is_written_but_the_cache() {
    let (cas, bytes) = (Cas::start().unwrap(), noise(5, 12 * MIB));
    let (hub, commit) = hub_with(&cas, &bytes);
    let mut machine = Machine::at(hub.endpoint());
    let at = machine.directory("hf");
    let home = machine.path("home");
    fs::create_dir(&home).unwrap();
    let mut mount = machine.command(&["mount", at.to_str().unwrap()]);
    mount.env("HOME", &home).env("HF_HOME", &at).env("WEIGHTFS_ORIGIN_XET", "always");
    // What would make the crates write, if they looked.
    mount.env("HF_XET_LOG_DEST", home.join("logs/")).env("HF_XET_CHUNK_CACHE_SIZE_BYTES", "1000000000");
    let output = mount.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = at.join("hub/models--acme--big/snapshots").join(commit).join("model.safetensors");
    assert!(fs::read(file).unwrap() == bytes);
    assert!(cas.chunk_bytes() >= 12 * MIB as u64, "{}", cas.chunk_bytes());
    assert_eq!(hub.data_bytes(), 0, "none of it came plainly");
    assert_eq!((names(&home), names(&at)), (Vec::new(), vec!["hub".to_owned(), "models".to_owned()]));
    machine.succeed(&["umount", at.to_str().unwrap()]);
}

#[test]
fn with_proof_before_read_no_wrong_chunk_is_served_and_plain_ranges_take_over() {
    let (cas, bytes) = (Cas::start().unwrap(), noise(6, 12 * MIB));
    let (hub, commit) = hub_with(&cas, &bytes);
    let integrity = IntegritySettings { proved_before_read: true, ..IntegritySettings::default() };
    let options = NodeOptions { integrity, xet: XetWish::Always, ..NodeOptions::default() };
    let world = World::with(hub, options, None);
    cas.set_fault(Some((On::Chunks, Fault::Flip(100_000))));
    let file = File::open(world.file("acme/big", &commit, "model.safetensors")).unwrap();
    let mut part = vec![0; 1000];
    file.read_exact_at(&mut part, 5 * MIB as u64).unwrap();
    assert!(part == bytes[5 * MIB..][..1000]);
    let metrics = &world.node().metrics;
    assert_eq!(metrics.mismatched_blobs.get(), 1);
    assert!(metrics.xet_bytes.get() >= 12 * MIB as u64 && world.hub.data_bytes() >= 12 * MIB as u64);
}
