//! What is read before the first byte of a file can be read ahead, and at each look at a path.

use std::hint::black_box;

use bench_micro::{Head, gguf, safetensors};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weightfs::prefetch::benching::{reads_gguf, reads_safetensors};
use weightfs::tree::layout::Place;

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    let kinds: [(&str, Head, fn(&[u8], u64) -> bool); 2] = [
        ("safetensors, 1000 tensors", safetensors(), reads_safetensors),
        ("GGUF, 1000 tensors and 50 000 words", gguf(), reads_gguf),
    ];
    for (name, Head { bytes, size }, reads) in kinds {
        assert!(reads(&bytes, size), "{name} is read");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| reads(black_box(&bytes), size)));
    }
}

fn paths(criterion: &mut Criterion) {
    let commit = "2a6532d0a27e2babe26e718510c3fba75edad972";
    let mut group = criterion.benchmark_group("path");
    for (name, path) in [
        ("of a file", format!("hub/models--acme--big/snapshots/{commit}/model-00001-of-00004.safetensors")),
        ("of a blob", format!("hub/models--acme--big/blobs/{}", "5c".repeat(32))),
        ("of the writable layer", "modules/transformers_modules/x.py".to_owned()),
    ] {
        assert!(Place::of(&path) != Place::Nothing);
        group.bench_function(name, |bencher| bencher.iter(|| Place::of(black_box(&path))));
    }
}

criterion_group!(benches, headers, paths);
criterion_main!(benches);
