//! What deploy/docker says of the program is so: paths, ports, commands and settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use weightfs::config::{Config, Layer, SETTINGS, Settings, Surroundings};

use crate::machine::Machine;

const COMPOSE: &str = include_str!("../../deploy/docker/compose.yaml");
const DOCKERFILE: &str = include_str!("../../deploy/docker/Dockerfile");
const MANIFEST: &str = include_str!("../../deploy/kubernetes/weightfs.yaml");
const SCRIPT: &str = include_str!("../../deploy/docker/image.sh");
/// What is left of a service's time to end after its answers: it unmounts and records what has come.
const LAST_SECONDS: u64 = 10;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Container>,
    volumes: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Container {
    image: String,
    command: Vec<String>,
    environment: Vec<String>,
    ports: Vec<String>,
    volumes: Vec<String>,
    healthcheck: Healthcheck,
    stop_grace_period: String,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

fn container() -> Container {
    let mut compose: Compose = serde_saphyr::from_str(COMPOSE).unwrap();
    let container = compose.services.remove("weightfs").unwrap();
    let volume = container.volumes[0].split(':').next().unwrap();
    assert!(compose.volumes.contains_key(volume), "{volume} is declared");
    container
}

/// What the instruction `name` of the Dockerfile says.
fn instruction(name: &str) -> &'static str {
    let line = DOCKERFILE.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("the Dockerfile has no {name}"))
}

/// The settings of a program in the image that is run by `uid`.
fn settings(uid: u32) -> Settings {
    let variables = instruction("ENV").split(' ').map(|pair| pair.split_once('=').unwrap());
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let surroundings = Surroundings { variables, working_directory: "/".into(), home: None, uid };
    let config = Config::load(Layer::default(), None, surroundings).unwrap();
    assert_eq!(config.places.config_file, Path::new("/etc/weightfs/config.yaml"));
    config.settings
}

#[test]
fn the_volume_is_the_cache_whoever_runs_the_image() {
    let user = instruction("USER").split(':').next().unwrap().parse().unwrap();
    let volume = instruction("VOLUME");
    assert_eq!(container().volumes[0].split_once(':').unwrap().1, volume);
    for uid in [0, user, 1_000_860_000] {
        let settings = settings(uid);
        assert_eq!(settings.cache_directory, Path::new(volume), "uid {uid}");
        assert_eq!(settings.runtime_directory, Path::new("/run/weightfs"), "uid {uid}");
    }
    assert!(SCRIPT.contains(&format!("install -d -m 1777 \"$ROOT\"/{{tmp,run,{}}}", &volume[1..])));
}

#[test]
fn ports_commands_and_settings_of_the_image_and_of_compose_are_there() {
    let machine = Machine::new();
    let container = container();
    let settings = settings(0);
    let port = settings.server_port.get().to_string();
    assert_eq!(instruction("EXPOSE"), port);
    assert_eq!(container.ports, [format!("${{PORT:-{port}}}:{port}")]);

    let program: Vec<String> = serde_saphyr::from_str(instruction("ENTRYPOINT")).unwrap();
    let [check, words @ ..] = container.healthcheck.test.as_slice() else { panic!("no health check") };
    assert_eq!((check.as_str(), &words[0]), ("CMD", &program[0]), "an image without a shell");
    assert!(SCRIPT.contains(&format!("\"$ROOT{}\"", program[0])));
    assert!(words.contains(&format!("http://127.0.0.1:{port}")), "{words:?}");
    let command: Vec<String> = serde_saphyr::from_str(instruction("CMD")).unwrap();
    for words in [&words[1..], &container.command, &command] {
        let words: Vec<_> = words.iter().map(String::as_str).chain(["--validate-config"]).collect();
        machine.succeed(&words);
    }
    for name in container.environment.iter().filter(|name| name.starts_with("WEIGHTFS_")) {
        assert!(SETTINGS.iter().any(|setting| setting.variable() == *name), "{name} is no setting");
    }
}

#[test]
fn the_image_has_every_program_that_the_manifest_runs() {
    let words = MANIFEST.split(|letter: char| letter.is_whitespace() || "[],{}".contains(letter));
    let programs: BTreeSet<_> = words.filter(|word| word.starts_with("/usr/")).collect();
    assert!(!programs.is_empty());
    for program in programs {
        assert!(SCRIPT.contains(&format!("\"$ROOT{program}\"")), "{program}");
    }
}

#[test]
fn compose_runs_this_version_and_leaves_it_the_time_to_end() {
    let container = container();
    assert_eq!(container.image, format!("${{IMAGE:-weightfs:{}}}", env!("CARGO_PKG_VERSION")));
    let grace: u64 = container.stop_grace_period.strip_suffix('s').unwrap().parse().unwrap();
    assert!(grace >= settings(0).server_shutdown_timeout_seconds.duration().as_secs() + LAST_SECONDS);
}
