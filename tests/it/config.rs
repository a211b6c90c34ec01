//! What the command line says of its settings and of itself, and in which form.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use test_hub::{Files, Hub};

use crate::machine::{Machine, error};
use crate::serve::server::Server;

const MODEL: &str = "acme/big";

/// What a command prints for programs, whether it succeeds or not.
fn json(machine: &Machine, arguments: &[&str]) -> (i32, Value) {
    let output = machine.run(&[arguments, &["--format", "json"]].concat());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}{}", error(&output));
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
}

fn file(machine: &Machine, name: &str, text: &str) -> String {
    fs::write(machine.path(name), text).unwrap();
    machine.path(name).to_str().unwrap().to_owned()
}

fn hub() -> (Hub, String) {
    let hub = Hub::start().unwrap();
    let files = Files::new().text("config.json", "{}").bytes("model.bin", vec![7; 1 << 20]);
    let commit = hub.commit(MODEL, files).unwrap();
    (hub, commit)
}

#[test]
fn a_written_configuration_is_valid_and_is_not_overwritten_unasked() {
    let machine = Machine::new();
    let path = machine.path("etc/config.yaml");
    let path = path.to_str().unwrap();
    machine.succeed(&["config", "init", "--output", path]);
    let valid = machine.succeed(&["config", "validate", path]);
    assert!(valid.starts_with("Configuration is valid ✓\n"), "{valid}");
    let again = machine.fail(1, &["config", "init", "--output", path]);
    assert!(again.contains("it is there already; --overwrite replaces it"), "{again}");
    machine.succeed(&["config", "init", "--output", path, "--overwrite"]);
    assert_eq!(machine.succeed(&["config", "init", "--output", "-"]), fs::read_to_string(path).unwrap());
}

#[test]
fn each_value_is_shown_with_the_layer_it_came_from() {
    let machine = Machine::new();
    let path = file(&machine, "config.yaml", "hub:\n  refresh_seconds: 1h\nlogging: {level: warn}\n");
    let mut command = machine.command(&["--config", &path, "--log-level", "debug", "config", "show", "-f", "json"]);
    let output = command.env("HF_TOKEN", "hf_secret").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("hf_secret"));
    let shown: Value = serde_json::from_str(&text).unwrap();
    let row = |key: &str| {
        let rows = shown["settings"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).unwrap().clone()
    };
    assert_eq!(row("logging.level")["from"], "--log-level");
    assert_eq!(row("logging.level")["value"], "debug");
    let refresh = row("hub.refresh_seconds");
    assert_eq!((&refresh["value"], &refresh["layer"], &refresh["line"]), (&3600.into(), &"file".into(), &2.into()));
    assert_eq!(refresh["file"], path.as_str());
    assert_eq!(row("cache.directory")["from"], "WEIGHTFS_CACHE_DIRECTORY");
    assert_eq!(row("cache.directory")["layer"], "environment");
    assert_eq!(
        (row("database.path")["value"].clone(), row("database.path")["layer"].clone()),
        (Value::Null, "default".into())
    );
    let people = machine.succeed(&["--config", &path, "config", "show"]);
    assert!(
        people.lines().any(|line| line.contains("hub.refresh_seconds") && line.ends_with("config.yaml, line 2")),
        "{people}"
    );
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let machine = Machine::new();
    let path = file(&machine, "wrong.yaml", "hub:\n  offline: maybe\n");
    let expected = "wrong.yaml, line 2: `hub.offline` is `maybe`; it must be true or false";
    assert!(machine.fail(1, &["config", "validate", &path]).contains(expected));
    assert!(machine.fail(1, &["--config", &path, "--validate-config"]).contains(expected));
    assert!(machine.fail(1, &["mount", "/nowhere", "--config", &path, "--validate-config"]).contains(expected));
    assert!(machine.fail(2, &["status", "--config", &path]).contains(expected));
    let (code, told) = json(&machine, &["config", "validate", &path]);
    assert_eq!((code, &told["success"], &told["valid"]), (1, &false.into(), &false.into()));
    assert!(told["error"].as_str().unwrap().contains(expected));
    let (code, told) = json(&machine, &["--config", &path, "status"]);
    assert_eq!((code, &told["success"]), (2, &false.into()));

    let right = file(&machine, "right.yaml", "hub: {offline: true}\n");
    assert!(machine.succeed(&["--config", &right, "--validate-config"]).starts_with("Configuration is valid ✓"));
    // Nothing is mounted: the directory is not even there.
    machine.succeed(&["mount", "/nowhere", "--config", &right, "--validate-config"]);
    machine.fail(2, &["--config", &right]);
}

#[test]
fn a_log_file_has_the_chosen_form_level_and_fields() {
    let machine = Machine::new();
    // One line of a command that warns: a variable that names no setting.
    let lines = |settings: &[(&str, &str)]| {
        let log = machine.path("log");
        let _ = fs::remove_file(&log);
        let mut command = machine.command(&["status"]);
        command.env("WEIGHTFS_LOGGING_FILE", &log).env("MODEL_EXPRESS_NOTHING", "x").envs(settings.iter().copied());
        assert!(command.env_remove("RUST_LOG").envs(settings.iter().copied()).output().unwrap().status.success());
        fs::read_to_string(log).unwrap()
    };
    let format = |word| ("WEIGHTFS_LOGGING_FORMAT", word);
    let structured = ("WEIGHTFS_LOGGING_STRUCTURED", "true");
    let pretty = lines(&[]);
    assert!(pretty.contains(" WARN ") && pretty.contains("MODEL_EXPRESS_NOTHING names no setting"), "{pretty}");
    assert!(!pretty.contains("logging.rs"));
    assert!(lines(&[structured]).contains("logging.rs"));
    assert!(lines(&[format("compact")]).contains("MODEL_EXPRESS_NOTHING"));
    let line: Value = serde_json::from_str(&lines(&[format("json")])).unwrap();
    assert_eq!(line["level"], "WARN");
    assert!(line["fields"]["message"].as_str().unwrap().starts_with("MODEL_EXPRESS_NOTHING"));
    let flat: Value = serde_json::from_str(&lines(&[format("json"), structured])).unwrap();
    assert!(flat["message"].as_str().unwrap().starts_with("MODEL_EXPRESS_NOTHING"));
    assert!(flat["line_number"].is_u64() && flat["filename"].as_str().unwrap().ends_with("logging.rs"));
    // The level and RUST_LOG choose what is logged at all.
    assert_eq!(lines(&[("WEIGHTFS_LOGGING_LEVEL", "error")]), "");
    assert_eq!(lines(&[("RUST_LOG", "weightfs::cache=trace")]), "");
    assert!(lines(&[("WEIGHTFS_LOGGING_LEVEL", "error"), ("RUST_LOG", "weightfs=warn")]).contains("WARN"));
}

#[test]
fn verbose_logs_more_and_quiet_logs_errors_only() {
    let machine = Machine::new();
    let said = |flags: &[&str]| {
        let mut command = machine.command(&[flags, &["status"]].concat());
        error(&command.env("MODEL_EXPRESS_NOTHING", "x").env_remove("RUST_LOG").output().unwrap())
    };
    assert!(said(&[]).contains("MODEL_EXPRESS_NOTHING"));
    assert_eq!(said(&["-q"]), "");
    assert!(said(&["-v"]).contains("MODEL_EXPRESS_NOTHING"));
    assert!(said(&["-q", "--log-level", "warn"]).contains("MODEL_EXPRESS_NOTHING"));
}

#[test]
fn verbs_tell_programs_what_the_originals_scripts_look_for() {
    let (hub, commit) = hub();
    let mut machine = Machine::at(hub.endpoint());
    let directory = machine.directory("hf");
    let (code, failed) = json(&machine, &["model", "download", "acme/none"]);
    assert_eq!((code, &failed["success"], &failed["model_name"]), (1, &false.into(), &"acme/none".into()));
    assert!(failed["error"].as_str().unwrap().contains("acme/none"));

    machine.succeed(&["mount", directory.to_str().unwrap()]);
    let (code, missing) = json(&machine, &["model", "validate", MODEL]);
    assert_eq!((code, &missing["exists"], &missing["path"]), (1, &false.into(), &Value::Null));
    let (code, done) = json(&machine, &["model", "download", MODEL]);
    assert_eq!((code, &done["success"], &done["provider"]), (0, &true.into(), &"hugging-face".into()));
    assert_eq!(done["resolved_revision"], commit.as_str());
    let path = done["path"].as_str().unwrap().to_owned();
    assert_eq!(fs::read(format!("{path}/config.json")).unwrap(), b"{}");

    let (_, list) = json(&machine, &["model", "list"]);
    assert_eq!((&list["total_models"], &list["total_size"]), (&1.into(), &"1.0 MiB".into()));
    let model = &list["models"][0];
    assert_eq!((&model["name"], &model["provider"]), (&MODEL.into(), &"hugging-face".into()));
    assert_eq!((&model["size"], &model["formatted_size"]), (&((1 << 20) + 2).into(), &"1.0 MiB".into()));
    assert_eq!(
        (&model["path"], &model["repo"], &model["complete"]),
        (&path.as_str().into(), &MODEL.into(), &true.into())
    );

    let (code, there) = json(&machine, &["model", "validate", MODEL]);
    assert_eq!((code, &there["exists"], &there["path"]), (0, &true.into(), &path.as_str().into()));
    let (_, stats) = json(&machine, &["model", "stats", "--detailed"]);
    assert_eq!((&stats["complete_models"], &stats["detailed_models"][0]["name"]), (&1.into(), &MODEL.into()));
    assert!(json(&machine, &["model", "stats"]).1.get("detailed_models").is_none());

    // The Hub's stand-in listens, and so does nobody on port 9.
    let (_, status) = json(&machine, &["-e", hub.endpoint(), "model", "status"]);
    assert_eq!((&status["server_available"], &status["storage_accessible"]), (&true.into(), &true.into()));
    assert_eq!(status["storage_path"], machine.path("cache").to_str().unwrap());
    let (_, status) = json(&machine, &["-e", "127.0.0.1:9", "-t", "5", "model", "status"]);
    assert_eq!(
        (&status["server_available"], &status["server_endpoint"]),
        (&false.into(), &"http://127.0.0.1:9".into())
    );

    let (code, verified) = json(&machine, &["verify"]);
    assert_eq!((code, &verified["success"], &verified["files"]), (0, &true.into(), &2.into()));
    let (code, cleared) = json(&machine, &["model", "clear", MODEL]);
    assert_eq!((code, &cleared["success"], &cleared["model_name"]), (0, &true.into(), &MODEL.into()));
    assert_eq!((&cleared["registry_cleared"], &cleared["registry_warning"]), (&true.into(), &Value::Null));
    let (code, all) = json(&machine, &["model", "clear-all", "--yes"]);
    assert_eq!((code, &all["registry_records_failed"]), (0, &0.into()));
    let pretty = machine.succeed(&["-f", "json-pretty", "model", "stats"]);
    assert!(pretty.lines().count() > 3, "{pretty}");
}

#[test]
fn a_service_is_asked_for_its_health_and_for_actions() {
    let (hub, _) = hub();
    let server = Server::start(&hub);
    let url = server.url();
    let machine = Machine::new();
    let (code, health) = json(&machine, &["-e", &url, "health"]);
    assert_eq!((code, &health["status"]), (0, &"ok".into()));
    assert!(health["uptime"].is_u64() && health["version"].is_string());
    assert_eq!(json(&machine, &["-e", &url, "api", "send", "ping"]), (0, serde_json::json!({ "message": "pong" })));
    let payload = file(&machine, "payload.json", "{\"a\": 1}");
    machine.succeed(&["-e", &url, "api", "send", "ping", "--payload-file", &payload]);
    let unknown = machine.fail(1, &["-e", &url, "api", "send", "dance"]);
    assert!(unknown.contains("unknown action `dance`"), "{unknown}");
    assert!(machine.fail(1, &["-e", &url, "api", "send", "ping", "-p", "{"]).contains("the payload is no JSON"));
    let (code, away) = json(&machine, &["-e", "127.0.0.1:9", "health"]);
    assert_eq!((code, &away["success"]), (1, &false.into()));
    assert!(away["error"].as_str().unwrap().contains("http://127.0.0.1:9: no service answers"), "{away}");
}

#[test]
fn a_strategy_says_who_downloads_and_falling_back_is_told() {
    let (hub, commit) = hub();
    let server = Server::start(&hub);
    let url = server.url();
    let machine = Machine::at(hub.endpoint());
    let download = |endpoint: &str, strategy: &str| {
        let output = machine.run(&["-f", "json", "-e", endpoint, "model", "download", MODEL, "-s", strategy]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), answer, error(&output))
    };
    let (code, answer, _) = download(&url, "server-only");
    assert_eq!(
        (code, &answer["strategy"], &answer["resolved_revision"]),
        (0, &"ServerOnly".into(), &commit.as_str().into())
    );
    let (code, answer, _) = download(&url, "smart-fallback");
    assert_eq!((code, &answer["success"]), (0, &true.into()));
    assert!(machine.models().is_empty(), "the service has it, and not this machine");

    let (code, answer, _) = download("127.0.0.1:9", "server-only");
    assert_eq!((code, &answer["success"]), (1, &false.into()));
    assert!(answer["error"].as_str().unwrap().contains("no service answers"), "{answer}");
    let (code, answer, said) = download("127.0.0.1:9", "smart-fallback");
    assert_eq!((code, &answer["bytes"]), (0, &((1 << 20) + 2).into()));
    assert!(said.contains("no service answers") && said.contains("this machine downloads it itself"), "{said}");

    // A service that answers and fails is an answer, but for the strategy that asks for more.
    let missing = ["-e", &url, "model", "download", "acme/none", "-s"];
    let failed = machine.fail(1, &[&missing[..], &["smart-fallback"]].concat());
    assert!(failed.contains("the service refuses") && !failed.contains("itself"), "{failed}");
    assert!(machine.fail(1, &[&missing[..], &["server-fallback"]].concat()).contains("itself"));
    let part = ["-e", &url, "model", "download", MODEL, "-s", "server-only", "--pin"];
    assert!(machine.fail(1, &part).contains("whole models"));
    let (code, direct, _) = download(&url, "direct");
    assert_eq!((code, &direct["fetched_bytes"]), (0, &0.into()));
}

#[test]
fn init_writes_a_configuration_that_is_in_effect_afterwards() {
    let machine = Machine::new();
    let config = machine.path("made/config.yaml");
    let config = config.to_str().unwrap();
    let storage = machine.path("store");
    let storage = storage.to_str().unwrap();
    let init = ["model", "init", "-o", config, "--storage-path", storage, "--server-endpoint", "models:8001"];
    let (code, made) = json(&machine, &init);
    assert_eq!((code, &made["success"], &made["storage_path"]), (0, &true.into(), &storage.into()));
    assert_eq!(made["server_endpoint"], "http://models:8001");
    machine.succeed(&init);
    let other = machine.fail(1, &["model", "init", "-o", config]);
    assert!(other.contains("there is a configuration already") && other.contains("--overwrite"), "{other}");
    let mut show = machine.command(&["--config", config, "config", "show", "-f", "json"]);
    let shown = show.env_remove("WEIGHTFS_CACHE_DIRECTORY").output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let cache = &shown["settings"][0];
    assert_eq!(
        (&cache["key"], &cache["value"], &cache["layer"]),
        (&"cache.directory".into(), &storage.into(), &"file".into())
    );
}

#[test]
fn completions_parse_and_offer_no_hidden_command() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = machine.succeed(&["completions", shell]);
        assert!(script.contains("umount") && script.contains("validate-config"), "{shell}");
        for hidden in ["mount-plan", "notices"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
        let path = file(&machine, shell, &script);
        // A shell that is not installed checks nothing.
        let check = Command::new(shell).args(["-n", &path]).stderr(Stdio::piped()).output();
        assert!(check.as_ref().map_or(shell != "bash", |check| check.status.success()), "{shell}: {check:?}");
    }
    machine.fail(2, &["completions", "tcsh"]);
}

#[test]
fn every_command_that_people_type_has_a_manual_page() {
    let machine = Machine::new();
    let page = machine.succeed(&["man"]);
    assert!(page.contains(".TH weightfs 1") && page.contains("mount"), "{page}");
    let folder = machine.path("man1");
    machine.succeed(&["man", folder.to_str().unwrap()]);
    let names = crate::harness::names(&folder);
    for name in
        ["weightfs.1", "weightfs-mount.1", "weightfs-model-download.1", "weightfs-config-show.1", "weightfs-holder.1"]
    {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert!(!names.iter().any(|name| ["notices", "plan"].iter().any(|hidden| name.contains(hidden))), "{names:?}");
}
