//! Where a path leads, told without touching what is inside a mount of ours.
//!
//! A `stat` or `realpath` below a mount waits for its daemon, which may be the very one that asks.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::table::{self, MountEntry};

/// As many as the kernel follows before it answers ELOOP.
const MAX_LINKS: usize = 40;

/// The absolute path without links and `..`, as the list of mounts would name it.
///
/// Links are followed outside our mounts only; inside them, and below what does not exist, the text is taken as it is.
pub fn resolve(path: &Path) -> PathBuf {
    let ours: Vec<_> = table::our_mounts().into_iter().map(|entry| entry.directory).collect();
    walk(path, &ours)
}

fn walk(path: &Path, ours: &[PathBuf]) -> PathBuf {
    // Fails for an empty path or a lost working directory only.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut ahead = steps(&absolute);
    let mut reached = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        if step == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&step);
        let link = if inside(&next, ours) || links == MAX_LINKS { None } else { std::fs::read_link(&next).ok() };
        let Some(target) = link else {
            reached = next;
            continue;
        };
        links += 1;
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        for step in steps(&target).into_iter().rev() {
            ahead.push_front(step);
        }
    }
    reached
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(step).collect()
}

fn inside(path: &Path, ours: &[PathBuf]) -> bool {
    ours.iter().any(|mount| path.starts_with(mount))
}

/// The innermost weightfs mount that the path lies in; the mount's own directory counts as inside.
pub fn containing_mount(path: &Path) -> Option<MountEntry> {
    let path = resolve(path);
    let holds_path = |entry: &MountEntry| path.starts_with(&entry.directory);
    let depth = |entry: &MountEntry| entry.directory.components().count();
    table::our_mounts().into_iter().filter(holds_path).max_by_key(depth)
}

/// Whether the path lies in a mount of ours: no place for the cache, and no HF_HOME for the daemon itself.
pub fn is_below_our_mount(path: &Path) -> bool {
    containing_mount(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_followed_up_to_our_mount_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let root = walk(folder.path(), &[]);
        std::fs::create_dir_all(root.join("mount/inner")).unwrap();
        symlink("mount", root.join("relative")).unwrap();
        symlink(root.join("relative"), root.join("absolute")).unwrap();
        // Inside the mount this link would have to be asked of the daemon.
        symlink("/elsewhere", root.join("mount/inner/link")).unwrap();
        let ours = [root.join("mount")];
        let walk = |path: &str| walk(&root.join(path), &ours);
        assert_eq!(walk("absolute/inner/link"), root.join("mount/inner/link"));
        assert_eq!(walk("relative/none/../x"), root.join("mount/x"));
        assert_eq!(walk("mount/../absolute/.././y"), root.join("y"));
        assert_eq!(walk("missing/deep"), root.join("missing/deep"));
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(walk(&folder.path().join("a/x"), &[]).ends_with("x"));
    }
}
