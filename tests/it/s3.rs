//! Models that lie in S3 buckets, through the mounts of the program as a user starts it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use test_hub::{Files, Hub, Target};
use test_s3::{Fault, Rule, Store};

use crate::harness::{errno, eventually, noise};
use crate::machine::{Machine, error};

const LEN: usize = (5 << 20) + 3;
const KEY: &str = "AKFIRST";
const SECRET: &str = "secret of the first";

/// A store, and a machine whose configuration names it.
struct World {
    store: Store,
    machine: Machine,
    variables: Vec<(&'static str, String)>,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(hub: &str, origin: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = runtime.block_on(Store::start());
        store.keys.add(KEY, SECRET);
        let machine = Machine::at(hub);
        let config = format!("origin:\n  s3: {{endpoint_url: \"{}\"}}\n{origin}", store.url);
        fs::write(machine.path("weightfs.yaml"), config).unwrap();
        let config = machine.path("weightfs.yaml").display().to_string();
        let none = machine.path("no-such-file").display().to_string();
        // None of the machine that runs the tests.
        let variables = vec![
            ("WEIGHTFS_CONFIG", config),
            ("AWS_CONFIG_FILE", none.clone()),
            ("AWS_SHARED_CREDENTIALS_FILE", none),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        Self { store, machine, variables, _runtime: runtime }
    }

    fn with_model() -> Self {
        let world = Self::new("http://127.0.0.1:9", "  models: {acme/llama: \"s3://models/llama\"}\n");
        world.store.put("models/llama/config.json", b"{}");
        world.store.put("models/llama/model.bin", &noise(3, LEN));
        world
    }

    fn signed(self) -> Self {
        self.variable("AWS_ACCESS_KEY_ID", KEY).variable("AWS_SECRET_ACCESS_KEY", SECRET)
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn succeed(&self, arguments: &[&str]) {
        let mut command = self.machine.command(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", error(&output));
    }

    /// Where the model is shown.
    fn mount(&mut self) -> PathBuf {
        let at = self.machine.directory("mount");
        self.succeed(&["mount", at.to_str().unwrap()]);
        at.join("models/acme/llama")
    }

    /// Bytes that were asked for in ranges.
    fn asked(&self) -> u64 {
        let ranges = self.store.log.all().into_iter().filter_map(|seen| seen.range);
        let length = |range: String| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some(last.parse::<u64>().ok()? + 1 - first.parse::<u64>().ok()?)
        };
        ranges.filter_map(length).sum()
    }

    fn was_signed_by(&self, key: &str) -> bool {
        self.store.log.count(|seen| seen.key.as_deref() == Some(key)) > 0
    }

    fn log(&self) -> String {
        fs::read_to_string(self.machine.path("cache/weightfs.log")).unwrap()
    }
}

fn is_model(path: &Path) -> bool {
    fs::read(path).unwrap() == noise(3, LEN)
}

#[test]
fn a_model_in_a_bucket_is_read_by_its_id_and_asked_for_once_however_many_read() {
    let mut world = World::with_model().signed();
    let model = world.mount();
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
    world.store.log.clear();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(is_model(&model.join("model.bin"))));
        }
    });
    assert_eq!(world.asked(), LEN as u64);
    assert!(!world.log().contains(SECRET));
}

#[test]
fn a_store_that_is_busy_or_breaks_off_is_not_the_readers_trouble() {
    let mut world = World::with_model().signed();
    let model = world.mount();
    for fault in [Fault::Refuse(503, "SlowDown", vec![]), Fault::Cut(100_000), Fault::WrongRange] {
        world.store.goes_wrong(Rule::on("GET", "model.bin", fault).times(1));
    }
    assert!(is_model(&model.join("model.bin")));
}

#[test]
fn an_object_that_changes_is_a_new_commit_and_an_error_to_whoever_reads_the_old_one() {
    let mut world = World::with_model().signed();
    let model = world.mount();
    let old = fs::canonicalize(&model).unwrap();
    world.store.put("models/llama/model.bin", &noise(4, LEN));
    assert_eq!(errno(fs::read(old.join("model.bin"))), Errno::IO.raw_os_error());
    // Long before the next look that the settings foresee.
    eventually("the new commit is shown", || fs::canonicalize(&model).unwrap() != old);
    assert!(fs::read(model.join("model.bin")).unwrap() == noise(4, LEN));
    assert!(world.log().contains("changed or deleted since it was listed"), "{}", world.log());
}

#[test]
fn a_bucket_before_the_hub_spares_it_the_contents() {
    let hub = Hub::start().unwrap();
    let commit = hub.commit("acme/llama", Files::new().bytes("model.bin", noise(3, LEN))).unwrap();
    let etag = hex::encode(Sha256::digest(noise(3, LEN)));
    let mut world = World::new(hub.endpoint(), "  chain: [\"s3://mirror/cache\", hub]\n").signed();
    world.store.put(&format!("mirror/cache/models--acme--llama/blobs/{etag}"), &noise(3, LEN));
    let model = world.mount();
    assert!(is_model(&model.join("model.bin")));
    assert!(fs::canonicalize(&model).unwrap().ends_with(format!("llama@{commit}")));
    assert_eq!(hub.log().iter().filter(|sent| sent.target == Target::Cdn).count(), 0, "{:?}", hub.log());
    assert_eq!(world.asked(), LEN as u64);
}

#[test]
fn keys_that_change_in_their_file_are_taken_without_a_restart() {
    let mut world = World::with_model();
    let file = world.machine.path("credentials");
    let keys = |key: &str, secret: &str| format!("[team]\naws_access_key_id={key}\naws_secret_access_key={secret}\n");
    fs::write(&file, keys(KEY, SECRET)).unwrap();
    let path = file.to_str().unwrap();
    world = world.variable("AWS_SHARED_CREDENTIALS_FILE", path).variable("WEIGHTFS_ORIGIN_S3_PROFILE", "team");
    let model = world.mount();
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
    world.store.keys.revoke(KEY);
    world.store.keys.add("AKSECOND", "another");
    fs::write(&file, keys("AKSECOND", "another")).unwrap();
    eventually("the new key is used", || fs::read(model.join("model.bin")).is_ok_and(|read| read == noise(3, LEN)));
    assert!(world.was_signed_by("AKSECOND"));
}

#[test]
fn a_web_identity_whose_token_changes_is_another_key_without_a_restart() {
    let mut world = World::with_model();
    let token = world.machine.path("token");
    fs::write(&token, "short1").unwrap();
    let sts = world.store.url.clone();
    world = world
        .variable("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap())
        .variable("AWS_ROLE_ARN", "arn:aws:iam::1:role/reader")
        .variable("AWS_REGION", "us-east-1")
        .variable("AWS_ENDPOINT_URL_STS", &sts);
    let model = world.mount();
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
    assert!(world.was_signed_by("AKshort1"));
    fs::write(&token, "next").unwrap();
    world.store.keys.expire("AKshort1");
    eventually("the new key is used", || fs::read(model.join("model.bin")).is_ok_and(|read| read == noise(3, LEN)));
    assert!(world.was_signed_by("AKnext"));
    assert!(!world.log().contains("secret of"), "{}", world.log());
}

#[test]
fn a_daemon_that_is_started_again_has_its_keys_still() {
    let mut world = World::with_model().signed();
    let model = world.mount();
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
    kill(world.machine.pid(), Signal::SIGKILL).unwrap();
    assert!(is_model(&model.join("model.bin")));
    world.succeed(&["upgrade"]);
    world.store.log.clear();
    world.succeed(&["model", "clear", "acme/llama"]);
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"{}");
    assert!(world.was_signed_by(KEY), "it was asked for again");
}
