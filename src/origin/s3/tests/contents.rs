use test_s3::{Fault, Rule};

use super::*;

async fn with_model(len: usize) -> (Bench, RemoteFile) {
    let bench = Bench::new().await;
    bench.store.put("models/llama/model", &bytes(len));
    let model = file(&bench.now().await.unwrap(), "model");
    (bench, model)
}

#[tokio::test]
async fn a_range_brings_its_bytes_and_each_request_is_pinned() {
    let (bench, model) = with_model(3 * MIB).await;
    let range = ByteRange::new(MIB as u64 - 7, 2 * MIB as u64 + 9);
    let whole = bytes(3 * MIB);
    assert_eq!(bench.read(&model, range).await.unwrap(), whole[range.start as usize..range.end as usize]);
    let asked = bench.store.log.all().into_iter().find(|seen| seen.range.is_some()).unwrap();
    assert_eq!(asked.range.as_deref(), Some("bytes=1048569-2097160"));
    assert!(asked.if_match.is_some_and(|etag| etag.starts_with('"')));
    assert_eq!(bench.metrics.fetched_bytes.get(), range.len());
    assert_eq!(bench.metrics.fetch_requests.get(), 1);
}

#[tokio::test]
async fn ranges_that_are_asked_together_have_connections_of_their_own() {
    let (bench, model) = with_model(4 * MIB).await;
    let before = bench.store.log.connections();
    bench.store.goes_wrong(Rule::on("GET", "model", Fault::Stall(10)).times(4));
    let who = anybody();
    let opened = (0..4).map(|at| bench.origin.open(&who, &model, ByteRange::at(at << 20, 1 << 20)));
    // All four are open and none has ended.
    let streams = futures::future::try_join_all(opened).await.unwrap();
    assert!(bench.store.log.connections() - before >= 3, "one may be that of the list");
    drop(streams);
}

#[tokio::test]
async fn an_object_that_changed_is_an_error_and_never_mixed_with_the_old_one() {
    let (bench, old) = with_model(2 * MIB).await;
    let first = bench.read(&old, ByteRange::new(0, MIB as u64)).await.unwrap();
    assert_eq!(first, bytes(2 * MIB)[..MIB]);
    assert_eq!(bench.origin.freshness(&llama()), None);
    bench.store.put("models/llama/model", &vec![7; 2 * MIB]);
    let error = bench.read(&old, ByteRange::new(MIB as u64, 2 * MIB as u64)).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoFile);
    assert!(error.to_string().contains("changed"), "{error}");
    assert!(bench.origin.freshness(&llama()).is_some(), "whoever looks next has it listed anew");
    let new = file(&bench.now().await.unwrap(), "model");
    assert_eq!(bench.origin.freshness(&llama()), None);
    assert_eq!(bench.read_all(&new).await.unwrap(), vec![7; 2 * MIB]);
    bench.store.delete("models/llama/model");
    bench.store.put("models/llama/other", b"x");
    assert_eq!(bench.read_all(&new).await.unwrap_err().kind, OriginErrorKind::NoFile);
}

#[tokio::test]
async fn an_object_that_is_what_it_was_is_found_again_after_a_restart() {
    let (bench, model) = with_model(100).await;
    let later = S3Origin::new(bench.account.clone(), &place(), bench.metrics.clone());
    bench.store.log.clear();
    for _ in 0..2 {
        let read = collect(later.open(&anybody(), &model, ByteRange::new(0, 100)).await.unwrap()).await.unwrap();
        assert_eq!(read, bytes(100));
    }
    assert_eq!(bench.store.log.count(|seen| seen.method == "HEAD"), 1, "one question, once");
}

#[tokio::test]
async fn a_body_that_is_cut_stalls_or_is_of_another_range_is_a_transient_error() {
    let (bench, model) = with_model(MIB).await;
    for (fault, words) in [
        (Fault::Cut(1000), ""),
        (Fault::Stall(1000), "stalled"),
        (Fault::WrongRange, "asked for bytes"),
        (Fault::Refuse(503, "SlowDown", vec![]), "SlowDown"),
        (Fault::Refuse(429, "TooManyRequests", vec![]), "429"),
        (Fault::Refuse(500, "InternalError", vec![]), "InternalError"),
    ] {
        bench.store.goes_wrong(Rule::on("GET", "model", fault.clone()).times(1));
        let error = bench.read(&model, ByteRange::new(0, 500_000)).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains(words), "{fault:?}: {error}");
        assert!(error.to_string().contains("s3://models/llama/model"), "{error}");
    }
    assert_eq!(bench.read_all(&model).await.unwrap(), bytes(MIB), "and the next attempt is a good one");
    let wait = Fault::Refuse(503, "SlowDown", vec![("retry-after", "7")]);
    bench.store.goes_wrong(Rule::on("GET", "model", wait).times(1));
    let error = bench.read_all(&model).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_store_that_is_away_is_a_transient_error_in_time() {
    let (bench, model) = with_model(10).await;
    let Bench { store, origin, .. } = bench;
    drop(store);
    let error = origin.open(&anybody(), &model, ByteRange::new(0, 10)).await.map(drop).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("connect"), "{error}");
}
