//! Whole contents that are brought on purpose, that come from other files, and that go into others.

use super::*;
use crate::cache::{Adopted, Sharing};

const WHOLE: ByteRange = ByteRange { start: 0, end: LARGE as u64 };

impl Bench {
    async fn warm(&self) -> Result<u64, CacheError> {
        let mut present = 0;
        let lease = self.lease();
        self.cache.warm(&anybody(), &self.file, &lease, &mut |bytes| present = bytes).await.map(|()| present)
    }

    fn write(&self, content: &[u8]) -> std::path::PathBuf {
        let path = self.folder.path().join("foreign");
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn adopt(&self, content: &[u8], sharing: Sharing) -> Result<Adopted, CacheError> {
        let owner = (&self.file.repo, self.file.commit);
        self.cache.adopt(self.file.blob, &self.write(content), sharing, owner, &mut |_| {}).await
    }

    /// Bytes that its file takes on disk.
    fn on_disk(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.lease().0.file.path()).unwrap().blocks() * 512
    }
}

#[tokio::test]
async fn a_warmed_content_is_proved_when_it_is_told_to_be_here() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(blocks(3, 4)).await.unwrap();
    assert_eq!(bench.warm().await.unwrap(), LARGE as u64);
    assert!(bench.lease().0.seal().is_some());
    assert_eq!(bench.origin.asked_bytes(), LARGE as u64, "what was here is not fetched again");
}

#[tokio::test]
async fn wrong_bytes_are_fetched_again_before_a_content_counts_as_warmed() {
    let origin = Scripted::new(LARGE);
    origin.troubles.lock().push(Trouble::FlipAt(5));
    let bench = Bench::new(origin);
    bench.warm().await.unwrap();
    assert_eq!(bench.metrics.mismatched_blobs.get(), 1);
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
}

#[tokio::test]
async fn who_warms_is_told_why_it_failed() {
    let origin = Scripted::new(LARGE);
    origin.troubles.lock().extend((0..9).map(|_| Trouble::Refuse(OriginErrorKind::NoFile)));
    let bench = Bench::new(origin);
    let error = bench.warm().await.unwrap_err();
    assert!(matches!(error, CacheError::Origin(error) if error.kind == OriginErrorKind::NoFile));
}

#[tokio::test]
async fn an_adopted_content_is_here_without_the_origin_also_after_a_restart() {
    for sharing in [Sharing::Copy, Sharing::Link] {
        let bench = Bench::new(Scripted::new(LARGE));
        let content = bench.origin.content.clone();
        assert_eq!(bench.adopt(&content, sharing).await.unwrap(), Adopted::Kept);
        assert_eq!(bench.adopt(&content, sharing).await.unwrap(), Adopted::Present);
        assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
        assert_eq!(bench.cache.space().used, LARGE as u64);
        let bench = bench.restart().await;
        assert!(bench.lease().0.seal().is_some());
        assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
        assert_eq!(bench.origin.asked_bytes(), 0);
    }
}

#[tokio::test]
async fn what_is_not_what_it_is_called_leaves_nothing_behind() {
    for sharing in [Sharing::Copy, Sharing::Link] {
        let bench = Bench::new(Scripted::new(LARGE));
        let mut wrong = bench.origin.content.clone();
        wrong[7 << 20] ^= 1;
        let reads = async {
            // Whoever waits for what is being looked at fetches it instead, and never sees it.
            bench.read(blocks(5, 8)).await.unwrap()
        };
        let (adopted, read) = tokio::join!(bench.adopt(&wrong, sharing), reads);
        assert_eq!(adopted.unwrap(), Adopted::Different, "{sharing:?}");
        assert!(read == bench.content(blocks(5, 8)), "{sharing:?}");
        assert!(bench.on_disk() <= 4 * BLOCK_SIZE, "{sharing:?}");
        assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE), "{sharing:?}");
        wrong.pop();
        assert_eq!(bench.adopt(&wrong, sharing).await.unwrap(), Adopted::Different, "another length");
    }
}

#[tokio::test]
async fn what_is_here_in_part_is_completed_by_an_adopted_file() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.read(blocks(2, 5)).await.unwrap();
    let content = bench.origin.content.clone();
    assert_eq!(bench.adopt(&content, Sharing::Link).await.unwrap(), Adopted::Kept, "copied, since it is in use");
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
    assert_eq!(bench.origin.asked_bytes(), 3 * BLOCK_SIZE);
}

#[tokio::test]
async fn an_adoption_that_is_given_up_gives_back_what_it_held() {
    let bench = Bench::new(Scripted::new(LARGE));
    let content = bench.origin.content.clone();
    {
        let adopting = bench.adopt(&content, Sharing::Copy);
        tokio::pin!(adopting);
        // One step, and no more.
        assert!(futures::poll!(&mut adopting).is_pending());
    }
    assert!(bench.read(WHOLE).await.unwrap() == bench.content(WHOLE));
    assert_eq!(bench.cache.space().used, LARGE as u64);
}

#[tokio::test]
async fn a_copy_out_equals_the_content_and_damage_is_no_part_of_it() {
    let bench = Bench::new(Scripted::new(LARGE));
    bench.warm().await.unwrap();
    let copy = || async {
        let to = Arc::new(tempfile::tempfile().unwrap());
        let copied = bench.cache.copy_out(&bench.lease(), &to, &mut |_| {}).await;
        copied.map(|()| {
            let mut bytes = vec![0; LARGE];
            to.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        })
    };
    assert!(copy().await.unwrap() == bench.origin.content);
    bench.damage(6 * BLOCK_SIZE + 5);
    assert!(copy().await.is_err());
    bench.warm().await.unwrap();
    assert!(copy().await.unwrap() == bench.origin.content);
}
