//! The generated pages of docs/ say what the program says. `UPDATE_DOCS=1 cargo test docs` writes them anew.

use std::path::Path;

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

What the daemon counts, for all its mounts together. Each figure begins at 0 when the daemon starts and only grows. They are
read with

```sh
weightfs status --format json | jq '.daemons[].counters'
```

| name | unit | what it counts |
|---|---|---|
";

fn metrics() -> String {
    let figures = weightfs::metrics::Metrics::default().all();
    let rows = figures.iter().map(|(name, unit, help, _)| format!("| `{name}` | {unit} | {help} |\n"));
    METRICS.to_owned() + &rows.collect::<String>()
}
