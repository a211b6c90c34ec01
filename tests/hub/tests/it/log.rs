//! The log tells what was asked and what was sent, and never a secret.

use reqwest::Method;
use test_hub::{Host, Target};

use crate::asking::{CONFIG, MODEL, ask, get_as, get_range, head, signed_url, tiny_hub};

#[tokio::test]
async fn log_counts_the_bytes_of_each_answer() {
    let (hub, _) = tiny_hub();
    let url = signed_url(&hub, MODEL).await;
    get_range(&url, "bytes=100-299").await;
    let log = hub.log();
    let redirect = &log[0];
    assert_eq!((redirect.host, redirect.target, redirect.method.as_str()), (Host::Hub, Target::Resolve, "HEAD"));
    assert_eq!((redirect.status, redirect.bytes, redirect.is_data()), (Some(302), 0, false));
    let data = &log[1];
    assert_eq!((data.host, data.target, data.range.as_deref()), (Host::Cdn, Target::Cdn, Some("bytes=100-299")));
    assert_eq!((data.status, data.bytes, data.length), (Some(206), 200, Some(200)));
    assert!(data.is_complete() && data.is_data());
    assert_eq!(data.blob, redirect.blob);
    assert_eq!(hub.data_bytes(), 200);
}

#[tokio::test]
async fn log_holds_no_secrets() {
    let (hub, _) = tiny_hub();
    hub.add_token("alice", "hf_alice");
    get_as(&hub, CONFIG, "hf_alice").await;
    get_as(&hub, CONFIG, "hf_wrong").await;
    head(&hub, CONFIG).await;
    let log = hub.log();
    let seen: Vec<_> = log.iter().map(|record| (record.authorization, record.token.as_deref())).collect();
    assert_eq!(seen, [(true, Some("alice")), (true, None), (false, None)]);
    assert!(!format!("{log:?}").contains("hf_"));
}

#[tokio::test]
async fn cleared_log_goes_on_counting() {
    let (hub, _) = tiny_hub();
    let url = format!("{}{CONFIG}?x=1", hub.endpoint());
    ask(Method::GET, &url, &[("user-agent", "weightfs/1")]).await;
    hub.clear_log();
    assert!(hub.log().is_empty());
    ask(Method::GET, &url, &[("user-agent", "weightfs/1")]).await;
    let log = hub.log();
    assert_eq!((log.len(), log[0].seq), (1, 1));
    assert_eq!(log[0].path, format!("{CONFIG}?x=1"));
    assert_eq!(log[0].user_agent.as_deref(), Some("weightfs/1"));
}
