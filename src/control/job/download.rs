//! Brings the files of a model here before somebody reads them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use futures::{StreamExt, TryStreamExt, stream};
use globset::{Glob, GlobSet, GlobSetBuilder};
use parking_lot::Mutex;

use super::super::error::ControlError;
use super::super::parts::Parts;
use super::names::{ModelName, files};
use super::progress::Progress;
use crate::types::{Blob, Commit, Identity, RemoteFile};

/// Files under way together. Their blocks share the cache's memory and connections with everybody else.
const AT_ONCE: usize = 4;

#[derive(Debug)]
pub struct Download {
    pub model: ModelName,
    /// Shell patterns over whole paths, as the Hub's own clients read them: `*` also stands for `/`. None means all.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Also keeps the model from being evicted.
    pub pin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    pub commit: Commit,
    pub files: u64,
    pub bytes: u64,
    /// What was not here before.
    pub fetched_bytes: u64,
}

pub(super) async fn download(parts: &Parts, order: Download, progress: &Progress) -> Result<Downloaded, ControlError> {
    let Download { model, include, exclude, .. } = &order;
    let (include, exclude) = (patterns(include)?, patterns(exclude)?);
    let snapshot = parts.find(model, progress).await?;
    let wanted = |path: &str| (include.is_empty() || include.is_match(path)) && !exclude.is_match(path);
    let files = files(&snapshot, wanted);
    if files.is_empty() && !snapshot.is_empty() {
        let text = format!("{model}: none of its {} files is meant by these patterns", snapshot.len());
        return Err(ControlError::Refused(text));
    }
    if order.pin {
        parts.db.keep(&model.identity.endpoint, &model.repo, &model.revision).await?;
    }
    let count = files.len() as u64;
    let (bytes, fetched_bytes) = parts.bring(model, files, progress).await?;
    Ok(Downloaded { commit: snapshot.commit, files: count, bytes, fetched_bytes })
}

fn patterns(texts: &[String]) -> Result<GlobSet, ControlError> {
    let mut set = GlobSetBuilder::new();
    for text in texts {
        // A folder means all that is in it.
        let text = if text.ends_with('/') { format!("{text}*") } else { text.clone() };
        let glob =
            Glob::new(&text).map_err(|error| ControlError::BadRequest(format!("`{text}` is no pattern: {error}")))?;
        set.add(glob);
    }
    set.build().map_err(|error| ControlError::BadRequest(format!("these patterns are too many: {error}")))
}

impl Parts {
    /// Brings every one of `files` here, complete and proved. Answers the size of their contents and how much of it came now.
    pub(super) async fn bring(
        &self,
        model: &ModelName,
        files: Vec<RemoteFile>,
        progress: &Progress,
    ) -> Result<(u64, u64), ControlError> {
        if let Some(file) = files.first() {
            self.tree.authorize(&model.identity, file).await.map_err(|error| model.error(error))?;
        }
        let tally = Tally::start(self, &files, progress)?;
        self.refuse_too_large(model, &files, &tally)?;
        let files = tally.by_content(files);
        let brought = stream::iter(files).map(|(file, names)| {
            let tally = &tally;
            async move {
                self.bring_one(&model.identity, &file, tally).await.map_err(|source| ControlError::Content {
                    model: model.to_string(),
                    path: file.path.to_string(),
                    source,
                })?;
                tally.file_done(names);
                Ok::<_, ControlError>(())
            }
        });
        let outcome = brought.buffer_unordered(AT_ONCE).try_collect::<()>().await;
        // Whatever came is on record when this is over.
        self.cache.flush().await;
        outcome.map(|()| (tally.total, tally.fetched()))
    }

    /// Told before hours of work, not after them.
    fn refuse_too_large(&self, model: &ModelName, files: &[RemoteFile], tally: &Tally) -> Result<(), ControlError> {
        let missing = tally.total.saturating_sub(tally.present.lock().sum);
        let Some(file) = files.first().filter(|_| missing > 0) else { return Ok(()) };
        if self.cache.has_room(&file.repo, file.commit, missing) {
            return Ok(());
        }
        let state = self.cache.space();
        Err(ControlError::Refused(format!(
            "{model}: {missing} bytes of it are missing, and the cache has no room for them, whatever of it is evicted \
             (free now: {} bytes); raise cache.max_size_bytes, free disk space, or clear or unpin other models",
            state.free
        )))
    }

    async fn bring_one(
        &self,
        identity: &Identity,
        file: &RemoteFile,
        tally: &Tally<'_>,
    ) -> Result<(), crate::cache::CacheError> {
        let lease = self.cache.lease(file.blob)?;
        let mut report = |bytes| tally.present(file.blob, bytes);
        let warmed = self.cache.warm(identity, file, &lease, &mut report).await;
        if let Err(crate::cache::CacheError::Origin(error)) = &warmed {
            self.tree.denied(identity, &file.repo, error).await;
        }
        warmed
    }
}

/// What is here of the contents that a job wants.
struct Tally<'a> {
    progress: &'a Progress,
    total: u64,
    present: Mutex<Present>,
}

struct Present {
    by_content: HashMap<Blob, u64>,
    sum: u64,
    at_start: u64,
}

impl<'a> Tally<'a> {
    fn start(parts: &Parts, files: &[RemoteFile], progress: &'a Progress) -> Result<Self, ControlError> {
        let mut by_content = HashMap::new();
        for file in files {
            if let Entry::Vacant(unknown) = by_content.entry(file.blob) {
                unknown.insert(parts.db.cached_bytes_of(&file.blob)?);
            }
        }
        let total = by_content.keys().map(|blob| blob.size).sum();
        let sum = by_content.values().sum();
        progress.update(|position| {
            position.step = "downloading";
            (position.bytes, position.total_bytes) = (sum, total);
            (position.files, position.total_files) = (0, files.len() as u64);
        });
        Ok(Self { progress, total, present: Mutex::new(Present { by_content, sum, at_start: sum }) })
    }

    /// One file for each content, with how many files have it; in the order of their paths.
    fn by_content(&self, files: Vec<RemoteFile>) -> Vec<(RemoteFile, u64)> {
        let mut found: Vec<(RemoteFile, u64)> = Vec::new();
        let mut places = HashMap::new();
        for file in files {
            match places.get(&file.blob) {
                Some(place) => {
                    let (_, names): &mut (RemoteFile, u64) = &mut found[*place];
                    *names += 1;
                }
                None => {
                    places.insert(file.blob, found.len());
                    found.push((file, 1));
                }
            }
        }
        found
    }

    fn present(&self, blob: Blob, bytes: u64) {
        let mut present = self.present.lock();
        let known = present.by_content.insert(blob, bytes).unwrap_or_default();
        present.sum = present.sum.saturating_sub(known) + bytes;
        let sum = present.sum;
        self.progress.update(|position| position.bytes = sum);
    }

    fn file_done(&self, names: u64) {
        self.progress.update(|position| position.files += names);
    }

    fn fetched(&self) -> u64 {
        let present = self.present.lock();
        present.sum.saturating_sub(present.at_start)
    }
}
