//! Directories as people have them: plain ones, caches of the Hub's clients, and what goes wrong with either.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;

use super::*;
use crate::types::{Blob, BlobId, RepoPath, SnapshotEntry};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// `hello` as `sha256sum` prints it.
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn anybody() -> Identity {
    Identity::new("http://hub", None, false)
}

fn tiny() -> RepoId {
    "acme/tiny".parse().unwrap()
}

fn write(root: &Path, path: &str, bytes: &[u8]) -> PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A cache of the Hub's clients with one file, and the folder of its repository.
fn hub_cache(root: &Path) -> PathBuf {
    let repo = root.join("models--acme--tiny");
    write(&repo, &format!("blobs/{HELLO}"), b"hello\n");
    write(&repo, "refs/main", COMMIT.as_bytes());
    let commit = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(commit.join("sub")).unwrap();
    symlink(format!("../../../blobs/{HELLO}"), commit.join("sub/hello.txt")).unwrap();
    repo
}

async fn main_of(origin: &DirectoryOrigin) -> Result<Snapshot, OriginError> {
    Ok(origin.discover(&anybody(), &tiny(), &Revision::main()).await?.snapshot.unwrap())
}

fn paths(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files().map(|(path, _)| path.as_str()).collect()
}

fn file(snapshot: &Snapshot, path: &str) -> RemoteFile {
    snapshot.remote_file(&RepoPath::new(path).unwrap()).unwrap()
}

async fn read(origin: &DirectoryOrigin, file: &RemoteFile, range: ByteRange) -> Result<Vec<u8>, OriginError> {
    let pieces: Vec<Bytes> = origin.open(&anybody(), file, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

async fn read_all(origin: &DirectoryOrigin, file: &RemoteFile) -> Result<Vec<u8>, OriginError> {
    read(origin, file, ByteRange::new(0, file.blob.size)).await
}

#[tokio::test]
async fn a_plain_folder_is_a_model_with_one_revision() {
    let root = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..3 * PIECE + 17).map(|n| (n % 251) as u8).collect();
    write(root.path(), "config.json", b"{}");
    write(root.path(), "sub/model.bin", &big);
    let origin = DirectoryOrigin::new(root.path(), Role::Model);
    let snapshot = main_of(&origin).await.unwrap();
    assert_eq!(paths(&snapshot), ["config.json", "sub/model.bin"]);
    let model = file(&snapshot, "sub/model.bin");
    assert_eq!(read_all(&origin, &model).await.unwrap(), big);
    let middle = ByteRange::new(PIECE - 3, 2 * PIECE + 5);
    assert_eq!(read(&origin, &model, middle).await.unwrap(), big[middle.start as usize..middle.end as usize]);
    let dev = Revision::new("dev").unwrap();
    assert_eq!(origin.resolve(&anybody(), &tiny(), &dev).await.unwrap_err().kind, OriginErrorKind::NoRevision);
}

#[tokio::test]
async fn a_file_that_changes_is_another_commit_and_its_old_content_is_gone() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "same", b"same");
    let path = write(root.path(), "changing", b"old");
    let origin = DirectoryOrigin::new(root.path(), Role::Model);
    let old = main_of(&origin).await.unwrap();
    assert_eq!(main_of(&origin).await.unwrap().commit, old.commit);
    fs::write(path, b"new").unwrap();
    let new = main_of(&origin).await.unwrap();
    assert_ne!(new.commit, old.commit);
    assert_eq!(
        new.entry("same").map(|entry| matches!(entry, SnapshotEntry::File(blob) if blob == file(&old, "same").blob)),
        Some(true)
    );
    let gone = read_all(&origin, &file(&old, "changing")).await.unwrap_err();
    assert_eq!(gone.kind, OriginErrorKind::NoFile);
    assert!(gone.to_string().contains("changed since it was listed"), "{gone}");
    let gone = origin.snapshot(&anybody(), &tiny(), old.commit).await.unwrap_err();
    assert_eq!(gone.kind, OriginErrorKind::NoRevision);
    assert_eq!(read_all(&origin, &file(&new, "changing")).await.unwrap(), b"new");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_breaks_off() {
    let root = tempfile::tempdir().unwrap();
    let path = write(root.path(), "model.bin", &vec![1; 3 * PIECE as usize]);
    let origin = DirectoryOrigin::new(root.path(), Role::Model);
    let model = file(&main_of(&origin).await.unwrap(), "model.bin");
    let mut stream = origin.open(&anybody(), &model, ByteRange::new(0, model.blob.size)).await.unwrap();
    assert_eq!(stream.try_next().await.unwrap().unwrap().len() as u64, PIECE);
    fs::write(path, vec![2; 3 * PIECE as usize]).unwrap();
    assert_eq!(stream.try_next().await.unwrap_err().kind, OriginErrorKind::NoFile);
    assert!(stream.try_next().await.unwrap().is_none(), "nothing follows");
}

#[tokio::test]
async fn no_link_leads_out_of_the_directory() {
    let outside = tempfile::tempdir().unwrap();
    let secret = write(outside.path(), "secret", b"secret");
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "real", b"real");
    symlink(&secret, root.path().join("absolute")).unwrap();
    symlink(format!("../{}/secret", outside.path().file_name().unwrap().display()), root.path().join("up")).unwrap();
    symlink(outside.path(), root.path().join("folder")).unwrap();
    symlink("nowhere", root.path().join("dangling")).unwrap();
    symlink("real", root.path().join("inside")).unwrap();
    let origin = DirectoryOrigin::new(root.path(), Role::Model);
    let snapshot = main_of(&origin).await.unwrap();
    assert_eq!(paths(&snapshot), ["inside", "real"]);
    // One that was a file when it was listed.
    let real = file(&snapshot, "real");
    fs::remove_file(root.path().join("real")).unwrap();
    symlink(&secret, root.path().join("real")).unwrap();
    assert!(read_all(&origin, &real).await.is_err());
}

#[tokio::test]
async fn a_pipe_or_a_socket_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a", b"a");
    nix::unistd::mkfifo(&root.path().join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let origin = DirectoryOrigin::new(root.path(), Role::Model);
    assert_eq!(paths(&main_of(&origin).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_no_repository_until_it_is() {
    let root = tempfile::tempdir().unwrap();
    let later = root.path().join("later");
    let origin = DirectoryOrigin::new(&later, Role::Model);
    assert_eq!(main_of(&origin).await.unwrap_err().kind, OriginErrorKind::NoRepo);
    write(&later, "a", b"a");
    assert_eq!(paths(&main_of(&origin).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_cache_of_the_hubs_clients_keeps_its_commits_and_the_names_of_its_contents() {
    let root = tempfile::tempdir().unwrap();
    let repo = hub_cache(root.path());
    let snapshot_folder = repo.join("snapshots").join(COMMIT);
    write(&snapshot_folder, "copied.txt", b"hello\n");
    let hello = Blob { id: BlobId::from_etag(HELLO).unwrap(), size: 6 };
    for place in [root.path().to_owned(), repo.clone()] {
        let origin = DirectoryOrigin::new(&place, Role::Model);
        let snapshot = main_of(&origin).await.unwrap();
        assert_eq!((snapshot.commit.to_string().as_str(), snapshot.partial), (COMMIT, true));
        assert_eq!(file(&snapshot, "sub/hello.txt").blob, hello);
        assert!(matches!(file(&snapshot, "copied.txt").blob.id, BlobId::Local(_)), "nobody says its hash");
        for path in ["sub/hello.txt", "copied.txt"] {
            assert_eq!(read_all(&origin, &file(&snapshot, path)).await.unwrap(), b"hello\n");
        }
    }
    // A commit's own folder is plain files, whose links lead beside it.
    let origin = DirectoryOrigin::new(&snapshot_folder, Role::Model);
    let snapshot = main_of(&origin).await.unwrap();
    assert_eq!(paths(&snapshot), ["copied.txt", "sub/hello.txt"]);
    assert_eq!(read_all(&origin, &file(&snapshot, "sub/hello.txt")).await.unwrap(), b"hello\n");
}

#[tokio::test]
async fn a_mirror_gives_a_content_by_its_hash_whatever_commit_it_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    hub_cache(&root.path().join("hub"));
    let origin = DirectoryOrigin::new(root.path(), Role::Mirror);
    let blob = Blob { id: BlobId::from_etag(HELLO).unwrap(), size: 6 };
    let path = RepoPath::new("other/name").unwrap();
    let asked = RemoteFile { repo: tiny(), commit: Commit::from_bytes([9; 20]), path, blob };
    assert_eq!(read_all(&origin, &asked).await.unwrap(), b"hello\n");
    let longer = RemoteFile { blob: Blob { size: 7, ..blob }, ..asked.clone() };
    assert_eq!(read_all(&origin, &longer).await.unwrap_err().kind, OriginErrorKind::NoFile);
    let other = RemoteFile { repo: "acme/other".parse().unwrap(), ..asked };
    assert_eq!(read_all(&origin, &other).await.unwrap_err().kind, OriginErrorKind::NoRepo);
}

#[tokio::test]
async fn a_cut_file_is_an_error_and_not_a_wait() {
    let root = tempfile::tempdir().unwrap();
    let path = write(root.path(), "model.bin", &vec![1; 2 * PIECE as usize]);
    let origin = DirectoryOrigin::new(root.path(), Role::Model);
    let model = file(&main_of(&origin).await.unwrap(), "model.bin");
    let mut stream = origin.open(&anybody(), &model, ByteRange::new(0, model.blob.size)).await.unwrap();
    stream.try_next().await.unwrap();
    fs::File::options().write(true).open(path).unwrap().set_len(PIECE).unwrap();
    assert!(stream.try_next().await.is_err());
}
