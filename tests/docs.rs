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
