use test_s3::{Fault, Rule};

use super::*;

#[tokio::test]
async fn a_public_bucket_needs_no_credentials_and_a_private_one_says_so() {
    let bench = Bench::with(|settings| settings.access = Access::Anonymous).await;
    bench.store.put("models/llama/a", b"a");
    let error = bench.now().await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Denied, "{error}");
    bench.store.keys.open_to_all();
    let snapshot = bench.now().await.unwrap();
    assert_eq!(bench.read_all(&file(&snapshot, "a")).await.unwrap(), b"a");
    assert!(bench.store.log.all().iter().all(|seen| seen.key.is_none()));
}

#[tokio::test]
async fn a_key_that_is_not_known_is_a_refusal_and_no_secret_is_shown() {
    let bench = Bench::with(|settings| settings.access = Access::Test("AKUNKNOWN")).await;
    bench.store.put("models/llama/a", b"a");
    let error = bench.now().await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("InvalidAccessKeyId"), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn expired_credentials_are_waited_for() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/a", b"a");
    let a = file(&bench.now().await.unwrap(), "a");
    bench.store.keys.expire(KEY);
    let error = bench.read_all(&a).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("have expired"), "{error}");
    bench.store.keys.add(KEY, "secret");
    assert_eq!(bench.read_all(&a).await.unwrap(), b"a");
}

#[tokio::test]
async fn a_bucket_of_another_region_is_named() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/a", b"a");
    let moved = Fault::Refuse(301, "PermanentRedirect", vec![("x-amz-bucket-region", "eu-west-3")]);
    bench.store.goes_wrong(Rule::on("GET", "models", moved));
    let error = bench.now().await.unwrap_err();
    assert!(error.to_string().contains("region eu-west-3") && !error.is_transient(), "{error}");
}

#[tokio::test]
async fn requests_are_signed_for_the_region_that_the_settings_name() {
    let bench = Bench::with(|settings| settings.region = Some("eu-north-1".to_owned())).await;
    bench.store.put("models/llama/a", b"a");
    bench.now().await.unwrap();
    assert!(bench.store.log.all().iter().all(|seen| seen.region.as_deref() == Some("eu-north-1")));
}

#[tokio::test]
async fn the_bucket_stands_in_the_path_or_in_the_name_of_the_host() {
    for (style, in_path) in [(PathStyle::Auto, true), (PathStyle::Always, true), (PathStyle::Never, false)] {
        let bench = Bench::with(|settings| {
            settings.path_style = style;
            settings.give_up = Duration::from_secs(1);
            settings.endpoint_url = settings.endpoint_url.take().map(|url| url.replace("127.0.0.1", "localhost"));
        })
        .await;
        bench.store.put("models/llama/a", b"a");
        // Whether `models.localhost` is a host depends on the machine.
        let _ = bench.now().await;
        let asked = bench.store.log.count(|seen| seen.path.starts_with("/models"));
        assert_eq!(asked > 0, in_path, "{style:?}");
    }
}

#[tokio::test]
async fn where_a_bucket_of_aws_lies_is_learned_once() {
    let bench = Bench::new().await;
    let session = bench.account.session().await.unwrap();
    let aws =
        account::Session { client: session.client.clone(), store: "aws".into(), region: Some("us-east-1".into()) };
    let bucket = &bench.origin.bucket;
    assert!(!bucket.follows(&aws, "us-east-1"), "it was asked there");
    assert!(bucket.follows(&aws, "eu-west-3"));
    assert!(!bucket.follows(&aws, "eu-west-3"), "that did not help");
    assert_eq!(bucket.client(&aws).config().region().unwrap().to_string(), "eu-west-3");
    assert!(!bucket.follows(&session, "eu-north-1"), "another store has one place only");
}

#[tokio::test]
async fn expired_credentials_are_not_taken_for_another_region() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/a", b"a");
    let a = file(&bench.now().await.unwrap(), "a");
    let expired = Fault::Refuse(400, "ExpiredToken", vec![("x-amz-bucket-region", "eu-west-3")]);
    bench.store.goes_wrong(Rule::on("GET", "/a", expired));
    let error = bench.read_all(&a).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("have expired"), "{error}");
}

#[tokio::test]
async fn a_right_that_is_missing_is_a_refusal() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/a", b"a");
    // Whoever may list and not read sees the names.
    bench.store.goes_wrong(Rule::on("HEAD", "/a", Fault::Refuse(403, "", vec![])));
    bench.store.goes_wrong(Rule::on("GET", "/a", Fault::Refuse(403, "AccessDenied", vec![])));
    let a = file(&bench.now().await.unwrap(), "a");
    let error = bench.read_all(&a).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Denied, "{error}");
}
