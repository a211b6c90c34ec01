//! The generated pages of docs/ say what the program says. `UPDATE_DOCS=1 cargo test docs` writes them anew.

use std::path::Path;

use weightfs::metrics::{Figure, Levels, Metrics};

fn check(name: &str, page: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/{name} is out of date: run `UPDATE_DOCS=1 cargo test docs` and commit it");
}

#[test]
fn docs_configuration_is_the_table_of_settings() {
    check("CONFIGURATION.md", weightfs::config::reference());
}

#[test]
fn docs_cli_is_the_help_of_every_command() {
    check("CLI.md", weightfs::cli::reference());
}

#[test]
fn docs_metrics_is_every_figure_of_the_daemon() {
    check("METRICS.md", metrics());
}

const METRICS: &str = "\
# Metrics

<!-- Generated from src/metrics.rs: `UPDATE_DOCS=1 cargo test docs` writes it anew. -->

For all mounts of a daemon together. `weightfs serve` shows them to Prometheus on a port of their own, which is closed unless it is
set:

```sh
weightfs serve --metrics-port 9401            # server.metrics_port
curl http://127.0.0.1:9401/metrics            # in Prometheus' text format
curl http://127.0.0.1:9401/healthz            # 200 while it serves, 503 once it was told to end
```

The port listens where `server.host` says. Whoever reaches it may read the page, whatever `server.token_file` says; no names of models,
paths or users are in it. The counters are also in

```sh
weightfs status --format json | jq '.daemons[].counters'
```

under the names of the middle column. `weightfs_build_info` is always 1 and has the label `version`.
";

fn metrics() -> String {
    let counted =
        table(Metrics::FIGURES, "## What it has counted", "Each begins at 0 when the daemon starts and only grows.");
    let stands = table(Levels::FIGURES, "## How it stands", "At the moment at which somebody asks.");
    METRICS.to_owned() + &counted + &stands
}

fn table(figures: &[Figure], title: &str, words: &str) -> String {
    let head = format!("\n{title}\n\n{words}\n\n| for Prometheus | name | unit | what it is |\n|---|---|---|---|\n");
    let row = |figure: &Figure| {
        let Figure { name, unit, help, .. } = figure;
        format!("| `{}` | `{name}` | {unit} | {help} |\n", figure.prometheus_name())
    };
    head + &figures.iter().map(row).collect::<String>()
}
