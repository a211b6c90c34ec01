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
            text if text.starts_with("an http") => "http://h",
            text if text.contains("info") => "warn",
            text if text.contains("auto") => "off",
            text if text.contains("at-sealing") => "before-read",
            text if text.contains("every") => "every",
            _ => "json",
        };
        let config = load("", &[(&setting.variable(), word)]).unwrap();
        assert_eq!(config.source(setting.key), Some(&Source::Environment(setting.variable())));
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
         allowed here: cache, database, runtime_directory, hub, origin, mount, daemon, server, logging"
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
    let path = "a path, in a file an absolute one or one that begins with `~/`";
    let url = "an http:// or https:// URL with a host and without user, query or fragment";
    let cases = [
        ("hub: {offline: maybe}", "`hub.offline` is `maybe`; it must be true or false".to_owned()),
        ("hub: {offline: 'true'}", "`hub.offline` is `true`; it must be true or false".to_owned()),
        ("hub: {offline: 1}", "`hub.offline` is 1; it must be true or false".to_owned()),
        ("hub: {offline: null}", "`hub.offline` is null; it must be true or false".to_owned()),
        ("hub: {refresh_seconds: -1}", format!("`hub.refresh_seconds` is -1; it must be {seconds} 0 to 31536000")),
        ("hub: {refresh_seconds: 1.5}", format!("`hub.refresh_seconds` is 1.5; it must be {seconds} 0 to 31536000")),
        ("origin: {give_up_seconds: 0}", format!("`origin.give_up_seconds` is 0; it must be {seconds} 1 to 3600")),
        (
            "origin: {give_up_seconds: ten}",
            format!("`origin.give_up_seconds` is `ten`; it must be {seconds} 1 to 3600"),
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
