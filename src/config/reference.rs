//! docs/CONFIGURATION.md, from the table.

use std::fmt::Write;

use super::settings::{Flag, SETTINGS};

/// The whole page.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for setting in SETTINGS {
        let flag = match setting.flag {
            Flag::No => "none".to_owned(),
            Flag::Daemon(flag) => format!("`--{flag}` of all commands that may start a daemon"),
            Flag::Mount(flag) => format!("`--{flag}` of `mount`"),
            Flag::Serve(flag) => format!("`--{flag}` of `serve`"),
            Flag::All(flag) => format!("`--{flag}`"),
        };
        // Writing into a string cannot fail.
        let _ = write!(
            page,
            "\n### `{}`\n\n{}.\n\n| value | default | environment | flag |\n|---|---|---|---|\n| {} | {} | `{}` | {flag} |\n",
            setting.key,
            setting.help,
            setting.expected(),
            setting.default,
            setting.variable(),
        );
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from src/config/settings.rs: `UPDATE_DOCS=1 cargo test docs` writes it anew. -->

weightfs needs no configuration. What is set is merged key by key, the first that says something wins:

1. the command line;
2. the environment: `WEIGHTFS_` and the key in capitals, with `_` for `.`; then the same with `MODEL_EXPRESS_`. An empty
   variable counts as not set;
3. the variables of the Hub's own clients: `HF_ENDPOINT` (`hub.endpoint`), `HF_HUB_OFFLINE` or else
   `TRANSFORMERS_OFFLINE` (`hub.offline`: `1`, `true`, `yes`, `on`), `HF_HUB_DISABLE_XET` (the same words make `origin.xet` `never`);
4. a YAML file: that of `--config`, else of `WEIGHTFS_CONFIG` or `MODEL_EXPRESS_CONFIG`, else `/etc/weightfs/config.yaml` for root and
   `$XDG_CONFIG_HOME/weightfs/config.yaml` (`~/.config`) for a user, if it is there;
5. the default.

A key that does not exist, a value of the wrong type or out of its bounds, and a `WEIGHTFS_` variable that names no setting
are errors that say where they stand and what is allowed. What Kubernetes sets for a service that is called `weightfs`, or
`weightfs-server` (`WEIGHTFS_SERVER_PORT=tcp://…`), is passed over.

`weightfs config init` writes a file with every setting, none of them set; `weightfs config show` prints each value and where it comes
from; `weightfs config validate FILE`, or `--validate-config` with any command, checks without doing anything.

```yaml
cache:
  directory: /data/weightfs
hub:
  refresh_seconds: 60
logging:
  level: debug
```

The token for the Hub is taken from `--token-file` or `WEIGHTFS_HUB_TOKEN_FILE`, else `HF_TOKEN`, else `HF_TOKEN_PATH`, else
`hub.token_file` of the YAML file, else the login in `$HF_HOME/token` (`~/.cache/huggingface/token`). An `HF_HOME` below one of
our own mounts is passed over.

A daemon takes its settings when it starts. A `mount` that finds one running on its cache directory asks that one; then only the
endpoint, the token, `hub.offline`, `mount.allow_other` and `mount.passthrough` are the new mount's own.

## Coming from ModelExpress

Its variables work: `MODEL_EXPRESS_CACHE_DIRECTORY`, `MODEL_EXPRESS_CACHE_EVICTION_ENABLED`, `MODEL_EXPRESS_LOG_LEVEL`,
`MODEL_EXPRESS_LOG_FORMAT`, `MODEL_EXPRESS_ENDPOINT`, `MODEL_EXPRESS_TIMEOUT` and so on, and every setting has one. Where the same
setting has a `WEIGHTFS_` variable, that one wins. A `MODEL_EXPRESS_` variable that names no setting is a warning and not an
error, since it may be meant for another program; those of its clients (`MODEL_EXPRESS_URL` and others) are passed over in silence.

Its file works, too: `cache.eviction.check_interval: 1h`, `cache.eviction.policy.unused_threshold: 7d` and `type: lru` are read as they
are meant. Paths must be absolute or begin with `~/`, since a daemon in the background has no directory of its own: `./cache` is
an error that says so. Each key that has no meaning here is an error that says what to do with it.

## Settings
";
