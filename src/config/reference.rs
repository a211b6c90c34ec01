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
2. the environment: `WEIGHTFS_` and the key in capitals, with `_` for `.`; an empty variable counts as not set;
3. the variables of the Hub's own clients: `HF_ENDPOINT` (`hub.endpoint`), `HF_HUB_OFFLINE` or else
   `TRANSFORMERS_OFFLINE` (`hub.offline`: `1`, `true`, `yes`, `on`);
4. a YAML file: that of `--config`, else of `WEIGHTFS_CONFIG`, else `/etc/weightfs/config.yaml` for root and
   `$XDG_CONFIG_HOME/weightfs/config.yaml` (`~/.config`) for a user, if it is there;
5. the default.

A key that does not exist, a value of the wrong type or out of its bounds, and a `WEIGHTFS_` variable that names no setting
are errors that say where they stand and what is allowed.

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

## Settings
";
