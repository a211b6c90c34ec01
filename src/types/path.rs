//! A file's path inside a repository, safe to show in a directory tree.

use std::borrow::Borrow;
use std::fmt;

/// A relative path of plain components: never absolute, never `..`, fit for a local file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(String);

/// Why a path that an origin listed is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    #[error("it is empty")]
    Empty,
    #[error("it is absolute")]
    Absolute,
    #[error("it has an empty, `.` or `..` component")]
    DotComponent,
    #[error("it has a NUL or control character")]
    ControlCharacter,
    #[error("a component is longer than 255 bytes")]
    LongComponent,
    #[error("it is longer than {} bytes", RepoPath::MAX)]
    Long,
    #[error("the same name is a file and a folder")]
    FileAndFolder,
    #[error("it, or its content, is listed twice in different ways")]
    Ambiguous,
}

impl RepoPath {
    /// Leaves room below the kernel's 4096 for the mount point and the snapshot's own prefix.
    const MAX: usize = 2048;
    const MAX_COMPONENT: usize = 255;

    pub fn new(path: &str) -> Result<Self, PathProblem> {
        if path.is_empty() {
            return Err(PathProblem::Empty);
        }
        if path.starts_with('/') {
            return Err(PathProblem::Absolute);
        }
        if path.chars().any(char::is_control) {
            return Err(PathProblem::ControlCharacter);
        }
        if path.len() > Self::MAX {
            return Err(PathProblem::Long);
        }
        for component in path.split('/') {
            if matches!(component, "" | "." | "..") {
                return Err(PathProblem::DotComponent);
            }
            if component.len() > Self::MAX_COMPONENT {
                return Err(PathProblem::LongComponent);
            }
        }
        Ok(Self(path.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many folders the file lies below the root of its repository.
    pub fn depth(&self) -> usize {
        self.0.matches('/').count()
    }

    /// The folders above the file, outermost first: `a`, `a/b` for `a/b/c`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(end, _)| &self.0[..end])
    }
}

/// Its order is that of its text.
impl Borrow<str> for RepoPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused_each_with_its_reason() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(1100) + "f";
        let cases = [
            ("", PathProblem::Empty),
            ("/etc/passwd", PathProblem::Absolute),
            ("../x", PathProblem::DotComponent),
            ("a/../../x", PathProblem::DotComponent),
            ("a//b", PathProblem::DotComponent),
            ("a/", PathProblem::DotComponent),
            ("./a", PathProblem::DotComponent),
            ("a\0b", PathProblem::ControlCharacter),
            ("a\nb", PathProblem::ControlCharacter),
            (&long, PathProblem::LongComponent),
            (&deep, PathProblem::Long),
        ];
        for (path, problem) in cases {
            assert_eq!(RepoPath::new(path), Err(problem), "{path:?}");
        }
    }

    #[test]
    fn parents_run_from_the_root_down() {
        let path = RepoPath::new("a/b/c.txt").unwrap();
        assert_eq!(path.parents().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path.depth(), 2);
    }
}
