//! The structure that the code promises: modules use only what lies below them, and each outside thing has one place.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. Modules of one line do not use each other; every other use goes downward.
const LAYERS: &[&[&str]] = &[
    &["main", "fuzzing"],
    &["cli"],
    &["daemon"],
    &["config"],
    &["api"],
    &["control"],
    &["fs"],
    &["tree"],
    &["cache"],
    &["origin", "db"],
    &["prefetch", "metrics"],
    &["types"],
];

/// What only some places may mention, and why it would hurt elsewhere.
const ONLY: &[(&str, &[&str], &str)] = &[
    (
        "fuser::",
        &["fs/fuse/", "fs/connection.rs", "fs/session.rs"],
        "the FUSE crate changes; the file system's meaning must not",
    ),
    ("rusqlite", &["db/"], "all SQL is in one place"),
    ("reqwest", &["origin/"], "all outbound network is in one place"),
    ("aws_sdk_s3", &["origin/s3/"], "nothing else need know whose client a store is asked with"),
    ("Errno::IO", &["fs/errno.rs", "fs/scratch/", "fs/mount/"], "one map from errors to error numbers"),
];

/// Layers that must stay pure.
const PURE: &[&str] = &["types/", "prefetch/"];
const IO: &[&str] = &["std::fs", "std::net", "std::process", "tokio::", "std::os::unix::net", "SystemTime::now"];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found.sort();
    found
}

/// `fs/fuse/mod.rs` and `fs.rs` belong to `fs`.
fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Lines of code with the modules of this crate they name, by `crate::x` or `weightfs::x`.
fn uses(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).flat_map(|(number, line)| {
        let after = |marker: &'static str| {
            line.match_indices(marker).map(move |(at, _)| {
                let rest = &line[at + marker.len()..];
                &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
            })
        };
        after("crate::").chain(after("weightfs::")).map(move |name| (number + 1, name)).collect::<Vec<_>>()
    })
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut upward = Vec::new();
    for (file, text) in sources() {
        let from = module(&file);
        let Some(own) = layer(from) else { continue };
        for (line, name) in uses(&text) {
            let Some(used) = layer(name) else { continue };
            if name != from && used <= own {
                upward.push(format!("src/{file}:{line}: {from} uses {name}"));
            }
        }
    }
    assert!(upward.is_empty(), "these uses go upward or sideways:\n{}", upward.join("\n"));
}

#[test]
fn every_module_has_its_layer() {
    for (file, _) in sources() {
        let module = module(&file);
        assert!(module == "lib" || layer(module).is_some(), "src/{file}: `{module}` is in no layer of tests/layers.rs");
    }
}

#[test]
fn each_outside_thing_has_one_place() {
    let mut astray = Vec::new();
    for (file, text) in sources() {
        for (thing, places, why) in ONLY {
            let allowed = places.iter().any(|place| file.starts_with(place));
            for (number, line) in text.lines().enumerate().filter(|_| !allowed) {
                if line.contains(thing) && !line.trim_start().starts_with("//") {
                    astray.push(format!("src/{file}:{}: {thing} ({why})", number + 1));
                }
            }
        }
    }
    assert!(astray.is_empty(), "these belong elsewhere:\n{}", astray.join("\n"));
}

#[test]
fn pure_layers_do_no_io() {
    let mut impure = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| PURE.iter().any(|pure| file.starts_with(pure))) {
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = IO.iter().find(|io| line.contains(*io)) {
                impure.push(format!("src/{file}:{}: {found}", number + 1));
            }
        }
    }
    assert!(impure.is_empty(), "these do IO:\n{}", impure.join("\n"));
}
