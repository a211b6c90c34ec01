use std::path::{Path, PathBuf};

use super::*;

fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        working_directory: "/here".into(),
        home: Some("/home/ann".into()),
        uid: 1000,
    }
}

fn flag(key: &str, name: &'static str, value: &str) -> Layer {
    let given = Given {
        written: Written::Word(value.to_owned()),
        source: Source::CommandLine(name),
        base: Some("/here".into()),
        home: None,
    };
    Layer([(setting(key).unwrap().key, given)].into())
}

/// What `yaml`, `variables` and no flags come to.
fn load(yaml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_with(Layer::default(), yaml, variables)
}

fn load_with(command_line: Layer, yaml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weightfs.yaml");
    std::fs::write(&path, yaml).unwrap();
    Config::load(command_line, Some(path), surroundings(variables))
}

fn complaint(yaml: &str, variables: &[(&str, &str)]) -> String {
    let text = load(yaml, variables).unwrap_err().to_string();
    // The folder differs from run to run.
    text.find("weightfs.yaml").map_or(text.clone(), |start| text[start..].to_owned())
}

#[test]
fn with_nothing_given_a_user_gets_the_xdg_directories() {
    let settings = load("", &[]).unwrap().settings;
    assert_eq!(settings.cache_directory, Path::new("/home/ann/.cache/weightfs"));
    assert_eq!(settings.runtime_directory, Path::new("/tmp/weightfs-1000"));
    assert_eq!(settings.database(), Path::new("/home/ann/.cache/weightfs/models.db"));
    assert_eq!(settings.hub_endpoint.as_str(), "https://huggingface.co");
    assert_eq!(settings.hub_refresh_seconds.duration().as_secs(), 300);
    assert_eq!(settings.origin_give_up_seconds.duration().as_secs(), 60);

    let xdg = [("XDG_CACHE_HOME", "/x/cache"), ("XDG_RUNTIME_DIR", "/x/run"), ("XDG_CONFIG_HOME", "relative")];
    let places = Places::find(&surroundings(&xdg)).unwrap();
    assert_eq!(places.cache, Path::new("/x/cache/weightfs"));
    assert_eq!(places.runtime, Path::new("/x/run/weightfs"));
    assert_eq!(places.config_file, Path::new("/home/ann/.config/weightfs/config.yaml"));
}

#[test]
fn root_gets_the_directories_of_the_system() {
    let root = Surroundings { uid: 0, ..surroundings(&[("XDG_CACHE_HOME", "/x")]) };
    let places = Places::find(&root).unwrap();
    assert_eq!(places.cache, Path::new("/var/cache/weightfs"));
    assert_eq!(places.runtime, Path::new("/run/weightfs"));
    assert_eq!(places.config_file, Path::new("/etc/weightfs/config.yaml"));
}

#[test]
fn a_user_without_a_home_is_told_what_to_set() {
    let error = Places::find(&Surroundings { home: None, ..surroundings(&[]) }).unwrap_err().to_string();
    assert_eq!(error, "no home directory is known for uid 1000: set HOME, or XDG_CACHE_HOME and XDG_CONFIG_HOME");
}

#[test]
fn the_higher_layer_wins_and_the_rest_of_a_group_stays() {
    let yaml = "hub: {endpoint: 'http://file', refresh_seconds: 7}\ncache:\n  directory: /file\n";
    let endpoint = |config: Config| config.settings.hub_endpoint.as_str().to_owned();

    assert_eq!(endpoint(load(yaml, &[]).unwrap()), "http://file");
    let hub_clients = ("HF_ENDPOINT", "http://clients/");
    assert_eq!(endpoint(load(yaml, &[hub_clients]).unwrap()), "http://clients");
    let ours = ("WEIGHTFS_HUB_ENDPOINT", "http://ours");
    assert_eq!(endpoint(load(yaml, &[hub_clients, ours]).unwrap()), "http://ours");
    let config = load_with(flag("hub.endpoint", "hub-endpoint", "http://flag"), yaml, &[hub_clients, ours]).unwrap();
    assert_eq!(config.source("hub.endpoint"), Some(&Source::CommandLine("hub-endpoint")));
    assert_eq!(config.source("logging.level"), None);
    assert_eq!(config.settings.hub_refresh_seconds.duration().as_secs(), 7);
    assert_eq!(config.settings.cache_directory, Path::new("/file"));
    assert_eq!(endpoint(config), "http://flag");
}

#[test]
fn offline_is_read_as_the_clients_of_the_hub_read_it() {
    let offline = |variables: &[(&str, &str)]| load("", variables).unwrap().settings.hub_offline;
    for word in ["1", "true", "TRUE", "Yes", "on"] {
        assert!(offline(&[("HF_HUB_OFFLINE", word)]), "{word}");
        assert!(offline(&[("TRANSFORMERS_OFFLINE", word)]), "{word}");
    }
    for word in ["0", "false", "2", "offline"] {
        assert!(!offline(&[("HF_HUB_OFFLINE", word)]), "{word}");
    }
    assert!(!offline(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]));
    assert!(!offline(&[("HF_HUB_OFFLINE", "1"), ("WEIGHTFS_HUB_OFFLINE", "false")]));
}

#[test]
fn xet_is_disabled_as_the_clients_of_the_hub_disable_it() {
    let xet = |file: &str, variables: &[(&str, &str)]| load(file, variables).unwrap().settings.origin_xet;
    assert_eq!(xet("", &[]), XetUse::Auto);
    assert_eq!(xet("", &[("HF_HUB_DISABLE_XET", "1")]), XetUse::Never);
    assert_eq!(xet("origin:\n  xet: always", &[("HF_HUB_DISABLE_XET", "yes")]), XetUse::Never);
    assert_eq!(xet("origin:\n  xet: always", &[("HF_HUB_DISABLE_XET", "0")]), XetUse::Always, "it says nothing then");
    assert_eq!(xet("", &[("HF_HUB_DISABLE_XET", "1"), ("WEIGHTFS_ORIGIN_XET", "always")]), XetUse::Always);
}

#[test]
fn relative_paths_are_relative_to_where_the_command_was_given() {
    let config = load_with(flag("hub.token_file", "token-file", "secret"), "", &[("WEIGHTFS_CACHE_DIRECTORY", "c")]);
    let settings = config.unwrap().settings;
    assert_eq!(settings.cache_directory, Path::new("/here/c"));
    assert_eq!(settings.hub_token_file.as_deref(), Some(Path::new("/here/secret")));
    let settings = load("cache: {directory: ~/c}", &[]).unwrap().settings;
    assert_eq!(settings.cache_directory, Path::new("/home/ann/c"));
}

#[test]
fn every_setting_can_be_given_in_the_environment() {
    for setting in SETTINGS {
        assert_eq!(setting.field, setting.key.replace('.', "_"));
        let word = match setting.expected() {
            text if text.starts_with("a path") => "/p",
            text if text.starts_with("true") => "true",
            text if text.starts_with("a whole number of bytes") => "50000000",
            text if text.starts_with("a whole") => "5",
            text if text.starts_with("an http") => "http://h:1",
            text if text.starts_with("a table of ORG") => "acme/tiny=/p,acme/big=s3://bucket/big",
            text if text.starts_with("a table of NAME") => "pvc=/p",
            text if text.starts_with("a list of s3") => "s3://bucket/a,s3://bucket/b",
            text if text.starts_with("a list of hub") => "/mirror,hub",
            text if text.contains("info") => "warn",
            text if text.contains("always") => "never",
            text if text.contains("auto") => "off",
            text if text.contains("at-sealing") => "before-read",
            text if text.contains("every") => "every",
            _ => "json",
        };
        for name in [setting.variable(), setting.alias()] {
            let config = load("", &[(&name, word)]).unwrap();
            assert_eq!(config.source(setting.key), Some(&Source::Environment(name)));
            assert!(config.remarks.is_empty());
        }
    }
    assert_eq!(setting("cache.directory").unwrap().variable(), "WEIGHTFS_CACHE_DIRECTORY");
    assert_eq!(setting("runtime_directory").unwrap().variable(), "WEIGHTFS_RUNTIME_DIRECTORY");
}

#[test]
fn amounts_of_bytes_may_have_a_unit() {
    let size = |word: &str| {
        let config = load_with(flag("cache.max_size_bytes", "max-size", word), "", &[]).ok()?;
        config.settings.cache_max_size_bytes.map(|bytes| bytes.get())
    };
    assert_eq!(size("200000000000"), Some(200_000_000_000));
    assert_eq!([size("3K"), size("3m"), size("3GiB"), size("3T")], [10, 20, 30, 40].map(|shift| Some(3 << shift)));
    assert_eq!([size("3 G"), size("G"), size("1.5G"), size("-1G"), size("3GB"), size("99999999999T")], [None; 6]);
    let settings = load("cache: {max_size_bytes: 200G}", &[]).unwrap().settings;
    assert_eq!(settings.cache_max_size_bytes.map(|bytes| bytes.get()), Some(200 << 30));
}

#[test]
fn off_is_a_word_in_a_file_too() {
    let settings = load("mount: {passthrough: off}", &[]).unwrap().settings;
    assert_eq!(settings.mount_passthrough, PassthroughWish::Off);
}

#[test]
fn a_null_or_an_empty_group_or_file_sets_nothing() {
    for yaml in ["", "# a comment\n", "cache:\n", "logging:\n  file: null\n", "database: {path: ~}\n", "---\n...\n"] {
        let settings = load(yaml, &[]).unwrap_or_else(|error| panic!("{yaml:?}: {error}")).settings;
        assert_eq!((settings.logging_file, settings.database_path), (None, None));
    }
}

#[test]
fn a_wrong_key_is_named_with_its_line_and_what_is_allowed() {
    assert_eq!(
        complaint("hub:\n  endpoint: http://h\n\ncach:\n  directory: /x\n", &[]),
        "weightfs.yaml, line 5: there is no setting `cach`; \
         allowed here: cache, database, runtime_directory, hub, origin, mount, daemon, server, logging, client"
    );
    assert_eq!(
        complaint("hub:\n  offline: true\n  url: /y\n", &[]),
        "weightfs.yaml, line 3: there is no setting `hub.url`; \
         allowed here: hub.endpoint, hub.token_file, hub.offline, hub.refresh_seconds"
    );
    assert_eq!(
        complaint("hub: http://h\n", &[]),
        "weightfs.yaml, line 1: there is no setting `hub`; \
         allowed here: hub.endpoint, hub.token_file, hub.offline, hub.refresh_seconds"
    );
    assert!(
        complaint("hub.offline: true\n", &[]).starts_with("weightfs.yaml, line 1: there is no setting `hub.offline`")
    );
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_what_is_allowed() {
    let seconds = "a whole number of seconds from";
    let time = "or a time such as 90s, 30m, 2h30m or 7d";
    let path = "a path, in a file an absolute one or one that begins with `~/`";
    let url = "an http:// or https:// URL with a host and without user, query or fragment";
    let cases = [
        ("hub: {offline: maybe}", "`hub.offline` is `maybe`; it must be true or false".to_owned()),
        ("hub: {offline: 'true'}", "`hub.offline` is `true`; it must be true or false".to_owned()),
        ("hub: {offline: 1}", "`hub.offline` is 1; it must be true or false".to_owned()),
        ("hub: {offline: null}", "`hub.offline` is null; it must be true or false".to_owned()),
        (
            "hub: {refresh_seconds: -1}",
            format!("`hub.refresh_seconds` is -1; it must be {seconds} 0 to 31536000, {time}"),
        ),
        (
            "hub: {refresh_seconds: 1.5}",
            format!("`hub.refresh_seconds` is 1.5; it must be {seconds} 0 to 31536000, {time}"),
        ),
        (
            "origin: {give_up_seconds: 0}",
            format!("`origin.give_up_seconds` is 0; it must be {seconds} 1 to 3600, {time}"),
        ),
        (
            "origin: {give_up_seconds: ten}",
            format!("`origin.give_up_seconds` is `ten`; it must be {seconds} 1 to 3600, {time}"),
        ),
        ("cache: {directory: [a]}", format!("`cache.directory` is a list; it must be {path}")),
        ("cache: {directory: {a: 1}}", format!("`cache.directory` is a group of keys; it must be {path}")),
        ("cache: {directory: 7}", format!("`cache.directory` is 7; it must be {path}")),
        ("cache: {directory: rel/ative}", format!("`cache.directory` is `rel/ative`; it must be {path}")),
        ("database: {path: ''}", format!("`database.path` is ``; it must be {path}, or null")),
        ("hub: {endpoint: huggingface.co}", format!("`hub.endpoint` is `huggingface.co`; it must be {url}")),
        ("hub: {endpoint: 'ftp://h'}", format!("`hub.endpoint` is `ftp://h`; it must be {url}")),
        ("hub: {endpoint: 'http://u:p@h'}", format!("`hub.endpoint` is `http://u:p@h`; it must be {url}")),
        (
            "logging: {level: loud}",
            "`logging.level` is `loud`; it must be one of error, warn, info, debug, trace".to_owned(),
        ),
        ("logging: {format: xml}", "`logging.format` is `xml`; it must be one of pretty, compact, json".to_owned()),
    ];
    for (yaml, text) in cases {
        assert_eq!(complaint(&format!("# first\n{yaml}\n"), &[]), format!("weightfs.yaml, line 2: {text}"));
    }
}

#[test]
fn a_wrong_value_in_the_environment_is_named_even_where_a_flag_covers_it() {
    let error =
        load_with(flag("hub.endpoint", "hub-endpoint", "http://flag"), "", &[("WEIGHTFS_HUB_ENDPOINT", "nowhere")]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "WEIGHTFS_HUB_ENDPOINT: `hub.endpoint` is `nowhere`; \
         it must be an http:// or https:// URL with a host and without user, query or fragment"
    );
    assert!(complaint("", &[("HF_ENDPOINT", "x")]).starts_with("HF_ENDPOINT: `hub.endpoint` is `x`; it must be"));
}

#[test]
fn an_unknown_variable_of_ours_is_refused() {
    let text = complaint("", &[("WEIGHTFS_CACHE_DIR", "/x")]);
    assert!(text.starts_with("WEIGHTFS_CACHE_DIR: there is no setting of that name; allowed: WEIGHTFS_CONFIG, "));
    assert!(text.contains("WEIGHTFS_CACHE_DIRECTORY"));
}

#[test]
fn what_kubernetes_sets_for_a_service_called_weightfs_is_passed_over() {
    let variables = [
        ("WEIGHTFS_SERVICE_HOST", "10.0.0.1"),
        ("WEIGHTFS_SERVICE_PORT_GRPC", "8001"),
        ("WEIGHTFS_PORT", "tcp://10.0.0.1:8001"),
        ("WEIGHTFS_PORT_8001_TCP", "tcp://10.0.0.1:8001"),
        ("WEIGHTFS_PORT_8001_TCP_ADDR", "10.0.0.1"),
    ];
    load("", &variables).unwrap();
    load("", &[("WEIGHTFS_PORT", "8001")]).unwrap_err();
}

#[test]
fn a_service_whose_name_makes_a_settings_variable_is_passed_over_too() {
    let links = [
        ("WEIGHTFS_CLIENT_ENDPOINT_PORT", "tcp://10.0.0.1:8001"),
        ("WEIGHTFS_SERVER_PORT", "tcp://10.0.0.1:8001"),
        ("WEIGHTFS_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("WEIGHTFS_SERVER_PORT_8001_TCP_PROTO", "tcp"),
        ("MODEL_EXPRESS_SERVICE_HOST", "10.0.0.1"),
        ("MODEL_EXPRESS_SERVICE_PORT", "8001"),
        ("MODEL_EXPRESS_SERVICE_PORT_GRPC", "8001"),
        ("MODEL_EXPRESS_PORT", "tcp://10.0.0.1:8001"),
        ("MODEL_EXPRESS_PORT_8001_TCP", "tcp://10.0.0.1:8001"),
        ("MODEL_EXPRESS_PORT_8001_TCP_PORT", "8001"),
        ("MODEL_EXPRESS_SERVER_PORT", "tcp://10.0.0.1:8001"),
    ];
    let config = load("", &links).unwrap();
    assert!(config.remarks.is_empty(), "{:?}", config.remarks);
    assert!(SETTINGS.iter().all(|setting| config.source(setting.key).is_none()));
    // What only looks like one.
    for name in ["WEIGHTFS_CACHE_PORT_TCP", "WEIGHTFS_CACHE_PORT_X_TCP", "WEIGHTFS_PORT_8001_TCP_NAME"] {
        assert!(load("", &[(name, "x")]).is_err(), "{name}");
    }
}

#[test]
fn the_variables_of_model_express_count_below_ours() {
    let theirs = [
        ("MODEL_EXPRESS_LOG_LEVEL", "debug"),
        ("MODEL_EXPRESS_LOG_FORMAT", "json"),
        ("MODEL_EXPRESS_CACHE_DIRECTORY", "/theirs"),
        ("MODEL_EXPRESS_CACHE_PATH", "/other"),
        ("MODEL_EXPRESS_CACHE_EVICTION_ENABLED", "false"),
        ("MODEL_EXPRESS_ENDPOINT", "models.example:8001"),
        ("MODEL_EXPRESS_SERVER_HOST", "127.0.0.1"),
        ("MODEL_EXPRESS_SERVER_PORT", "8080"),
        ("MODEL_EXPRESS_HUB_ENDPOINT", "http://theirs"),
        ("HF_ENDPOINT", "http://clients"),
    ];
    let settings = load("cache: {directory: /file}", &theirs).unwrap().settings;
    assert_eq!((settings.logging_level, settings.logging_format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(settings.cache_directory, Path::new("/theirs"));
    assert!(!settings.cache_eviction_enabled);
    assert_eq!(settings.client_endpoint.address(), Some(("models.example".to_owned(), 8001)));
    assert_eq!(settings.hub_endpoint.as_str(), "http://theirs");
    assert_eq!((settings.server_host.as_str(), settings.server_port.get()), ("127.0.0.1", 8080));
    let both = [&theirs[..], &[("WEIGHTFS_CACHE_DIRECTORY", "/ours")]].concat();
    assert_eq!(load("", &both).unwrap().settings.cache_directory, Path::new("/ours"));
    let wrong = complaint("", &[("MODEL_EXPRESS_LOG_LEVEL", "loud"), ("WEIGHTFS_LOGGING_LEVEL", "info")]);
    assert!(wrong.starts_with("MODEL_EXPRESS_LOG_LEVEL: `logging.level` is `loud`; it must be one of"), "{wrong}");
}

#[test]
fn a_variable_of_model_express_that_means_nothing_here_is_told_and_its_clients_are_not() {
    let remarks = |name: &str| load("", &[(name, "x")]).unwrap().remarks;
    assert_eq!(remarks("MODEL_EXPRESS_URL"), [""; 0]);
    assert_eq!(remarks("MODEL_EXPRESS_NO_SHARED_STORAGE"), [""; 0]);
    assert!(remarks("MODEL_EXPRESS_CACHE_DIR")[0].starts_with("MODEL_EXPRESS_CACHE_DIR names no setting"));
}

#[test]
fn a_file_of_model_express_is_read_as_it_is_meant() {
    let yaml = "\
server: {host: 127.0.0.1, port: 8080}
cache:
  directory: /data
  max_size_bytes: null
  eviction:
    enabled: true
    check_interval: 1h
    policy:
      type: lru
      unused_threshold: 3d12h
      max_models: 4
      min_free_space_bytes: null
database:
  path: /data/models.db
logging: {level: debug, format: compact, file: null, structured: true}
";
    let config = load(yaml, &[]).unwrap();
    let settings = &config.settings;
    assert_eq!(settings.cache_eviction_check_interval_seconds.duration().as_secs(), 3600);
    assert_eq!(settings.cache_eviction_policy_unused_threshold_seconds.duration().as_secs(), 84 * 3600);
    assert!(settings.logging_structured);
    let Some(Source::File { line, .. }) = config.source("cache.eviction.check_interval_seconds") else { panic!() };
    assert_eq!(*line, 7);
    assert_eq!((settings.server_host.as_str(), settings.server_port.get()), ("127.0.0.1", 8080));

    let seconds = load("cache: {eviction: {check_interval: 60}}", &[]).unwrap().settings;
    assert_eq!(seconds.cache_eviction_check_interval_seconds.duration().as_secs(), 60);
    let twice = complaint("cache:\n  eviction:\n    check_interval: 1h\n    check_interval_seconds: 7\n", &[]);
    assert_eq!(
        twice,
        "weightfs.yaml, line 4: `cache.eviction.check_interval_seconds` is given twice: as \
         `cache.eviction.check_interval_seconds` here, and above under its other name; leave one of them"
    );
    let policy = complaint("cache: {eviction: {policy: {type: fifo}}}", &[]);
    assert_eq!(
        policy,
        "weightfs.yaml, line 1: `cache.eviction.policy.type` is `fifo`; it must be lru, the only policy, or left out"
    );
    let relative = complaint("cache: {directory: ./cache}", &[]);
    assert!(relative.contains("`cache.directory` is `./cache`; it must be a path, in a file an absolute one"));
    let renamed = complaint("local_path: /x\n", &[]);
    assert_eq!(renamed, "weightfs.yaml, line 1: there is no setting `local_path`: write it as `cache.directory`");
}

#[test]
fn a_time_may_have_units() {
    let seconds = |word: &str| {
        let config = load_with(flag("hub.refresh_seconds", "x", word), "", &[]).ok()?;
        Some(config.settings.hub_refresh_seconds.duration().as_secs())
    };
    assert_eq!([seconds("90"), seconds("90s"), seconds("2h30m"), seconds("7d")], [90, 90, 9000, 604_800].map(Some));
    assert_eq!(
        [seconds("1w"), seconds("h"), seconds("1.5h"), seconds("30m2h"), seconds("2h5"), seconds("-1s")],
        [None; 6]
    );
    assert_eq!(seconds("99999999999999d"), None);
}

#[test]
fn the_sample_sets_nothing_and_each_of_its_lines_may_be_set() {
    let nothing = surroundings(&[]);
    let places = Places::find(&nothing).unwrap();
    let page = sample(&places).unwrap();
    let config = load(&page, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(SETTINGS.iter().all(|setting| config.source(setting.key).is_none()));

    let is_setting = |line: &str| line.trim_start().strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
    let all: Vec<_> =
        page.lines().map(|line| if is_setting(line) { line.replacen('#', "", 1) } else { line.to_owned() }).collect();
    let set = load(&all.join("\n"), &[]).unwrap_or_else(|error| panic!("{error}"));
    for (one, other) in set.settings.values().iter().zip(config.settings.values()) {
        assert!(matches!(set.source(one.0.key), Some(Source::File { .. })), "{}", one.0.key);
        assert_eq!(one.1, other.1, "{}", one.0.key);
    }
}

#[test]
fn a_file_that_is_no_yaml_or_not_there_is_named() {
    assert!(complaint("cache: {directory: /x\n", &[]).starts_with("weightfs.yaml: not valid YAML: "));
    assert!(complaint("- a\n- b\n", &[]).starts_with("weightfs.yaml: not valid YAML: expected groups of settings: "));
    assert!(complaint("cache: {directory: /x}\ncache: {directory: /y}\n", &[]).contains("not valid YAML"));
    let missing = Config::load(Layer::default(), Some("none.yaml".into()), surroundings(&[])).unwrap_err().to_string();
    assert!(missing.starts_with("/here/none.yaml: cannot read the configuration: No such file"), "{missing}");
    let variable = Config::load(Layer::default(), None, surroundings(&[("WEIGHTFS_CONFIG", "/none.yaml")]));
    assert!(variable.unwrap_err().to_string().starts_with("/none.yaml: cannot read the configuration"));
}

#[test]
fn the_default_file_is_read_if_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let load = || Config::load(Layer::default(), None, surroundings(&[("XDG_CONFIG_HOME", home)])).unwrap().settings;
    assert!(!load().hub_offline);
    std::fs::create_dir(folder.path().join("weightfs")).unwrap();
    std::fs::write(folder.path().join("weightfs/config.yaml"), "hub: {offline: true}").unwrap();
    assert!(load().hub_offline);
}

#[test]
fn no_token_shows_when_a_configuration_is_printed() {
    assert!(!format!("{:?}", load("", &[("HF_TOKEN", "hf_secret")]).unwrap()).contains("hf_secret"));
}

#[test]
fn the_example_of_the_reference_is_valid() {
    let page = reference();
    let yaml = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(load(yaml, &[]).unwrap().settings.cache_directory, PathBuf::from("/data/weightfs"));
}

#[test]
fn a_service_has_an_address_without_a_port_and_a_port_of_its_own() {
    let read = |host: &str| {
        let settings = load(&format!("server: {{host: '{host}', port: 9000}}\n"), &[]).unwrap().settings;
        (settings.server_host.as_str().to_owned(), settings.server_port.get())
    };
    for host in ["127.0.0.1", "::", "::1", "node-1.example", "localhost"] {
        assert_eq!(read(host), (host.to_owned(), 9000));
    }
    for host in ["", "a b", "127.0.0.1:80", "http://x", "[::1]"] {
        let said = complaint(&format!("server:\n  host: '{host}'\n"), &[]);
        assert!(said.contains("`server.host`") && said.contains("without a port"), "{said}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let yaml = "cache:\n  memory_bytes: lots\n  sice: 1\nhub: 3\nlogging:\n  level: debug\n";
    let variables = [("WEIGHTFS_LOGGING_FORMAT", "loud"), ("WEIGHTFS_TYPO", "1"), ("MODEL_EXPRESS_SERVER_PORT", "x")];
    let error = load(yaml, &variables).unwrap_err();
    let all: Vec<_> = error.all().iter().map(ConfigError::to_string).collect();
    assert_eq!(all.len(), 6, "{error}");
    for part in ["SERVER_PORT", "FORMAT", "TYPO", "line 2: `cache.memory_bytes`", "line 3", "line 4"] {
        assert!(all.iter().any(|text| text.contains(part)), "{part} is missing in {error}");
    }
    assert!(error.to_string().starts_with("6 settings are wrong:\n  "), "{error}");
    assert_eq!(load("cache: {sice: 1}", &[]).unwrap_err().all().len(), 1, "one is told as before");
}
