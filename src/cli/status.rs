//! `weightfs status`

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::api::proto::{MountStatus, RepoStatus, StatusReply};
use crate::config::Config;
use crate::daemon;

use super::asking;

const EXAMPLES: &str = "\
Examples:
  weightfs status
  weightfs status --format json | jq '.daemons[].repos[] | {repo, cached_bytes}'";

/// Show what is mounted and how much of each model is cached
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusCommand {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs; docs/CLI.md names the fields
    Json,
}

impl StatusCommand {
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        daemon::logging::init(config)?;
        let (daemons, problems) =
            super::block_on(async { Ok(asking::daemons(&config.settings.runtime_directory).await) })?;
        for problem in problems {
            tracing::warn!("{problem}");
        }
        let mut statuses: Vec<_> = daemons.into_iter().map(|daemon| daemon.status).collect();
        statuses.sort_by(|one, other| one.cache_directory.cmp(&other.cache_directory));
        let text = match self.format {
            Format::Table => tables(&statuses, io::stdout().is_terminal()),
            Format::Json => format!("{:#}\n", json(&statuses)),
        };
        match io::stdout().write_all(text.as_bytes()) {
            // Whoever read it has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

fn json(statuses: &[StatusReply]) -> Value {
    let mount = |mount: &MountStatus| {
        json!({
            "directory": mount.directory,
            "endpoint": mount.endpoint,
            "offline": mount.offline,
            "authenticated": mount.authenticated,
            "allow_other": mount.allow_other,
            "detached": mount.detached,
            "passthrough": mount.passthrough,
            "drop_behind_bytes": mount.drop_behind_bytes,
        })
    };
    let repo = |repo: &RepoStatus| {
        json!({
            "repo": repo.repo,
            "revision": Some(&repo.revision).filter(|revision| !revision.is_empty()),
            "commit": repo.commit,
            "files": repo.files,
            "bytes": repo.bytes,
            "cached_bytes": repo.cached_bytes,
            "endpoint": repo.endpoint,
        })
    };
    let daemon = |status: &StatusReply| {
        json!({
            "pid": status.pid,
            "version": status.version,
            "uptime_seconds": status.uptime_seconds,
            "cache": {
                "directory": status.cache_directory,
                "cached_bytes": status.cached_bytes,
                "limit_bytes": status.limit_bytes,
                "free_bytes": status.free_bytes,
            },
            "mounts": status.mounts.iter().map(mount).collect::<Vec<_>>(),
            "repos": status.repos.iter().map(repo).collect::<Vec<_>>(),
            "counters": status.counters.iter().collect::<std::collections::BTreeMap<_, _>>(),
        })
    };
    json!({ "daemons": statuses.iter().map(daemon).collect::<Vec<_>>() })
}

/// `terminal` allows bold type and folds to the terminal's width.
fn tables(statuses: &[StatusReply], terminal: bool) -> String {
    if statuses.is_empty() {
        return "No weightfs daemon is running. Start one with: weightfs mount DIR\n".to_owned();
    }
    let mut text = String::new();
    for (number, status) in statuses.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "Cache {} with {}; weightfs {}, pid {}, up {}\n{}\n",
            status.cache_directory,
            size(status.cached_bytes),
            status.version,
            status.pid,
            age(Duration::from_secs(status.uptime_seconds)),
            room(status),
        );
        push(&mut text, mounts(&status.mounts, terminal));
        text.push('\n');
        match status.repos.as_slice() {
            [] => text.push_str("No model has been looked at yet.\n"),
            repos => push(&mut text, models(repos, terminal)),
        }
    }
    text
}

fn room(status: &StatusReply) -> String {
    let limit = status.limit_bytes.map_or_else(|| "No limit".to_owned(), |limit| format!("Limit {}", size(limit)));
    format!("{limit}, room for {} more", size(status.free_bytes))
}

/// Without the blanks that fill the last column.
fn push(text: &mut String, table: Table) {
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn mounts(mounts: &[MountStatus], terminal: bool) -> Table {
    let mut table = table(&["MOUNT", "HUB", "ACCESS", "PASSTHROUGH"], terminal);
    for mount in mounts {
        let mut access = vec![if mount.authenticated { "with token" } else { "anonymous" }];
        access.extend(mount.offline.then_some("offline"));
        access.extend(mount.allow_other.then_some("all users"));
        access.extend(mount.detached.then_some("unmounted, still in use"));
        table.add_row([mount.directory.as_str(), mount.endpoint.as_str(), &access.join(", "), &mount.passthrough]);
    }
    table
}

fn models(repos: &[RepoStatus], terminal: bool) -> Table {
    let mut table = table(&["MODEL", "REVISION", "COMMIT", "FILES", "SIZE", "CACHED"], terminal);
    for repo in repos {
        let commit = repo.commit.get(..12).unwrap_or(&repo.commit);
        let revision = if repo.revision.is_empty() { "-" } else { &repo.revision };
        table.add_row([
            Cell::new(&repo.repo),
            Cell::new(revision),
            Cell::new(commit),
            Cell::new(repo.files),
            Cell::new(size(repo.bytes)),
            Cell::new(percent(repo.cached_bytes, repo.bytes)),
        ]);
    }
    for figures in table.column_iter_mut().skip(3) {
        figures.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn table(header: &[&str], terminal: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !terminal {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

/// 512 B, 1.5 KiB, 12.0 GiB
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would round up to 1024.0 is one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// 100 % only when nothing is missing, 0 % only when nothing is there.
fn percent(part: u64, whole: u64) -> String {
    if part >= whole {
        return "100 %".to_owned();
    }
    let percent = part as f64 / whole as f64 * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "<0.1 %".to_owned(),
        percent => format!("{:.1} %", percent.min(99.9)),
    }
}

/// The two largest units: 3 d 4 h, 5 min 12 s.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<_> = parts[first..].iter().take(2).map(|(count, unit)| format!("{count} {unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> StatusReply {
        let repo = |repo: &str, revision: &str, bytes, cached_bytes| RepoStatus {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            files: 11,
            bytes,
            cached_bytes,
            endpoint: "https://huggingface.co".to_owned(),
        };
        let mount = MountStatus {
            directory: "/mnt/hf".to_owned(),
            endpoint: "https://huggingface.co".to_owned(),
            offline: true,
            authenticated: true,
            allow_other: false,
            detached: false,
            passthrough: "on".to_owned(),
            drop_behind_bytes: None,
        };
        StatusReply {
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_seconds: 3725,
            cache_directory: "/var/cache/weightfs".to_owned(),
            cached_bytes: 3 << 30,
            limit_bytes: Some(100 << 30),
            free_bytes: 50 << 30,
            mounts: vec![
                mount.clone(),
                MountStatus {
                    directory: "/b".to_owned(),
                    offline: false,
                    authenticated: false,
                    passthrough: "off: why".to_owned(),
                    ..mount
                },
            ],
            repos: vec![repo("acme/tiny", "main", 1 << 20, 1 << 20), repo("datasets/acme/big", "", 12_345_678_901, 5)],
            counters: [("read_bytes".to_owned(), 9), ("fetched_bytes".to_owned(), 4)].into(),
        }
    }

    #[test]
    fn piped_tables_are_plain_text() {
        let expected = "\
Cache /var/cache/weightfs with 3.0 GiB; weightfs 0.1.0, pid 4711, up 1 h 2 min
Limit 100.0 GiB, room for 50.0 GiB more

 MOUNT    HUB                     ACCESS               PASSTHROUGH
 /mnt/hf  https://huggingface.co  with token, offline  on
 /b       https://huggingface.co  anonymous            off: why

 MODEL              REVISION  COMMIT        FILES      SIZE  CACHED
 acme/tiny          main      0123456789ab     11   1.0 MiB   100 %
 datasets/acme/big  -         0123456789ab     11  11.5 GiB  <0.1 %
";
        assert_eq!(tables(&[status()], false), expected);
    }

    #[test]
    fn without_a_daemon_people_are_told_how_to_start_one_and_programs_get_an_empty_list() {
        assert!(tables(&[], false).contains("weightfs mount DIR"));
        assert_eq!(json(&[]), json!({ "daemons": [] }));
    }

    #[test]
    fn a_daemon_that_has_shown_nothing_yet_says_so() {
        let text = tables(&[StatusReply { repos: Vec::new(), ..status() }, status()], false);
        assert!(text.contains("No model has been looked at yet.\n\nCache "), "{text}");
    }

    #[test]
    fn json_has_every_field() {
        let json = json(&[status()]);
        let daemon = &json["daemons"][0];
        assert_eq!(daemon["pid"], 4711);
        assert_eq!(daemon["version"], "0.1.0");
        assert_eq!(daemon["uptime_seconds"], 3725);
        assert_eq!(
            daemon["cache"],
            json!({
                "directory": "/var/cache/weightfs", "cached_bytes": 3_221_225_472_u64,
                "limit_bytes": 107_374_182_400_u64, "free_bytes": 53_687_091_200_u64,
            })
        );
        assert_eq!(
            daemon["mounts"][0],
            json!({
                "directory": "/mnt/hf", "endpoint": "https://huggingface.co", "offline": true, "authenticated": true,
                "allow_other": false, "detached": false, "passthrough": "on", "drop_behind_bytes": null,
            })
        );
        assert_eq!(
            daemon["repos"][1],
            json!({
                "repo": "datasets/acme/big", "revision": null, "commit": "0123456789abcdef0123456789abcdef01234567",
                "files": 11, "bytes": 12_345_678_901_u64, "cached_bytes": 5, "endpoint": "https://huggingface.co",
            })
        );
        assert_eq!(daemon["counters"], json!({ "fetched_bytes": 4, "read_bytes": 9 }));
    }

    #[test]
    fn figures_never_round_to_what_they_are_not() {
        assert_eq!([size(0), size(1023), size(1024), size(1536)], ["0 B", "1023 B", "1.0 KiB", "1.5 KiB"]);
        assert_eq!([size((1 << 20) - 1), size(u64::MAX)], ["1.0 MiB", "16.0 EiB"]);
        assert_eq!([percent(0, 0), percent(0, 9), percent(9, 9)], ["100 %", "0 %", "100 %"]);
        assert_eq!([percent(1, 1_000_000), percent(999_999, 1_000_000)], ["<0.1 %", "99.9 %"]);
        let age = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([age(0), age(61), age(3600), age(90_061)], ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }
}
