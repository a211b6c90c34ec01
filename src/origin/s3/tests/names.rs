use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use test_s3::{Fault, Rule};

use super::*;
use crate::types::{Blob, Sum};

#[tokio::test]
async fn the_objects_below_a_prefix_are_the_files_of_one_commit() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/config.json", b"{}");
    bench.store.put("models/llama/sub dir/a+b%41é.txt", b"text");
    bench.store.put("models/llama-2/other", b"not ours");
    let snapshot = bench.now().await.unwrap();
    assert_eq!(paths(&snapshot), ["config.json", "sub dir/a+b%41é.txt"]);
    assert!(!snapshot.private && !snapshot.gated && snapshot.created_at > 0);
    assert_eq!(bench.read_all(&file(&snapshot, "sub dir/a+b%41é.txt")).await.unwrap(), b"text");
    assert_eq!(bench.now().await.unwrap().commit, snapshot.commit, "what has not changed is the same commit");
    let dev = Revision::new("dev").unwrap();
    let error = bench.origin.resolve(&anybody(), &llama(), &dev).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRevision);
}

#[tokio::test]
async fn a_prefix_or_bucket_that_is_not_there_is_no_repository() {
    let bench = Bench::new().await;
    let error = bench.now().await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRepo);
    bench.store.put("models/other", b"x");
    assert_eq!(bench.now().await.unwrap_err().kind, OriginErrorKind::NoRepo);
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole_and_one_that_is_too_long_is_an_error() {
    let bench = Bench::with(|settings| settings.object_details = false).await;
    for number in 0..1500 {
        bench.store.put(&format!("models/llama/{number:04}"), b"x");
    }
    assert_eq!(bench.now().await.unwrap().len(), 1500);
    assert_eq!(bench.store.log.count(|seen| seen.is_listing()), 2);
    let bench = Bench::with(|settings| settings.max_objects = 2).await;
    for number in 0..3 {
        bench.store.put(&format!("models/llama/{number}"), b"x");
    }
    let error = bench.now().await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Permanent);
    assert!(error.to_string().contains("origin.s3.max_objects"), "{error}");
}

#[tokio::test]
async fn only_what_changed_is_asked_about_again() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.store.put(&format!("models/llama/{name}"), name.as_bytes());
    }
    let first = bench.now().await.unwrap();
    let heads = || bench.store.log.count(|seen| seen.method == "HEAD");
    assert_eq!(heads(), 3);
    bench.store.put("models/llama/b", b"another b");
    let second = bench.now().await.unwrap();
    assert_eq!(heads(), 4);
    assert_ne!(first.commit, second.commit);
    assert_eq!(file(&first, "a").blob, file(&second, "a").blob);
    assert_ne!(file(&first, "b").blob, file(&second, "b").blob);
    // Both lists are at hand, whichever is asked for.
    for snapshot in [&first, &second] {
        let again = bench.origin.snapshot(&anybody(), &llama(), snapshot.commit).await.unwrap();
        assert_eq!(again.commit, snapshot.commit);
    }
    assert_eq!(heads(), 4);
    let unknown = Commit::from_bytes([9; 20]);
    let error = bench.origin.snapshot(&anybody(), &llama(), unknown).await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::NoRevision);
}

#[tokio::test]
async fn a_store_that_lists_no_etags_is_asked_about_each_object_each_time() {
    let bench = Bench::new().await;
    bench.store.lists_no_etags();
    bench.store.put("models/llama/a", b"one");
    let first = bench.now().await.unwrap();
    bench.store.put("models/llama/a", b"two");
    let second = bench.now().await.unwrap();
    assert_ne!(first.commit, second.commit, "of one length, and perhaps of one second");
    assert_eq!(bench.read_all(&file(&second, "a")).await.unwrap(), b"two");
}

#[tokio::test]
async fn without_details_an_object_is_named_by_its_etag_and_costs_no_question() {
    let bench = Bench::with(|settings| settings.object_details = false).await;
    bench.store.put("models/llama/a", b"a");
    let snapshot = bench.now().await.unwrap();
    assert_eq!(bench.store.log.count(|seen| seen.method == "HEAD"), 0);
    let a = file(&snapshot, "a");
    assert!(matches!(a.blob.id, BlobId::S3 { checksum: None, .. }));
    // After a restart, too, when nothing of it is remembered.
    let later = S3Origin::new(bench.account.clone(), &place(), bench.metrics.clone());
    assert_eq!(collect(later.open(&anybody(), &a, ByteRange::new(0, 1)).await.unwrap()).await.unwrap(), b"a");
}

#[tokio::test]
async fn a_checksum_that_the_store_states_is_part_of_the_name() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/plain", b"123456789");
    let client = bench.client().await;
    let put = |key| client.put_object().bucket("models").key(key).body(b"123456789".to_vec().into());
    let (sha256, crc64, crc32c) = ("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", "rosUhgp5mIg=", "4waSgw==");
    put("llama/sha256").checksum_sha256(sha256).send().await.unwrap();
    put("llama/crc64nvme").checksum_crc64_nvme(crc64).send().await.unwrap();
    put("llama/crc32c").checksum_crc32_c(crc32c).send().await.unwrap();
    let snapshot = bench.now().await.unwrap();
    let id = |path| file(&snapshot, path).blob.id;
    let hash = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
    assert_eq!(id("sha256"), BlobId::from_etag(hash).unwrap(), "the name that every origin has for it");
    let sum = |path| match id(path) {
        BlobId::S3 { checksum, .. } => checksum.map(|checksum| checksum.sum),
        _ => None,
    };
    assert_eq!(sum("crc64nvme"), Sum::new("crc64nvme", &0xae8b_1486_0a79_9888_u64.to_be_bytes()));
    assert_eq!(sum("crc32c"), Sum::new("crc32c", &0xe306_9283_u32.to_be_bytes()));
    assert_eq!(sum("plain"), None);
}

#[tokio::test]
async fn an_object_that_came_in_parts_is_one_file() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/config.json", b"{}");
    let client = bench.client().await;
    let whole = bytes(11 * MIB);
    let upload = client.create_multipart_upload().bucket("models").key("llama/model").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = Vec::new();
    for (at, part) in whole.chunks(5 * MIB).enumerate() {
        let number = at as i32 + 1;
        let sent = client.upload_part().bucket("models").key("llama/model").upload_id(id).part_number(number);
        let sent = sent.body(part.to_vec().into()).send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(sent.e_tag().unwrap()).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket("models").key("llama/model").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    let model = file(&bench.now().await.unwrap(), "model");
    assert_eq!(bench.read_all(&model).await.unwrap(), whole);
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_again_and_one_that_stays_so_is_given_up() {
    let bench = Bench::with(|settings| settings.give_up = Duration::from_secs(3)).await;
    bench.store.put("models/llama/a", b"a");
    bench.store.goes_wrong(Rule::on("GET", "models", Fault::Refuse(503, "SlowDown", vec![])).times(2));
    bench.store.goes_wrong(Rule::on("HEAD", "a", Fault::Refuse(500, "InternalError", vec![])).times(1));
    assert_eq!(bench.now().await.unwrap().len(), 1);
    bench.store.goes_wrong(Rule::on("GET", "models", Fault::Refuse(503, "SlowDown", vec![])));
    let error = bench.now().await.unwrap_err();
    assert_eq!(error.kind, OriginErrorKind::Transient);
    assert!(error.to_string().contains("SlowDown"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_an_error_and_no_empty_model() {
    let bench = Bench::with(|settings| settings.give_up = Duration::from_secs(2)).await;
    bench.store.put("models/llama/a", b"a");
    bench.store.goes_wrong(Rule::on("GET", "models", Fault::Babble));
    let error = bench.now().await.unwrap_err();
    assert_ne!(error.kind, OriginErrorKind::NoRepo, "{error}");
}

#[tokio::test]
async fn offline_nobody_is_asked() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/a", b"a");
    let a = file(&bench.now().await.unwrap(), "a");
    bench.store.log.clear();
    let offline = Identity::new("http://hub", None, true);
    let opened = bench.origin.open(&offline, &a, ByteRange::new(0, 1)).await.map(drop);
    assert_eq!(opened.unwrap_err().kind, OriginErrorKind::Offline);
    let listed = bench.origin.resolve(&offline, &llama(), &Revision::main()).await;
    assert_eq!(listed.unwrap_err().kind, OriginErrorKind::Offline);
    assert!(bench.store.log.all().is_empty());
}

#[tokio::test]
async fn the_same_bytes_in_another_bucket_are_another_content_unless_a_hash_is_stated() {
    let bench = Bench::new().await;
    bench.store.put("models/llama/a", b"a");
    bench.store.put("copies/llama/a", b"a");
    let other = S3Origin::new(bench.account.clone(), &Prefix::new("copies/llama").unwrap(), bench.metrics.clone());
    let here: Blob = file(&bench.now().await.unwrap(), "a").blob;
    let there = other.discover(&anybody(), &llama(), &Revision::main()).await.unwrap().snapshot.unwrap();
    assert_ne!(here.id, file(&there, "a").blob.id);
}
