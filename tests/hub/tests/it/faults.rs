//! Every fault does what it says, as often as it says, to whom it says.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use test_hub::{Fault, Hub, Options, Target};

use crate::asking::{CONFIG, MODEL, ask, client, get, get_range, head, pattern, send, signed_url, tiny_hub};

async fn model(fault: Fault) -> (Hub, String) {
    let (hub, _) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    hub.set_faults(fault);
    (hub, url)
}

#[tokio::test]
async fn latency_comes_before_the_headers() {
    let (hub, _) = tiny_hub();
    hub.set_faults(Fault::on(Target::Resolve).latency_ms(150));
    let start = Instant::now();
    assert_eq!(head(&hub, CONFIG).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn bandwidth_holds_for_each_body() {
    let (_hub, url) = model(Fault::on(Target::Cdn).bandwidth(200_000)).await;
    let start = Instant::now();
    let answers = join_all([get_range(&url, "bytes=0-49999"), get_range(&url, "bytes=50000-99999")]).await;
    let elapsed = start.elapsed();
    assert!(answers.iter().all(|answer| answer.body.len() == 50_000));
    assert!(elapsed >= Duration::from_millis(240), "{elapsed:?}");
    assert!(elapsed < Duration::from_millis(2000), "{elapsed:?}");
}

#[tokio::test]
async fn link_bandwidth_is_shared_by_all_bodies() {
    let (hub, url) = model(Fault::new()).await;
    hub.set_options(Options { link_bandwidth: Some(200_000), ..Options::default() });
    let start = Instant::now();
    join_all([get_range(&url, "bytes=0-49999"), get_range(&url, "bytes=50000-99999")]).await;
    assert!(start.elapsed() >= Duration::from_millis(490), "{:?}", start.elapsed());
}

#[tokio::test]
async fn rate_limit_speaks_in_both_dialects() {
    let (hub, _) = tiny_hub();
    let fault = Fault::on(Target::Resolve).times(1).status(429).retry_after(7).rate_limit("resolvers", 2);
    hub.set_faults(fault);
    assert_eq!(get(&hub, "/api/models/acme/tiny").await.status, 200);
    let limited = head(&hub, CONFIG).await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "7"));
    assert_eq!(limited.header("ratelimit"), "\"resolvers\";r=0;t=2");
    assert_eq!(limited.header("ratelimit-policy"), "\"fixed window\";\"resolvers\";q=3000;w=300");
    assert_eq!(head(&hub, CONFIG).await.status, 200);
}

#[tokio::test]
async fn count_is_exact_under_concurrency() {
    let (hub, url) = model(Fault::on(Target::Cdn).path("model.safetensors").skip(3).times(5).status(503)).await;
    let client = client();
    let asks = (0..40).map(|_| send(client.get(&url).header("range", "bytes=0-9")));
    let answers = join_all(asks).await;
    let failed = answers.iter().filter(|answer| answer.as_ref().unwrap().status == 503);
    assert_eq!(failed.count(), 5);
    let left = &hub.faults().rules[0];
    assert_eq!((left.skip, left.count), (0, Some(0)));
}

#[tokio::test]
async fn cut_body_ends_after_exactly_that_many_bytes() {
    let (hub, url) = model(Fault::on(Target::Cdn).times(3).cut_after(70_000)).await;
    for _ in 0..3 {
        let answer = ask(Method::GET, &url, &[]).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, "100000"));
        assert!(!answer.complete);
        assert_eq!(answer.body, pattern(100_000)[..70_000]);
    }
    assert!(ask(Method::GET, &url, &[]).await.complete);
    let record = hub.log()[1].clone();
    assert_eq!((record.bytes, record.length, record.is_complete()), (70_000, Some(100_000), false));
}

#[tokio::test]
async fn body_cut_at_its_start_still_has_headers() {
    let (_hub, url) = model(Fault::on(Target::Cdn).cut_after(0)).await;
    let answer = get_range(&url, "bytes=10-19").await;
    assert_eq!((answer.status, answer.body.len(), answer.complete), (206, 0, false));
}

#[tokio::test]
async fn stalled_body_never_goes_on() {
    let (hub, url) = model(Fault::on(Target::Cdn).times(1).stall_after(1000)).await;
    let mut response = client().get(&url).send().await.unwrap();
    let mut body = Vec::new();
    let stalled = loop {
        match tokio::time::timeout(Duration::from_millis(300), response.chunk()).await {
            Ok(chunk) => body.extend_from_slice(&chunk.unwrap().unwrap()),
            Err(_) => break body.len(),
        }
    };
    assert_eq!(stalled, 1000);
    assert_eq!(body, pattern(1000));
    assert!(get_range(&url, "bytes=0-9").await.complete);
    hub.stop();
    assert!(response.chunk().await.is_err(), "stopping ends the stall");
}

#[tokio::test]
async fn disconnect_gives_no_answer_at_all() {
    let (hub, url) = model(Fault::on(Target::Cdn).times(1).disconnect()).await;
    assert!(send(client().get(&url)).await.is_err());
    assert_eq!(get_range(&url, "bytes=0-9").await.status, 206);
    assert_eq!(hub.log()[1].status, None);
}

#[tokio::test]
async fn one_byte_of_the_file_is_wrong_in_whatever_range_holds_it() {
    let (_hub, url) = model(Fault::on(Target::Cdn).times(2).corrupt_at(50_000)).await;
    let right = pattern(100_000);
    assert_eq!(get_range(&url, "bytes=0-49999").await.body, right[..50_000]);
    for range in ["bytes=40000-60000", "bytes=50000-60000"] {
        let part = get_range(&url, range).await;
        let start: usize = range[6..11].parse().unwrap();
        let wrong: Vec<usize> = (start..=60_000).filter(|at| part.body[at - start] != right[*at]).collect();
        assert_eq!(wrong, [50_000], "{range}");
    }
    assert_eq!(get_range(&url, "bytes=40000-60000").await.body, right[40_000..=60_000]);
}

#[tokio::test]
async fn every_byte_may_be_wrong() {
    let (_hub, url) = model(Fault::on(Target::Cdn).corrupt_all()).await;
    let inverted: Vec<u8> = pattern(100_000).iter().map(|byte| !byte).collect();
    assert_eq!(ask(Method::GET, &url, &[]).await.body, inverted);
}

#[tokio::test]
async fn ignored_range_brings_the_whole_file() {
    let (hub, url) = model(Fault::on(Target::Cdn).times(1).ignore_range()).await;
    assert!(ask(Method::GET, &url, &[]).await.complete);
    let answer = get_range(&url, "bytes=10-19").await;
    assert_eq!((answer.status, answer.body.len(), answer.header("content-range")), (200, 100_000, ""));
    assert_eq!(get_range(&url, "bytes=10-19").await.body, pattern(100_000)[10..20]);
    let log = hub.log();
    assert_eq!((log[1].faults.len(), log[2].faults.len(), log[3].faults.len()), (0, 1, 0));
}

#[tokio::test]
async fn range_may_be_answered_short_or_with_a_lie() {
    let (hub, url) = model(Fault::on(Target::Cdn).shorten_range(4)).await;
    let short = get_range(&url, "bytes=10-19").await;
    assert_eq!((short.status, short.header("content-range")), (206, "bytes 10-13/100000"));
    assert_eq!(short.body, pattern(100_000)[10..14]);
    hub.set_faults(Fault::on(Target::Cdn).content_range("bytes 0-9/100000"));
    let lie = get_range(&url, "bytes=10-19").await;
    assert_eq!((lie.status, lie.header("content-range")), (206, "bytes 0-9/100000"));
    assert_eq!(lie.body, pattern(100_000)[10..20]);
}

#[tokio::test]
async fn stated_length_may_be_wrong() {
    let (hub, url) = model(Fault::on(Target::Cdn).content_length(20)).await;
    let more = get_range(&url, "bytes=0-9").await;
    assert_eq!((more.header("content-length"), more.complete), ("20", false));
    hub.set_faults(Fault::on(Target::Cdn).content_length(5));
    let less = get_range(&url, "bytes=0-9").await;
    assert_eq!((less.header("content-length"), less.body.len()), ("5", 5));
}

#[tokio::test]
async fn several_faults_strike_together() {
    let (hub, url) = model(Fault::new()).await;
    let slow = Fault::on(Target::Cdn).named("slow").latency_ms(100);
    let cut = Fault::on(Target::Cdn).named("cut").times(1).cut_after(5);
    hub.set_faults(vec![slow, cut]);
    let start = Instant::now();
    assert_eq!(get_range(&url, "bytes=0-9").await.body.len(), 5);
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(hub.log()[1].faults, ["slow", "cut"]);
    hub.clear_faults();
    assert!(get_range(&url, "bytes=0-9").await.complete);
}

#[tokio::test]
async fn fault_keeps_to_its_target_and_method() {
    let (hub, _) = tiny_hub();
    hub.set_faults(Fault::on(Target::Api).method("GET").status(500));
    assert_eq!(get(&hub, "/api/models/acme/tiny").await.status, 500);
    assert_eq!(head(&hub, "/api/models/acme/tiny").await.status, 200);
    assert_eq!(get(&hub, CONFIG).await.status, 200);
}
