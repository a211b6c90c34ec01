//! What the database's one writer does with what landed. The disk's syncs are in it, as far as the database asks for them.

use bench_micro::{BLOCKS, blob, landed};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weightfs::db::Database;

fn batches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Database::open(&folder.path().join("models.db")).expect("a database");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("record");
    for blocks in [1, 16, 256] {
        group.throughput(Throughput::Elements(blocks.into()));
        let mut start = 0;
        group.bench_function(format!("{blocks} blocks of one blob in one transaction"), |bencher| {
            let batch = || {
                start = (start + blocks) % (BLOCKS - blocks);
                landed(start..start + blocks)
            };
            bencher.iter_batched(
                batch,
                |batch| runtime.block_on(db.record(blob(1), batch)).expect("recorded"),
                BatchSize::SmallInput,
            );
        });
    }
    // Eight who wait together share a transaction.
    group.throughput(Throughput::Elements(8 * 16));
    group.bench_function("16 blocks of each of eight blobs at once", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let records = (1..=8).map(|number| db.record(blob(number), landed(0..16)));
                futures::future::try_join_all(records).await.expect("recorded")
            });
        });
    });
    group.throughput(Throughput::Elements(BLOCKS.into()));
    runtime.block_on(db.record(blob(9), landed(0..BLOCKS))).expect("recorded");
    group.bench_function("what is recorded of a shard of 5 GiB is read", |bencher| {
        bencher.iter(|| db.coverage(&blob(9)).expect("read"));
    });
}

criterion_group!(benches, batches);
criterion_main!(benches);
