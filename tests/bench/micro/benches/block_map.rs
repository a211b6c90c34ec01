//! The question that every read asks, and what a landed block costs.

use std::hint::black_box;

use bench_micro::{BLOCKS, blob};
use criterion::{Criterion, criterion_group, criterion_main};
use weightfs::cache::BlockMap;
use weightfs::types::{BlockIndex, BlockRange};

fn questions(criterion: &mut Criterion) {
    let map = BlockMap::new(blob(1).size, Vec::new());
    (0..BLOCKS).for_each(|block| map.land(BlockIndex(block), 1));
    let mut group = criterion.benchmark_group("block-map");
    group.bench_function("one read of two blocks is present and checked", |bencher| {
        let read = BlockRange::new(1000..1002);
        bencher.iter(|| {
            let read = black_box(read);
            map.has_all(read) && read.iter().all(|block| map.is_checked(block))
        });
    });
    group.bench_function("a shard of 5 GiB is complete", |bencher| {
        let whole = BlockRange::new(0..BLOCKS);
        bencher.iter(|| map.has_all(black_box(whole)));
    });
    group.bench_function("a block lands", |bencher| {
        bencher.iter(|| map.land(black_box(BlockIndex(4321)), 7));
    });
}

criterion_group!(benches, questions);
criterion_main!(benches);
