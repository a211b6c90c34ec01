//! Read-ahead: who looks gets little more than that, who loads gets the model.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use test_hub::{Files, Hub};

use crate::harness::{World, eventually, noise};

const MIB: usize = 1 << 20;

/// A file of equal tensors behind a header of exactly one block less 8 bytes, so that tensors are blocks.
fn safetensors(seed: u64, tensors: usize, len: usize) -> Vec<u8> {
    let entry = |n: usize| {
        let (start, end) = (n * len, (n + 1) * len);
        format!(r#""t{n}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{start},{end}]}}"#)
    };
    let entries: Vec<String> = (0..tensors).map(entry).collect();
    let mut json = format!("{{{}}}", entries.join(",")).into_bytes();
    json.resize(MIB - 8, b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes.extend(noise(seed, tensors * len));
    bytes
}

/// Opens without the kernel's own read-ahead, so that what is fetched is what is read or brought by us.
fn open(path: &Path) -> File {
    let file = File::open(path).unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    file
}

fn read(file: &File, at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at as u64).unwrap();
    bytes
}

/// Nothing says that nothing more will come; this waits until nothing has come for a while.
fn settled(hub: &Hub) -> u64 {
    let mut last = (hub.data_bytes(), 0);
    eventually("no more bytes come", || {
        let bytes = hub.data_bytes();
        last = if bytes == last.0 { (bytes, last.1 + 1) } else { (bytes, 0) };
        last.1 == 30
    });
    last.0
}

#[test]
fn a_look_at_header_and_one_tensor_fetches_them_and_at_most_two_blocks_more() {
    let hub = Hub::start().unwrap();
    let bytes = safetensors(1, 12, 4 * MIB);
    let commit = hub.commit("acme/one", Files::new().bytes("model.safetensors", bytes.clone())).unwrap();
    let world = World::new(hub);
    let file = open(&world.file("acme/one", &commit, "model.safetensors"));
    read(&file, 0, 8);
    read(&file, 8, 1000);
    assert!(read(&file, 21 * MIB, 4 * MIB) == bytes[21 * MIB..25 * MIB]);
    let fetched = settled(&world.hub);
    assert!(fetched <= (1 + 4 + 2) * MIB as u64, "{fetched}");
}

#[test]
fn two_tensors_bring_the_file_and_the_next_two_shards() {
    let hub = Hub::start().unwrap();
    let shards: Vec<_> = (1..=4).map(|n| safetensors(n, 4, 3 * MIB)).collect();
    let name = |n: usize| format!("model-{n:05}-of-00004.safetensors");
    let files =
        shards.iter().enumerate().fold(Files::new(), |files, (n, shard)| files.bytes(name(n + 1), shard.clone()));
    let commit = hub.commit("acme/four", files.text("config.json", "{}")).unwrap();
    let world = World::new(hub);
    let path = |n| world.file("acme/four", &commit, &name(n));
    let shard = shards[0].len() as u64;

    let first = open(&path(1));
    read(&first, 0, 1000);
    read(&first, 4 * MIB, 3 * MIB);
    assert!(settled(&world.hub) < shard);
    read(&first, 10 * MIB, MIB);
    eventually("the shard and the next two are here", || world.hub.data_bytes() == 3 * shard);
    assert_eq!(settled(&world.hub), 3 * shard, "two ahead, not more");

    // The reader goes on, and so does what is ahead of it.
    assert!(fs::read(path(2)).unwrap() == shards[1]);
    eventually("the last shard is here", || world.hub.data_bytes() == 4 * shard);
    for n in 1..=4 {
        assert!(fs::read(path(n)).unwrap() == shards[n - 1]);
    }
    assert_eq!(world.hub.data_bytes(), 4 * shard, "every byte is fetched once");
}

#[test]
fn an_index_says_which_shard_comes_next() {
    let hub = Hub::start().unwrap();
    let (one, two) = (safetensors(1, 4, 3 * MIB), safetensors(2, 4, 3 * MIB));
    let files = Files::new()
        .bytes("layers.safetensors", one.clone())
        .bytes("other.safetensors", safetensors(3, 4, 3 * MIB))
        .bytes("tail.safetensors", two.clone())
        .text("model.safetensors.index.json", r#"{"weight_map":{"a":"tail.safetensors","b":"layers.safetensors"}}"#);
    let commit = hub.commit("acme/named", files).unwrap();
    let world = World::new(hub);
    let index = fs::read(world.file("acme/named", &commit, "model.safetensors.index.json")).unwrap();
    let file = open(&world.file("acme/named", &commit, "layers.safetensors"));
    read(&file, 0, 1000);
    read(&file, 4 * MIB, MIB);
    read(&file, 10 * MIB, MIB);
    let all = (index.len() + one.len() + two.len()) as u64;
    eventually("both shards of the index are here", || world.hub.data_bytes() == all);
    assert_eq!(settled(&world.hub), all);
}

#[test]
fn weights_without_a_header_are_loaded_by_a_long_row() {
    let hub = Hub::start().unwrap();
    let shards = [noise(1, 40 * MIB), noise(2, 10 * MIB)];
    let [one, two] = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
    let files = Files::new().bytes(one, shards[0].clone()).bytes(two, shards[1].clone());
    let commit = hub.commit("acme/bin", files).unwrap();
    let world = World::new(hub);
    let file = open(&world.file("acme/bin", &commit, one));
    read(&file, 0, MIB);
    assert_eq!(settled(&world.hub), MIB as u64);
    read(&file, MIB, 8 * MIB);
    eventually("both are here", || world.hub.data_bytes() == 50 * MIB as u64);
}

#[test]
fn a_scan_over_many_small_files_pulls_nothing_else() {
    let hub = Hub::start().unwrap();
    let config = |n: usize| format!(r#"{{"model_type":"tiny","n":{n}}}"#);
    let repos: Vec<(String, String)> = (0..8)
        .map(|n| {
            let files = Files::new()
                .text("config.json", config(n))
                .text("tokenizer.json", config(n).repeat(1000))
                .bytes("model.safetensors", safetensors(n as u64, 3, 3 * MIB));
            let name = format!("acme/m{n}");
            let commit = hub.commit(name.as_str(), files).unwrap();
            (name, commit)
        })
        .collect();
    let world = World::new(hub);
    let mut read = 0;
    for (name, commit) in &repos {
        for file in ["config.json", "tokenizer.json"] {
            read += fs::read(world.file(name, commit, file)).unwrap().len() as u64;
        }
    }
    assert_eq!(settled(&world.hub), read);
}
