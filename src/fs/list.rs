//! Folders: what this node knows of them, and what clients made in them.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::xxh3_64;

use super::attr::Kind;
use super::error::FsError;
use super::lookup::{Found, TOKEN};
use super::model_fs::ModelFs;
use crate::tree::Node;
use crate::tree::layout::{Place, blob_path, join, split};
use crate::types::{Blob, Commit, RepoId, Revision, SnapshotEntry};

/// An entry of a folder.
pub struct Listed {
    pub name: String,
    pub kind: Kind,
    pub node: Node,
    pub cookie: Cookie,
}

/// Where in a folder's list an entry stands, for who goes on behind it: also under the next daemon, which makes the list
/// anew, and when entries have come and gone meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cookie(pub u64);

impl Cookie {
    const DOTS: [Cookie; 2] = [Cookie(1), Cookie(2)];
    /// Those below are positions; the kernel's offsets are positive numbers of 63 bits.
    const FIRST_HASH: u64 = 1 << 32;

    /// Of the name alone: neither an entry beside it nor what replaces it moves it.
    fn of(name: &str) -> Self {
        Self((xxh3_64(name.as_bytes()) >> 2).max(Self::FIRST_HASH))
    }

    /// In a list that never changes.
    fn at(index: usize) -> Self {
        Self(index as u64 + Self::DOTS.len() as u64 + 1)
    }
}

/// The entries that come behind a cookie; all for 0.
pub fn listed_after(listed: &[Listed], cookie: Cookie) -> &[Listed] {
    &listed[listed.partition_point(|entry| entry.cookie <= cookie)..]
}

pub(super) type Names = BTreeMap<String, Kind>;

/// How the kernel is to treat an open folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderMode {
    /// Its entries never change: the kernel may keep their list.
    Immutable,
    /// It is listed anew each time it is opened.
    Fresh,
}

impl ModelFs {
    /// Whether a folder may be listed, and how.
    pub async fn open_folder(&self, node: Node) -> Result<FolderMode, FsError> {
        let (Place::Snapshot(repo, commit, _) | Place::Plain(repo, commit, _)) = self.place(node)?.1 else {
            return Ok(FolderMode::Fresh);
        };
        let snapshot = self.tree.whole_snapshot(&self.view.identity, &repo, commit).await?;
        Ok(if snapshot.partial { FolderMode::Fresh } else { FolderMode::Immutable })
    }

    /// Everything in a folder, in the order of cookies, `.` and `..` first. Every entry has its lasting node.
    ///
    /// The folders of a commit are in the order of names, since whoever reads all of them best reads shards in order.
    pub async fn list(&self, node: Node) -> Result<Vec<Listed>, FsError> {
        let (path, place) = self.place(node)?;
        let names = self.names(&path, &place).await?;
        let contents = self.contents_in(&place).await?;
        let is_plain = matches!(place, Place::Plain(..));
        let path_of = |name: &String| match contents.get(name).filter(|_| is_plain) {
            Some((repo, blob)) => blob_path(repo, &blob.id),
            None => join(&path, name),
        };
        let mut paths: Vec<String> = names.keys().map(path_of).collect();
        // Whoever lists links mostly follows them: their contents' nodes come in the same transaction.
        if let Place::Snapshot(..) = place {
            paths.extend(contents.values().map(|(repo, blob)| blob_path(repo, &blob.id)));
        }
        let mut nodes = self.nodes.ensure_all(paths).await?;
        nodes.truncate(names.len());
        if !matches!(place, Place::Snapshot(..)) {
            // Complete files are listed under the numbers by which they are found.
            for (name, node) in names.keys().zip(&mut nodes) {
                if let Some((_, blob)) = contents.get(name) {
                    *node = self.content_node(*node, blob)?;
                }
            }
        }
        let parent = self.nodes.ensure(split(&path).0).await?;
        let dots = [(".", node), ("..", parent)].into_iter().zip(Cookie::DOTS);
        let dots =
            dots.map(|((name, node), cookie)| Listed { name: name.to_owned(), kind: Kind::Folder, node, cookie });
        let never_changes = matches!(place, Place::Snapshot(..) | Place::Plain(..));
        let entries = names.into_iter().zip(nodes).enumerate().map(|(index, ((name, kind), node))| {
            let cookie = if never_changes { Cookie::at(index) } else { Cookie::of(&name) };
            Listed { name, kind, node, cookie }
        });
        let mut listed: Vec<Listed> = dots.chain(entries).collect();
        put_in_order(&mut listed);
        Ok(listed)
    }

    /// The contents that names in a folder stand for or lead to.
    async fn contents_in(&self, place: &Place) -> Result<HashMap<String, (RepoId, Blob)>, FsError> {
        let identity = &self.view.identity;
        match place {
            Place::Snapshot(repo, commit, folder) | Place::Plain(repo, commit, folder) => {
                let snapshot = self.tree.snapshot(identity, repo, *commit).await?;
                let contents = snapshot.children(folder).filter_map(|(name, entry)| match entry {
                    SnapshotEntry::File(blob) => Some((name.to_owned(), (repo.clone(), blob))),
                    SnapshotEntry::Folder => None,
                });
                Ok(contents.collect())
            }
            Place::Blobs(repo) => {
                let blobs = self.tree.blobs(identity, repo)?;
                Ok(blobs.into_iter().map(|blob| (blob.id.etag(), (repo.clone(), blob))).collect())
            }
            _ => Ok(HashMap::new()),
        }
    }

    async fn names(&self, path: &str, place: &Place) -> Result<Names, FsError> {
        let identity = &self.view.identity;
        let mut names = Names::new();
        match place {
            Place::Root => {
                self.add_scratch(&mut names, path)?;
                names.insert("hub".to_owned(), Kind::Folder);
                self.add_roots(&mut names);
                if self.view.shown_token().is_some() {
                    names.entry(TOKEN.to_owned()).or_insert(Kind::File);
                }
            }
            Place::Hub => {
                self.add_scratch(&mut names, path)?;
                let mut repos = self.tree.known_repos(identity)?;
                repos.extend(self.tree.declared());
                let shown = repos.iter().filter(|repo| self.view.shows_repo(repo));
                names.extend(shown.filter_map(RepoId::folder).map(|folder| (folder, Kind::Folder)));
            }
            Place::Repo(_) => {
                let folders = ["refs", "snapshots", "blobs", ".no_exist", "trees"];
                names.extend(folders.map(|name| (name.to_owned(), Kind::Folder)));
            }
            Place::Refs(repo) => self.add_revisions(&mut names, path, repo, "")?,
            Place::Ref(repo, revision) => {
                match self.find(path, place).await? {
                    Found::Virtual(_) | Found::Scratch(_) => {}
                    Found::Absent(_) => return Err(FsError::Stale),
                }
                self.add_revisions(&mut names, path, repo, &format!("{revision}/"))?;
            }
            Place::Snapshots(repo) => {
                let commits = self.tree.commits(identity, repo)?.into_iter();
                let is_shown =
                    |commit: &Commit| self.view.shows(&Place::Snapshot(repo.clone(), *commit, String::new()));
                names.extend(commits.filter(is_shown).map(|commit| (commit.to_string(), Kind::Folder)));
            }
            Place::Snapshot(repo, commit, folder) => {
                let snapshot = self.tree.whole_snapshot(identity, repo, *commit).await?;
                names.extend(snapshot.children(folder).map(|(name, entry)| (name.to_owned(), kind(entry, Kind::Link))));
            }
            Place::Shelf(kind, _) => self.add_shelf(&mut names, path, *kind)?,
            Place::Plain(repo, commit, folder) => {
                let snapshot = self.tree.whole_snapshot(identity, repo, *commit).await?;
                names.extend(snapshot.children(folder).map(|(name, entry)| (name.to_owned(), kind(entry, Kind::File))));
            }
            Place::Blobs(repo) => {
                names.extend(self.tree.blobs(identity, repo)?.iter().map(|blob| (blob.id.etag(), Kind::File)));
            }
            // What is not there is found by name only: it has no end.
            Place::NoExist(_) | Place::NoExistIn(..) | Place::Trees(_) => {}
            Place::Scratch => self.add_scratch(&mut names, path)?,
            Place::Blob(..) | Place::CommitLink(..) | Place::Newest(..) | Place::Discarded | Place::Nothing => {
                return Err(FsError::NotADirectory);
            }
        }
        Ok(names)
    }

    fn add_scratch(&self, names: &mut Names, path: &str) -> Result<(), FsError> {
        for (name, kind) in self.scratch.list(path)? {
            // A name that has a virtual meaning is that, whatever lies below it here.
            if matches!(Place::of(&join(path, &name)), Place::Scratch | Place::Ref(..)) {
                names.insert(name, kind.into());
            }
        }
        Ok(())
    }

    /// The next components of all pinned revisions below `prefix`.
    fn add_revisions(&self, names: &mut Names, path: &str, repo: &RepoId, prefix: &str) -> Result<(), FsError> {
        self.add_scratch(names, path)?;
        for (revision, _) in self.tree.revisions(&self.view.identity, repo)? {
            let Some(rest) = revision.strip_prefix(prefix) else { continue };
            if !Revision::new(&revision).is_ok_and(|name| self.view.shows(&Place::Ref(repo.clone(), name))) {
                continue;
            }
            match rest.split_once('/') {
                Some((folder, _)) => names.insert(folder.to_owned(), Kind::Folder),
                None => names.insert(rest.to_owned(), Kind::File),
            };
        }
        Ok(())
    }
}

/// By cookies, of which none comes twice: names of one hash follow each other in their own order.
fn put_in_order(listed: &mut [Listed]) {
    listed.sort_by(|one, other| (one.cookie, &one.name).cmp(&(other.cookie, &other.name)));
    for next in 1..listed.len() {
        listed[next].cookie = listed[next].cookie.max(Cookie(listed[next - 1].cookie.0 + 1));
    }
}

fn kind(entry: SnapshotEntry, file: Kind) -> Kind {
    match entry {
        SnapshotEntry::File(_) => file,
        SnapshotEntry::Folder => Kind::Folder,
    }
}
