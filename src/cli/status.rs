//! `weightfs status`

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use comfy_table::Table;
use serde_json::{Value, json};

use crate::api::proto::{MountStatus, StatusReply};
use crate::config::Config;
use crate::daemon;

use super::asking;
use super::figures::{age, size};
use super::format::Format;
use super::table::{self, Columns, push, table};

const EXAMPLES: &str = "\
Examples:
  weightfs status
  weightfs status --format json | jq '.daemons[].repos[] | {repo, cached_bytes}'";

/// Show what is mounted and how much of each model is cached
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusCommand {}

impl StatusCommand {
    pub fn run(&self, config: &Config, format: Format) -> anyhow::Result<()> {
        daemon::logging::init(config)?;
        let (daemons, problems) =
            super::block_on(async { Ok(asking::daemons(&config.settings.runtime_directory).await) })?;
        for problem in problems {
            tracing::warn!("{problem}");
        }
        let mut statuses: Vec<_> = daemons.into_iter().map(|daemon| daemon.status).collect();
        statuses.sort_by(|one, other| one.cache_directory.cmp(&other.cache_directory));
        format.print(|| tables(&statuses, io::stdout().is_terminal()), || json(&statuses))
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
            "survival": mount.survival,
            "drop_behind_bytes": mount.drop_behind_bytes,
        })
    };
    let daemon = |status: &StatusReply| {
        json!({
            "pid": status.pid,
            "version": status.version,
            "uptime_seconds": status.uptime_seconds,
            "service": status.service,
            "cache": {
                "directory": status.cache_directory,
                "cached_bytes": status.cached_bytes,
                "limit_bytes": status.limit_bytes,
                "free_bytes": status.free_bytes,
            },
            "mounts": status.mounts.iter().map(mount).collect::<Vec<_>>(),
            "repos": status.repos.iter().map(table::model_json).collect::<Vec<_>>(),
            "counters": status.counters.iter().collect::<std::collections::BTreeMap<_, _>>(),
        })
    };
    json!({ "daemons": statuses.iter().map(daemon).collect::<Vec<_>>() })
}

/// `terminal` allows bold type and folds to the terminal's width.
fn tables(statuses: &[StatusReply], terminal: bool) -> String {
    if statuses.is_empty() {
        return "No weightfs daemon is running. `weightfs mount DIR` starts one; `weightfs model list` shows what is cached.\n".to_owned();
    }
    let mut text = String::new();
    for (number, status) in statuses.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "Cache {} with {}; weightfs {}, pid {}, up {}\n{}",
            status.cache_directory,
            size(status.cached_bytes),
            status.version,
            status.pid,
            age(Duration::from_secs(status.uptime_seconds)),
            room(status),
        );
        if let Some(address) = &status.service {
            let _ = writeln!(text, "Serving other machines on {address}");
        }
        text.push('\n');
        push(&mut text, mounts(&status.mounts, terminal));
        text.push('\n');
        match status.repos.as_slice() {
            [] => text.push_str("No model has been looked at yet.\n"),
            repos => push(&mut text, table::models(repos, Columns::Status, terminal)),
        }
    }
    text
}

fn room(status: &StatusReply) -> String {
    let limit = status.limit_bytes.map_or_else(|| "No limit".to_owned(), |limit| format!("Limit {}", size(limit)));
    format!("{limit}, room for {} more", size(status.free_bytes))
}

fn mounts(mounts: &[MountStatus], terminal: bool) -> Table {
    let mut table = table(&["MOUNT", "HUB", "ACCESS", "PASSTHROUGH", "SURVIVAL"], terminal);
    for mount in mounts {
        let mut access = vec![if mount.authenticated { "with token" } else { "anonymous" }];
        access.extend(mount.offline.then_some("offline"));
        access.extend(mount.allow_other.then_some("all users"));
        access.extend(mount.detached.then_some("unmounted, still in use"));
        let access = access.join(", ");
        table.add_row([&mount.directory, &mount.endpoint, &access, &mount.passthrough, &mount.survival]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::RepoStatus;

    fn status() -> StatusReply {
        let repo = |repo: &str, revision: &str, bytes, cached_bytes| RepoStatus {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            files: 11,
            bytes,
            cached_bytes,
            endpoint: "https://huggingface.co".to_owned(),
            complete_files: if cached_bytes == bytes { 11 } else { 3 },
            pinned: revision == "main",
            partial: false,
        };
        let mount = MountStatus {
            directory: "/mnt/hf".to_owned(),
            endpoint: "https://huggingface.co".to_owned(),
            offline: true,
            authenticated: true,
            allow_other: false,
            detached: false,
            passthrough: "on".to_owned(),
            survival: "on".to_owned(),
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
            service: None,
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

 MOUNT    HUB                     ACCESS               PASSTHROUGH  SURVIVAL
 /mnt/hf  https://huggingface.co  with token, offline  on           on
 /b       https://huggingface.co  anonymous            off: why     on

 MODEL              REVISION  COMMIT        FILES      SIZE    CACHED  PINNED
 acme/tiny          main      0123456789ab  11/11   1.0 MiB  complete  yes
 datasets/acme/big  -         0123456789ab   3/11  11.5 GiB    <0.1 %
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
    fn who_serves_other_machines_says_where() {
        let serving = StatusReply { service: Some("0.0.0.0:8001".to_owned()), ..status() };
        assert_eq!(json(std::slice::from_ref(&serving))["daemons"][0]["service"], "0.0.0.0:8001");
        let text = tables(&[serving], false);
        assert!(text.contains("50.0 GiB more\nServing other machines on 0.0.0.0:8001\n\n MOUNT"), "{text}");
    }

    #[test]
    fn json_has_every_field() {
        let json = json(&[status()]);
        let daemon = &json["daemons"][0];
        assert_eq!(daemon["service"], Value::Null);
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
                "allow_other": false, "detached": false, "passthrough": "on", "survival": "on",
                "drop_behind_bytes": null,
            })
        );
        assert_eq!(
            daemon["repos"][1],
            json!({
                "repo": "datasets/acme/big", "revision": null, "commit": "0123456789abcdef0123456789abcdef01234567",
                "files": 11, "bytes": 12_345_678_901_u64, "cached_bytes": 5, "endpoint": "https://huggingface.co",
                "complete_files": 3, "complete": false, "pinned": false, "partial": false,
            })
        );
        assert_eq!(daemon["counters"], json!({ "fetched_bytes": 4, "read_bytes": 9 }));
    }
}
