//! The table of settings. Everything else that knows of a setting derives from here.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::error::ConfigError;
use super::layers::{Given, Layer, highest};
use super::model_express;
use super::places::Places;
use super::sources::{Buckets, ChainOrder, Directories, PlacedModels};
use super::value::{
    AwsName, Bytes, CheckedReads, Count, Endpoint, Host, LogFormat, LogLevel, PassthroughWish, PathStyleWish,
    ProofTime, Seconds, ServerEndpoint, Value, XetUse,
};

/// What is known of a setting without its type.
#[derive(Debug)]
pub struct Setting {
    /// Its path in the YAML file.
    pub key: &'static str,
    /// The key with `_` for `.`: the field's name, and the environment's after `WEIGHTFS_`.
    pub field: &'static str,
    pub flag: Flag,
    /// The default in words.
    pub default: &'static str,
    pub help: &'static str,
    /// Stands for a value in a help text.
    pub hint: &'static str,
    expected: fn() -> String,
    accepts: fn(&Given) -> bool,
}

/// Which commands have a flag for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    No,
    /// Those that may start a daemon.
    Daemon(&'static str),
    Mount(&'static str),
    /// The one that serves other machines.
    Serve(&'static str),
    All(&'static str),
}

impl Setting {
    pub fn variable(&self) -> String {
        format!("WEIGHTFS_{}", self.field.to_ascii_uppercase())
    }

    /// What the same variable is called in a ModelExpress deployment.
    pub fn alias(&self) -> String {
        format!("{}{}", model_express::PREFIX, self.field.to_ascii_uppercase())
    }

    /// Completes "it must be …".
    pub fn expected(&self) -> String {
        (self.expected)()
    }

    /// Whether the setting is an on/off switch, whose flag needs no value.
    pub fn is_switch(&self) -> bool {
        self.expected() == <bool as Value>::expected()
    }

    pub fn check(&self, given: &Given) -> Result<(), ConfigError> {
        if (self.accepts)(given) { Ok(()) } else { Err(self.refuse(given)) }
    }

    fn refuse(&self, given: &Given) -> ConfigError {
        ConfigError::BadValue {
            place: given.source.clone(),
            key: self.key,
            found: given.written.to_string(),
            expected: self.expected(),
        }
    }
}

pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

macro_rules! settings {
    ($($field:ident: $type:ty { key: $key:literal, flag: $flag:expr, default: $default:expr, shown: $shown:literal, help: $help:literal })*) => {
        /// Every setting: given, or its default.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $(#[doc = $help] pub $field: $type,)*
        }

        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            field: stringify!($field),
            flag: $flag,
            default: $shown,
            help: $help,
            hint: <$type as Value>::HINT,
            expected: <$type as Value>::expected,
            accepts: |given| <$type as Value>::read(given).is_some(),
        },)*];

        impl Settings {
            /// `layers`, highest first, hold only what [`Setting::check`] accepts.
            pub(super) fn from_layers(layers: &[Layer], places: &Places) -> Result<Self, ConfigError> {
                $(let $field = read::<$type>(layers, $key)?.unwrap_or_else(|| $default(places));)*
                Ok(Self { $($field,)* })
            }

            /// Every key with its value, in the order of the table.
            pub fn values(&self) -> Vec<(&'static Setting, Json)> {
                SETTINGS.iter().zip([$(self.$field.json(),)*]).collect()
            }
        }
    };
}

fn read<T: Value>(layers: &[Layer], key: &str) -> Result<Option<T>, ConfigError> {
    match (highest(layers, key), setting(key)) {
        (Some(given), Some(setting)) => T::read(given).map(Some).ok_or_else(|| setting.refuse(given)),
        _ => Ok(None),
    }
}

settings! {
    cache_directory: PathBuf {
        key: "cache.directory",
        flag: Flag::All("cache-directory"),
        default: |places: &Places| places.cache.clone(),
        shown: "/var/cache/weightfs for root, else $XDG_CACHE_HOME/weightfs (~/.cache/weightfs)",
        help: "Where fetched bytes, the database and what clients write are kept. One daemon serves one cache directory"
    }
    cache_memory_bytes: Bytes<{ 4 << 20 }, { 1 << 40 }> {
        key: "cache.memory_bytes",
        flag: Flag::No,
        default: |_| Bytes::new::<{ 128 << 20 }>(),
        shown: "134217728 (128 MiB)",
        help: "How much all fetches together may hold between the network and the disk. A quarter of it is for blocks that find no room on the disk"
    }
    cache_max_size_bytes: Option<Bytes<0, { 1 << 60 }>> {
        key: "cache.max_size_bytes",
        flag: Flag::Daemon("max-size"),
        default: |_| None,
        shown: "null: no limit but the disk's",
        help: "How much all contents together may take on the disk, those included that are on their way. What does not fit is read without being kept"
    }
    cache_eviction_enabled: bool {
        key: "cache.eviction.enabled",
        flag: Flag::No,
        default: |_| true,
        shown: "true",
        help: "Whether contents that nobody uses make room for others and go when a policy says so. With false a full cache keeps nothing new, and nothing goes but on request"
    }
    cache_eviction_check_interval_seconds: Seconds<1, 31_536_000> {
        key: "cache.eviction.check_interval_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<3600>(),
        shown: "3600",
        help: "How often the policies are applied; first after a minute at the latest. Room for what is fetched is made at once"
    }
    cache_eviction_policy_unused_threshold_seconds: Seconds<1, 3_153_600_000> {
        key: "cache.eviction.policy.unused_threshold_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<604_800>(),
        shown: "604800 (7 days)",
        help: "After how long without an open a content goes"
    }
    cache_eviction_policy_max_models: Option<Count<0, { 1 << 32 }>> {
        key: "cache.eviction.policy.max_models",
        flag: Flag::No,
        default: |_| None,
        shown: "null: no limit",
        help: "How many repositories may have contents in the cache. Of more, those used longest ago go, with what no other one shares"
    }
    cache_eviction_policy_min_free_space_bytes: Option<Bytes<0, { 1 << 60 }>> {
        key: "cache.eviction.policy.min_free_space_bytes",
        flag: Flag::No,
        default: |_| None,
        shown: "null: 1 % of the file system, at least 8 MiB, at most 64 MiB",
        help: "How much of the cache's file system is to stay free, whoever fills it"
    }
    cache_eviction_policy_min_free_space_percent: Option<Count<0, 90>> {
        key: "cache.eviction.policy.min_free_space_percent",
        flag: Flag::No,
        default: |_| None,
        shown: "null: as min_free_space_bytes says",
        help: "The same as a part of the file system, for nodes with disks of different sizes. Of both the larger one counts"
    }
    cache_verify: ProofTime {
        key: "cache.verify",
        flag: Flag::No,
        default: |_| ProofTime::AtSealing,
        shown: "at-sealing",
        help: "When a large file is proved against its hash: at-sealing serves its blocks as they come and proves the whole when it is complete; before-read fetches and proves the whole before it serves the first byte"
    }
    cache_check_reads: CheckedReads {
        key: "cache.check_reads",
        flag: Flag::No,
        default: |_| CheckedReads::First,
        shown: "first",
        help: "Which reads prove a block against its checksum: the first one since the daemon started, or every one. With every no file is passed through"
    }
    cache_scrub_interval_seconds: Option<Seconds<0, 315_360_000>> {
        key: "cache.scrub_interval_seconds",
        flag: Flag::No,
        default: |_| Some(Seconds::new::<2_592_000>()),
        shown: "2592000 (30 days)",
        help: "How long after it was last checked a cached file is read again from the disk and checked, in the background. 0 or null: never"
    }
    database_path: Option<PathBuf> {
        key: "database.path",
        flag: Flag::No,
        default: |_| None,
        shown: "null: models.db in the cache directory",
        help: "The database that records what is in the cache. It must lie on a local disk, not on NFS"
    }
    database_wal_mode: bool {
        key: "database.wal_mode",
        flag: Flag::No,
        default: |_| true,
        shown: "true",
        help: "Keep a write-ahead log, so that readers and the writer of the database never wait for each other. With false a rollback journal, and they do"
    }
    database_pool_size: Count<1, 64> {
        key: "database.pool_size",
        flag: Flag::No,
        default: |_| Count::new::<10>(),
        shown: "10",
        help: "How many questions the database answers at the same time"
    }
    database_connection_timeout_seconds: Seconds<1, 3600> {
        key: "database.connection_timeout_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<30>(),
        shown: "30",
        help: "How long to wait for another process that keeps the database locked"
    }
    runtime_directory: PathBuf {
        key: "runtime_directory",
        flag: Flag::All("runtime-directory"),
        default: |places: &Places| places.runtime.clone(),
        shown: "/run/weightfs for root, else $XDG_RUNTIME_DIR/weightfs (/tmp/weightfs-UID)",
        help: "Where the daemons' control sockets are"
    }
    hub_endpoint: Endpoint {
        key: "hub.endpoint",
        flag: Flag::Daemon("hub-endpoint"),
        default: |_| Endpoint::hugging_face(),
        shown: "https://huggingface.co",
        help: "The Hub, or a server that speaks its API"
    }
    hub_token_file: Option<PathBuf> {
        key: "hub.token_file",
        flag: Flag::Daemon("token-file"),
        default: |_| None,
        shown: "null: HF_TOKEN, else the token file of an existing login",
        help: "A file that holds the Hub's token"
    }
    hub_offline: bool {
        key: "hub.offline",
        flag: Flag::Daemon("offline"),
        default: |_| false,
        shown: "false",
        help: "Ask no network: only what is cached can be read, and the rest fails at once"
    }
    hub_refresh_seconds: Seconds<0, 31_536_000> {
        key: "hub.refresh_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<300>(),
        shown: "300",
        help: "How old a branch's pinned commit may become before the Hub is asked for it again"
    }
    origin_give_up_seconds: Seconds<1, 3600> {
        key: "origin.give_up_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<60>(),
        shown: "60",
        help: "After how long without one byte from the origin a read fails"
    }
    origin_xet: XetUse {
        key: "origin.xet",
        flag: Flag::No,
        default: |_| XetUse::Auto,
        shown: "auto",
        help: "Which files that the Hub keeps in a Xet store are read by its chunks and not by plain ranges. auto: those over 50 GB, and long ranges where chunks prove faster here; always: all of them; never: none. Plain ranges take over on any trouble"
    }
    origin_models: PlacedModels {
        key: "origin.models",
        flag: Flag::No,
        default: |_| PlacedModels::default(),
        shown: "none",
        help: "Models of an HF_HOME that do not come from the Hub, and where each of them lies: below a prefix of an S3 bucket or in a directory. Whoever may enter a mount may read them"
    }
    origin_directories: Directories {
        key: "origin.directories",
        flag: Flag::No,
        default: |_| Directories::default(),
        shown: "none",
        help: "Directories that are shown as dir/NAME. Whoever may enter a mount may read them"
    }
    origin_buckets: Buckets {
        key: "origin.buckets",
        flag: Flag::No,
        default: |_| Buckets::default(),
        shown: "none",
        help: "Prefixes of S3 buckets that are shown as s3/BUCKET/PREFIX. Whoever may enter a mount may read them"
    }
    origin_chain: ChainOrder {
        key: "origin.chain",
        flag: Flag::No,
        default: |_| ChainOrder::hub(),
        shown: "hub",
        help: "Where the contents of the Hub's repositories are asked for, in this order: the Hub, and copies of its clients' cache (folders such as models--ORG--NAME) in a directory or an S3 bucket. While the Hub does not answer, the copies also say which files there are. Without hub in the list the Hub is not asked at all"
    }
    origin_s3_endpoint_url: Option<Endpoint> {
        key: "origin.s3.endpoint_url",
        flag: Flag::No,
        default: |_| None,
        shown: "null: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the AWS configuration files, else AWS",
        help: "Another S3 store than AWS, for all buckets"
    }
    origin_s3_region: Option<AwsName> {
        key: "origin.s3.region",
        flag: Flag::No,
        default: |_| None,
        shown: "null: AWS_REGION, the AWS configuration files or the machine's metadata; where an endpoint is named, us-east-1",
        help: "The region that requests are signed for. AWS buckets of other regions are found all the same"
    }
    origin_s3_profile: Option<AwsName> {
        key: "origin.s3.profile",
        flag: Flag::No,
        default: |_| None,
        shown: "null: AWS_PROFILE, else default",
        help: "The section of the AWS configuration files (~/.aws/config, ~/.aws/credentials) that credentials and region come from"
    }
    origin_s3_path_style: PathStyleWish {
        key: "origin.s3.path_style",
        flag: Flag::No,
        default: |_| PathStyleWish::Auto,
        shown: "auto",
        help: "Whether the bucket stands in the path of a URL (ENDPOINT/BUCKET/KEY) or in the name of the host (BUCKET.ENDPOINT/KEY). auto puts it in the path where an endpoint is named"
    }
    origin_s3_anonymous: bool {
        key: "origin.s3.anonymous",
        flag: Flag::No,
        default: |_| false,
        shown: "false",
        help: "Ask without credentials: for public buckets"
    }
    origin_s3_object_details: bool {
        key: "origin.s3.object_details",
        flag: Flag::No,
        default: |_| true,
        shown: "true",
        help: "Ask the store about each new object for its version and its checksum (one HEAD an object, and none again until it changes). With false an object is known by its etag only, and what arrives is not proved"
    }
    origin_s3_max_objects: Count<1, 1_000_000> {
        key: "origin.s3.max_objects",
        flag: Flag::No,
        default: |_| Count::new::<10_000>(),
        shown: "10000",
        help: "How many objects may lie below one prefix. More are an error: they are no single model"
    }
    mount_allow_other: bool {
        key: "mount.allow_other",
        flag: Flag::Mount("allow-other"),
        default: |_| false,
        shown: "false",
        help: "Let other users into the mount. For an ordinary user /etc/fuse.conf must say user_allow_other"
    }
    mount_passthrough: PassthroughWish {
        key: "mount.passthrough",
        flag: Flag::Mount("passthrough"),
        default: |_| PassthroughWish::Auto,
        shown: "auto",
        help: "Let the kernel read complete files past the daemon, at the disk's own speed, where it can: as root, on Linux 6.9 or newer, with the cache on a disk's own file system. With off the daemon serves and checks every read"
    }
    mount_drop_behind_bytes: Option<Bytes<{ 1 << 20 }, { 1 << 60 }>> {
        key: "mount.drop_behind_bytes",
        flag: Flag::Mount("drop-behind"),
        default: |_| None,
        shown: "null: the kernel decides what stays in memory",
        help: "Files of at least this size do not stay in the page cache: what was read of them leaves it 128 MiB later. Such files are never passed through"
    }
    daemon_held: bool {
        key: "daemon.held",
        flag: Flag::No,
        default: |_| true,
        shown: "true",
        help: "Keep mounts open while the daemon is away: a daemon in the background that dies is started again, and its readers wait for it. With false they get errors"
    }
    daemon_holder: Option<PathBuf> {
        key: "daemon.holder",
        flag: Flag::No,
        default: |_| None,
        shown: "null: none",
        help: "The socket of a holder that somebody else runs (`weightfs holder --socket PATH`), another pod for one. A daemon in the foreground, `weightfs serve` or `mount --foreground`, leaves its mounts there when it is told to end, and the next one goes on with them"
    }
    daemon_give_up_seconds: Seconds<1, 3600> {
        key: "daemon.give_up_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<300>(),
        shown: "300",
        help: "After how long without a daemon that can serve the mounts are taken away, so that nobody waits for ever"
    }
    server_host: Host {
        key: "server.host",
        flag: Flag::Serve("host"),
        default: |_| Host::any(),
        shown: "0.0.0.0",
        help: "The address at which `weightfs serve` listens for other machines: 0.0.0.0 or :: for all, 127.0.0.1 for programs of this machine only. Other commands listen at none"
    }
    server_port: Count<1, 65_535> {
        key: "server.port",
        flag: Flag::Serve("port"),
        default: |_| Count::new::<8001>(),
        shown: "8001",
        help: "The TCP port of `weightfs serve`, for gRPC"
    }
    server_metrics_port: Option<Count<1, 65_535>> {
        key: "server.metrics_port",
        flag: Flag::Serve("metrics-port"),
        default: |_| None,
        shown: "null: none",
        help: "A TCP port of server.host for HTTP, with /metrics for Prometheus and /healthz. Whoever reaches it may read the figures: server.token_file does not count there"
    }
    server_token_file: Option<PathBuf> {
        key: "server.token_file",
        flag: Flag::No,
        default: |_| None,
        shown: "null: whoever can reach the port may ask",
        help: "A file with the token that whoever asks over the network must show, as `authorization: Bearer TOKEN`"
    }
    server_graceful_shutdown: bool {
        key: "server.graceful_shutdown",
        flag: Flag::No,
        default: |_| true,
        shown: "true",
        help: "Whether `weightfs serve` answers what is under way before it ends on SIGTERM or SIGINT. A second signal ends it at once"
    }
    server_shutdown_timeout_seconds: Seconds<0, 86_400> {
        key: "server.shutdown_timeout_seconds",
        flag: Flag::No,
        default: |_| Seconds::new::<30>(),
        shown: "30",
        help: "How long that may take at the most; what is not done then is broken off"
    }
    logging_level: LogLevel {
        key: "logging.level",
        flag: Flag::All("log-level"),
        default: |_| LogLevel::Info,
        shown: "info",
        help: "The least important message to log. RUST_LOG, a finer filter, wins over all but the flag"
    }
    logging_format: LogFormat {
        key: "logging.format",
        flag: Flag::All("log-format"),
        default: |_| LogFormat::Pretty,
        shown: "pretty",
        help: "How log lines look"
    }
    logging_file: Option<PathBuf> {
        key: "logging.file",
        flag: Flag::No,
        default: |_| None,
        shown: "null: standard error, in the background weightfs.log in the cache directory",
        help: "A file that log lines are appended to"
    }
    logging_structured: bool {
        key: "logging.structured",
        flag: Flag::No,
        default: |_| false,
        shown: "false",
        help: "Say in each log line also which source line and thread it comes from; in json the fields of a line then are keys of the line itself"
    }
    client_endpoint: ServerEndpoint {
        key: "client.endpoint",
        flag: Flag::All("endpoint"),
        default: |_| ServerEndpoint::local(),
        shown: "http://localhost:8001",
        help: "The service that commands ask which ask one over the network"
    }
    client_timeout_seconds: Seconds<1, 3600> {
        key: "client.timeout_seconds",
        flag: Flag::All("timeout"),
        default: |_| Seconds::new::<30>(),
        shown: "30",
        help: "How long a command waits for that service"
    }
    client_token_file: Option<PathBuf> {
        key: "client.token_file",
        flag: Flag::No,
        default: |_| None,
        shown: "null: nothing is shown",
        help: "A file with the token that is shown to that service, see server.token_file"
    }
}

impl Settings {
    pub fn database(&self) -> PathBuf {
        self.database_path.clone().unwrap_or_else(|| self.cache_directory.join("models.db"))
    }
}
