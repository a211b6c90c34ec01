//! docs/CLI.md, from the help texts.

use clap::CommandFactory;

use super::Cli;

const WIDTH: usize = 100;

const INTRODUCTION: &str = "\
# Command line

<!-- Generated from src/cli: `UPDATE_DOCS=1 cargo test docs` writes it anew. -->

This is what `weightfs --help` and `weightfs COMMAND --help` say; `-h` is shorter. The options of every command stand under the first
heading only; they may be written before a command or after it. [CONFIGURATION.md](CONFIGURATION.md) has every
setting. What `--format json` and `json-pretty` print is described at the end.
";

const JSON: &str = r#"
## The JSON of `status`

One object. A field is never removed or renamed; more may come.

| path | meaning |
|---|---|
| `daemons[]` | every daemon below the runtime directory; empty if none runs |
| `.pid`, `.version`, `.uptime_seconds` | of the daemon |
| `.service` | where it answers other machines (`weightfs serve`), `HOST:PORT`; null if it does not |
| `.cache.directory`, `.cache.cached_bytes` | its cache, and how many bytes of contents are in it |
| `.cache.limit_bytes`, `.cache.free_bytes` | how many it may hold (null without a limit), and how many may come before something must go, by the limit and the disk |
| `.mounts[]` | `directory`, `endpoint`, `offline`, `authenticated` (a token is used), `allow_other`, `detached` (lazily unmounted, still in use), `passthrough` (`on`, or `off: ` and why complete files are served by the daemon), `drop_behind_bytes` |
| `.repos[]` | each known commit: `repo`, `revision` (null for a bare commit, comma-separated if several lead there), `commit`, `files`, `complete_files`, `bytes`, `cached_bytes`, `complete` (all that is known of it is here: it loads offline), `pinned`, `partial` (imported, and the Hub may list more files), `endpoint` |
| `.counters` | since the daemon started, by the names of METRICS.md |

## The JSON of `model …` and the others

The fields that ModelExpress's command line has are there under its names, ours beside them.

| command | fields |
|---|---|
| `model list` | `total_models`, `total_size` (for people), `total_bytes`, `models[]`: the fields of `.repos[]` above, and `provider`, `name`, `size` (what is cached of it), `formatted_size`, `path` |
| `model stats` | `total_models`, `total_size`, `total_bytes`, `complete_models`, `pinned_models`; with `--detailed` `detailed_models[]` as `models[]` above |
| `model status` | `storage_path`, `storage_accessible`, `server_endpoint`, `server_available`, `total_models`, `total_size`, `total_bytes` |
| `model validate REPO` | `model_name`, `provider`, `exists`, `complete`, `path`, `resolved_revision`, `success`, `error`; without REPO as `model list` |
| `model init` | `success`, `storage_path`, `server_endpoint`, `config_path` |
| `model download` | `success`, `message`, `error`, `model_name`, `provider`, `strategy`, `resolved_revision`, `path`, and where this machine did it `files`, `bytes`, `fetched_bytes` |
| `model pin`, `unpin` | `success`, `message`, `model_name`, for `pin` also `resolved_revision`, `bytes`, `cached_bytes` |
| `model clear` | `success`, `message`, `error`, `model_name`, `provider`, `registry_cleared`, `registry_warning`, `files`, `freed_bytes`, `shared_bytes`, `pinned_bytes`, `in_use[]` |
| `model clear-all` | the same with `registry_records_cleared`, `registry_records_failed` in place of the names |
| `verify` | `success`, `error`, `files`, `bytes`, `damaged_files`, `damaged_bytes`, `repaired_files`, `broken_files` |
| `import` | `success`, `error`, `directory`, `models`, `files`, `bytes`, `new_bytes`, `refused` |
| `export` | `success`, `model_name`, `resolved_revision`, `path`, `files`, `bytes`, `written_bytes` |
| `upgrade` | `success`, `error`, `upgraded[]` (sentences) |
| `health` | `version`, `status`, `uptime` (seconds) |
| `api send` | what the service answered |
| `config show` | `config_file`, `remarks[]`, `settings[]`: `key`, `value`, `variable`, `layer` (`default`, `file`, `environment`, `command line`), `from`, and for a file `file` and `line` |
| `config validate`, `--validate-config` | the same with `success`, `valid`; or `error`, and `errors[]`: each by itself |
| `config init` | `success`, `path` |

`path` is the folder of the model's files in a mount of this machine, and null while nothing is mounted there. An error is
`{"success": false, "error": …}` on standard output.
"#;

/// The whole page.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut root = Cli::command().term_width(WIDTH);
    root.build();
    let mut add = |name: &str, command: &mut clap::Command| {
        let help = command.clone().term_width(WIDTH).render_long_help().to_string();
        let lines: Vec<_> = help.lines().map(str::trim_end).collect();
        page.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
    };
    add("weightfs", &mut root);
    add_all("weightfs", &mut root, &mut |name, command| add(name, &mut without_common(command)));
    page + JSON
}

/// What every command has is told once.
fn without_common(command: &clap::Command) -> clap::Command {
    command.clone().mut_args(|argument| {
        let is_common = argument.is_global_set();
        argument.hide(is_common)
    })
}

/// The commands below `above`, each followed by its own; those that nobody types are left out.
fn add_all(above: &str, command: &mut clap::Command, add: &mut impl FnMut(&str, &mut clap::Command)) {
    for command in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let name = format!("{above} {}", command.get_name());
        add(&name, command);
        add_all(&name, command, add);
    }
}
