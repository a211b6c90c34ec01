//! Writes a model out of the cache: as a plain folder, or as the Hub's own clients keep it.

mod folder;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::names::{ModelName, files};
use super::progress::Progress;
use crate::cache::CacheError;
use crate::fs::mount::{containing_mount, resolve};
use crate::tree::layout;
use crate::types::{Commit, RemoteFile, Snapshot};
use folder::Folder;

/// Files that are named when they are missing; of more the number is told.
const NAMED: usize = 10;

#[derive(Debug)]
pub struct Export {
    pub model: ModelName,
    /// Absolute. Made where it is not there.
    pub directory: PathBuf,
    /// As a `hub` folder of the Hub's own clients, instead of the files alone.
    pub hub_cache: bool,
    /// Of whoever asked, for the modes of new files.
    pub umask: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub commit: Commit,
    pub files: u64,
    pub bytes: u64,
    /// The rest was there already.
    pub written_bytes: u64,
}

pub(super) async fn export(parts: &Parts, order: Export, progress: &Progress) -> Result<Exported, ControlError> {
    let Export { model, directory, hub_cache, umask } = &order;
    parts.refuse_place(directory)?;
    let home = hub_folder(model, *hub_cache)?;
    let snapshot = parts.find(model, progress).await?;
    let all = files(&snapshot, |_| true);
    if model.identity.offline {
        parts.refuse_missing(model, &all)?;
    }
    parts.bring(model, all.clone(), progress).await?;
    let bytes = all.iter().map(|file| file.blob.size).sum();
    progress.update(|position| {
        (position.step, position.bytes, position.total_bytes) = ("writing", 0, bytes);
        (position.files, position.total_files) = (0, all.len() as u64);
    });
    let opening = directory.clone();
    let umask = *umask;
    let folder = blocking(directory, "write there", move || Folder::open(&opening, umask)).await?;
    let mut exporter = Exporter { parts, order: &order, folder: Arc::new(folder), progress, before: 0, written: 0 };
    for file in &all {
        match &home {
            Some(home) => exporter.write_linked(home, file).await?,
            None => exporter.write(file.path.as_str(), file).await?,
        }
        progress.update(|position| position.files += 1);
    }
    if let Some(home) = &home {
        exporter.write_ref(home, &snapshot).await?;
    }
    Ok(Exported { commit: snapshot.commit, files: all.len() as u64, bytes, written_bytes: exporter.written })
}

/// The repository's folder in the Hub's own layout, if it is to be written so.
fn hub_folder(model: &ModelName, hub_cache: bool) -> Result<Option<String>, ControlError> {
    match (hub_cache, model.repo.folder()) {
        (true, None) => Err(ControlError::BadRequest(format!(
            "{model}: a Hub's cache has no place for it; export it as plain files"
        ))),
        (hub_cache, folder) => Ok(folder.filter(|_| hub_cache)),
    }
}

impl Parts {
    /// Into a mount of ours the daemon would write to itself; what lies in the cache is the cache's.
    fn refuse_place(&self, directory: &Path) -> Result<(), ControlError> {
        let at = directory.display();
        if let Some(mount) = containing_mount(directory) {
            let text = format!("{at}: it lies inside the weightfs mount {}", mount.directory.display());
            return Err(ControlError::Refused(text));
        }
        if resolve(directory).starts_with(&self.cache_directory) {
            let text = format!("{at}: it lies inside the cache {}", self.cache_directory.display());
            return Err(ControlError::Refused(text));
        }
        Ok(())
    }

    fn refuse_missing(&self, model: &ModelName, files: &[RemoteFile]) -> Result<(), ControlError> {
        let mut missing = Vec::new();
        for file in files {
            if self.db.cached_bytes_of(&file.blob)? < file.blob.size {
                missing.push(file.path.as_str());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let more = if missing.len() > NAMED { ", …" } else { "" };
        Err(ControlError::Refused(format!(
            "{model}: {} of {} files are not all here, and this is offline: {}{more}; run it online, or `weightfs model \
             download` first",
            missing.len(),
            files.len(),
            missing[..missing.len().min(NAMED)].join(", "),
        )))
    }
}

struct Exporter<'a> {
    parts: &'a Parts,
    order: &'a Export,
    folder: Arc<Folder>,
    progress: &'a Progress,
    /// Bytes of the files before this one.
    before: u64,
    written: u64,
}

impl Exporter<'_> {
    /// `models--ORG--NAME/blobs/ETAG`, and the link that leads there.
    async fn write_linked(&mut self, home: &str, file: &RemoteFile) -> Result<(), ControlError> {
        self.write(&format!("{home}/blobs/{}", file.blob.id.etag()), file).await?;
        let link = format!("{home}/snapshots/{}/{}", file.commit, file.path);
        let target = layout::link_target(&file.path, &file.blob.id);
        self.act(&link.clone(), move |folder| folder.link(&link, &target)).await
    }

    /// What a client reads where it is asked for a branch offline.
    async fn write_ref(&self, home: &str, snapshot: &Snapshot) -> Result<(), ControlError> {
        let revision = &self.order.model.revision;
        if revision.as_commit().is_some() {
            return Ok(());
        }
        let (path, commit) = (format!("{home}/refs/{revision}"), snapshot.commit.to_string());
        self.act(&path.clone(), move |folder| {
            let (mut file, unnamed) = folder.create(&path)?;
            file.write_all(commit.as_bytes())?;
            unnamed.name()
        })
        .await
    }

    /// The content of `file` at `path`, unless it is there.
    async fn write(&mut self, path: &str, file: &RemoteFile) -> Result<(), ControlError> {
        let (blob, at) = (file.blob, path.to_owned());
        let known = self.act(path, move |folder| Ok(folder.has(&at, &blob))).await?;
        if !known {
            let at = path.to_owned();
            let (to, unnamed) = self.act(path, move |folder| folder.create(&at)).await?;
            self.copy(file, Arc::new(to)).await.map_err(|source| self.failed(path, source))?;
            self.act(path, move |_| unnamed.name()).await?;
            self.written += blob.size;
        }
        self.before += blob.size;
        self.progress.update(|position| position.bytes = self.before);
        Ok(())
    }

    async fn copy(&self, file: &RemoteFile, to: Arc<std::fs::File>) -> Result<(), CacheError> {
        let lease = self.parts.cache.lease(file.blob)?;
        let mut done = |bytes| self.progress.update(|position| position.bytes = self.before + bytes);
        match self.parts.cache.copy_out(&lease, &to, &mut done).await {
            // Lost on the way: damage on disk that nobody had seen, or room that was needed.
            Err(CacheError::NotKept(_)) => {
                self.parts.cache.warm(&self.order.model.identity, file, &lease, &mut |_| {}).await?;
                self.parts.cache.copy_out(&lease, &to, &mut done).await
            }
            copied => copied,
        }
    }

    fn failed(&self, path: &str, source: CacheError) -> ControlError {
        match source {
            CacheError::NotWritten(cause) => ControlError::File {
                action: "write",
                path: self.order.directory.join(path),
                cause: std::io::Error::new(cause.kind(), cause.to_string()),
            },
            source => ControlError::Content { model: self.order.model.to_string(), path: path.to_owned(), source },
        }
    }

    async fn act<T: Send + 'static>(
        &self,
        path: &str,
        act: impl FnOnce(&Folder) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, ControlError> {
        let folder = self.folder.clone();
        blocking(&self.order.directory.join(path), "write", move || act(&folder)).await
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    action: &'static str,
    act: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ControlError> {
    let done = tokio::task::spawn_blocking(act).await.map_err(|_| ControlError::Broken)?;
    done.map_err(|cause| ControlError::File { action, path: path.to_owned(), cause })
}
