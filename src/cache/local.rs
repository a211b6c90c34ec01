//! Contents that an origin has on this very disk: taken over by a second name instead of copied.
//!
//! Only where the file's name is a hash of its bytes: those are proved before anything of it is served, and nobody writes
//! to such a file in place. It happens when the file is opened, and not if anything of it is here already.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::BlockCache;
use super::adopt::Adopted;
use crate::types::RemoteFile;

impl BlockCache {
    /// How long an open waits for the proof of a whole file. One that takes longer is copied block by block, as any other.
    const TAKE_OVER: Duration = Duration::from_secs(20);

    /// Takes over the origin's own file if there is one on this disk.
    pub async fn take_over(self: &Arc<Self>, file: &RemoteFile) {
        if self.held_bytes(&file.blob) > 0 || self.is_open(&file.blob) {
            return;
        }
        let Some(path) = self.origin.local(file).await else { return };
        let taking = async {
            let taken = tokio::time::timeout(Self::TAKE_OVER, self.link_local(file, &path)).await;
            let refused = match taken {
                Ok(Ok(())) => return,
                Ok(Err(why)) => why,
                Err(_) => format!("its proof takes longer than {} s", Self::TAKE_OVER.as_secs()),
            };
            tracing::debug!(path = %path.display(), refused, "a file of this disk is not taken over and is copied");
        };
        self.taken_over.get_with(file.blob, taking).await
    }

    async fn link_local(self: &Arc<Self>, file: &RemoteFile, path: &Path) -> Result<(), String> {
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).map_err(|error| error.to_string());
        if device(path)? != device(self.store.root())? {
            return Err("it lies on another disk".to_owned());
        }
        let source = File::open(path).map_err(|error| error.to_string())?;
        let owner = (&file.repo, file.commit);
        match self.adopt_linked(file.blob, path, &source, owner, &mut |_| ()).await {
            Ok(Some(Adopted::Different)) => {
                self.origin.disproved(&file.blob);
                Err("it is not what it is called".to_owned())
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it cannot be linked".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}
