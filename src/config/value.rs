//! The types that a setting may have: how each is written and what it refuses.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use super::layers::{Given, Written};

/// A type of setting.
pub trait Value: Sized {
    /// Completes "it must be …".
    fn expected() -> String;

    /// Stands for a value in a help text.
    const HINT: &'static str;

    /// `None` refuses what was given.
    fn read(given: &Given) -> Option<Self>;

    /// As a YAML file would have it.
    fn json(&self) -> Json;
}

/// What was written, if it is text: a bare word or a YAML string.
fn text(given: &Given) -> Option<&str> {
    match &given.written {
        Written::Word(text) | Written::Text(text) => Some(text),
        _ => None,
    }
}

impl Value for PathBuf {
    const HINT: &'static str = "PATH";

    fn expected() -> String {
        "a path, in a file an absolute one or one that begins with `~/`".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let text = text(given).filter(|text| !text.is_empty() && !text.contains('\0'))?;
        if let (Some(home), Some(below)) = (&given.home, text.strip_prefix("~/")) {
            return Some(home.join(below));
        }
        let path = Path::new(text);
        match &given.base {
            _ if path.is_absolute() => Some(path.to_owned()),
            Some(base) => std::path::absolute(base.join(path)).ok(),
            None => None,
        }
    }

    fn json(&self) -> Json {
        self.to_string_lossy().into()
    }
}

impl<T: Value> Value for Option<T> {
    const HINT: &'static str = T::HINT;

    fn expected() -> String {
        format!("{}, or null", T::expected())
    }

    fn read(given: &Given) -> Option<Self> {
        match &given.written {
            Written::Null => Some(None),
            _ => T::read(given).map(Some),
        }
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::json)
    }
}

impl Value for bool {
    const HINT: &'static str = "true|false";

    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        match &given.written {
            Written::Bool(value) => Some(*value),
            Written::Word(word) => match word.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn json(&self) -> Json {
        (*self).into()
    }
}

/// A machine's name or address, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// Every address of this machine.
    pub fn any() -> Self {
        Self(std::net::Ipv4Addr::UNSPECIFIED.to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Host {
    const HINT: &'static str = "HOST";

    fn expected() -> String {
        "an address or a host name, without a port".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let text = text(given)?;
        let is_name = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            (1..=253).contains(&text.len()) && text.bytes().all(allowed)
        };
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        (is_address || is_name(text)).then(|| Self(text.to_owned()))
    }

    fn json(&self) -> Json {
        self.0.as_str().into()
    }
}

impl Given {
    fn whole_number(&self) -> Option<u64> {
        match &self.written {
            Written::Integer(value) => u64::try_from(*value).ok(),
            Written::Word(word) => word.parse().ok(),
            _ => None,
        }
    }
}

/// A whole number of seconds from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Seconds<MIN, MAX> {
    /// A default lies inside the bounds, or the program does not compile.
    pub const fn new<const SECONDS: u64>() -> Self {
        const { assert!(MIN <= SECONDS && SECONDS <= MAX) };
        Self(SECONDS)
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> Value for Seconds<MIN, MAX> {
    const HINT: &'static str = "SECONDS";

    fn expected() -> String {
        format!("a whole number of seconds from {MIN} to {MAX}, or a time such as 90s, 30m, 2h30m or 7d")
    }

    fn read(given: &Given) -> Option<Self> {
        let seconds = given.whole_number().or_else(|| text(given).and_then(time_with_units));
        seconds.filter(|seconds| (MIN..=MAX).contains(seconds)).map(Self)
    }

    fn json(&self) -> Json {
        self.0.into()
    }
}

/// `2h30m`: whole numbers, each with its unit, the larger units first.
fn time_with_units(word: &str) -> Option<u64> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let (mut rest, mut seconds) = (word, None);
    for (unit, factor) in UNITS {
        if let Some((digits, after)) = rest.split_once(unit) {
            let part = digits.parse::<u64>().ok()?.checked_mul(factor)?;
            seconds = Some(seconds.unwrap_or(0_u64).checked_add(part)?);
            rest = after;
        }
    }
    seconds.filter(|_| rest.is_empty())
}

/// How many of something, from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// A default lies inside the bounds, or the program does not compile.
    pub const fn new<const COUNT: u64>() -> Self {
        const { assert!(MIN <= COUNT && COUNT <= MAX) };
        Self(COUNT)
    }

    pub fn get(&self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Value for Count<MIN, MAX> {
    const HINT: &'static str = "N";

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn read(given: &Given) -> Option<Self> {
        given.whole_number().filter(|count| (MIN..=MAX).contains(count)).map(Self)
    }

    fn json(&self) -> Json {
        self.0.into()
    }
}

/// An amount of memory or disk, from `MIN` to `MAX` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Bytes<MIN, MAX> {
    /// A default lies inside the bounds, or the program does not compile.
    pub const fn new<const BYTES: u64>() -> Self {
        const { assert!(MIN <= BYTES && BYTES <= MAX) };
        Self(BYTES)
    }

    pub fn get(&self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Value for Bytes<MIN, MAX> {
    const HINT: &'static str = "BYTES";

    fn expected() -> String {
        format!("a whole number of bytes from {MIN} to {MAX}, or one with K, M, G or T behind it (of 1024)")
    }

    fn read(given: &Given) -> Option<Self> {
        let bytes = match &given.written {
            Written::Word(word) | Written::Text(word) => with_unit(word),
            _ => given.whole_number(),
        };
        bytes.filter(|bytes| (MIN..=MAX).contains(bytes)).map(Self)
    }

    fn json(&self) -> Json {
        self.0.into()
    }
}

/// `200G`, `200GiB` or plain bytes.
fn with_unit(word: &str) -> Option<u64> {
    let end = word.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(word.len());
    let (digits, unit) = word.split_at(end);
    let factor: u64 = match unit.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" | "KIB" => 1 << 10,
        "M" | "MIB" => 1 << 20,
        "G" | "GIB" => 1 << 30,
        "T" | "TIB" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The root of a Hub: scheme, host, perhaps a port and a path, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    pub fn hugging_face() -> Self {
        Self("https://huggingface.co".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Endpoint {
    const HINT: &'static str = "URL";

    fn expected() -> String {
        "an http:// or https:// URL with a host and without user, query or fragment".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        plain_url(text(given)?.trim()).map(Self)
    }

    fn json(&self) -> Json {
        self.0.as_str().into()
    }
}

/// Without a slash at the end.
fn plain_url(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.has_host();
    (plain && matches!(url.scheme(), "http" | "https")).then(|| text.trim_end_matches('/').to_owned())
}

/// Where a service listens: a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEndpoint(String);

impl ServerEndpoint {
    pub fn local() -> Self {
        Self("http://localhost:8001".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port.
    pub fn address(&self) -> Option<(String, u16)> {
        let url = url::Url::parse(&self.0).ok()?;
        // An IPv6 address without its brackets.
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port_or_known_default()?))
    }
}

impl Value for ServerEndpoint {
    const HINT: &'static str = "URL";

    fn expected() -> String {
        "an http:// or https:// URL, or a bare HOST:PORT".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        match text(given)?.trim() {
            text if text.contains("://") => plain_url(text),
            text => plain_url(&format!("http://{text}")),
        }
        .map(Self)
    }

    fn json(&self) -> Json {
        self.0.as_str().into()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An enum that is one of a few words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident($hint:literal) { $($variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($variant,)* }

        impl $name {
            pub fn as_str(&self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl Value for $name {
            const HINT: &'static str = $hint;

            fn expected() -> String {
                format!("one of {}", [$($word),*].join(", "))
            }

            fn read(given: &Given) -> Option<Self> {
                match text(given)? { $($word => Some($name::$variant),)* _ => None }
            }

            fn json(&self) -> Json {
                self.as_str().into()
            }
        }
    };
}

words! {
    /// The least important message that is logged.
    LogLevel("LEVEL") { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace", }
}

words! {
    /// When a large file is proved.
    ProofTime("WHEN") { AtSealing = "at-sealing", BeforeRead = "before-read", }
}

words! {
    /// Which reads of a block prove it against its checksum.
    CheckedReads("READS") { First = "first", Every = "every", }
}

words! {
    /// Which files of a Xet store are read by its chunks.
    XetUse("WHEN") { Auto = "auto", Always = "always", Never = "never", }
}

words! {
    /// How a log line looks.
    LogFormat("FORMAT") { Pretty = "pretty", Compact = "compact", Json = "json", }
}

words! {
    /// Where a request to an S3 store names the bucket.
    PathStyleWish("WHEN") { Auto = "auto", Always = "always", Never = "never", }
}

/// A name in the AWS configuration: of a region or a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsName(String);

impl AwsName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for AwsName {
    const HINT: &'static str = "NAME";

    fn expected() -> String {
        "a name without spaces or control characters".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        let text = text(given)?;
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
        (!text.is_empty() && text.chars().all(is_plain)).then(|| Self(text.to_owned()))
    }

    fn json(&self) -> Json {
        self.0.as_str().into()
    }
}

/// Whether complete files are passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassthroughWish {
    /// Where the kernel can.
    Auto,
    Off,
}

impl Value for PassthroughWish {
    const HINT: &'static str = "auto|off";

    fn expected() -> String {
        "one of auto, off".to_owned()
    }

    fn read(given: &Given) -> Option<Self> {
        match (text(given), &given.written) {
            (Some("auto"), _) => Some(Self::Auto),
            // In a YAML file a bare `off` is `false`.
            (Some("off"), _) | (_, Written::Bool(false)) => Some(Self::Off),
            _ => None,
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
        .into()
    }
}
