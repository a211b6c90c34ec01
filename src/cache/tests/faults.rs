//! Every operation of the disk and every write of the database fails in turn: readers get right bytes or an error, nothing
//! hangs, and when the fault is gone all is well without a restart.

use nix::libc::{EINTR, EIO, ENOSPC};

use super::disks::{Fault, FaultyDisk, Op, Plan};
use super::stories::{Life, library};
use super::*;
use crate::cache::disk::LocalDisk;
use crate::db::trouble::Other;

const FOR_GOOD: u64 = u64::MAX;

/// After a life in trouble that is over now.
async fn all_is_well(life: Life, folder: &std::path::Path) {
    let library = life.library.clone();
    assert_eq!(life.read_all().await.failed, 0, "the fault is gone");
    assert_eq!(life.metrics.mismatched_blobs.get(), 0, "no origin was at fault");
    life.end().await;
    let life = Life::begin(folder, &library, Arc::new(LocalDisk)).unwrap();
    assert_eq!(life.read_all().await.failed, 0, "after a restart");
    life.end().await;
}

async fn disk_fault(plan: Plan) {
    println!("{plan:?}");
    let (folder, library, disk) = (tempfile::tempdir().unwrap(), library(), Arc::new(FaultyDisk::default()));
    let life = Life::begin(folder.path(), &library, disk.clone()).unwrap();
    disk.arm(plan);
    let reads = life.read_all().await;
    let none_can_be_served = plan.op == Op::Open || (plan.op == Op::Read && plan.failing == FOR_GOOD);
    if !none_can_be_served {
        assert_eq!(reads.failed, 0, "what the disk does not take or give comes from the origin");
    }
    life.live(plan.before, true).await;
    disk.heal();
    all_is_well(life, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_disk_refuses_readers_get_right_bytes_and_it_passes() {
    for op in Op::ALL {
        for (fault, failing, before) in [(EIO, 1, 5), (EIO, FOR_GOOD, 0), (ENOSPC, FOR_GOOD, 3)] {
            disk_fault(Plan { op, before, failing, fault: Fault::Errno(fault) }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; make test-full"]
async fn whatever_the_disk_refuses_at_length() {
    for op in Op::ALL {
        for (fault, failing) in [(EIO, 1), (EIO, 3), (EIO, FOR_GOOD), (ENOSPC, 2), (ENOSPC, FOR_GOOD), (EINTR, 7)] {
            for before in 0..40 {
                disk_fault(Plan { op, before, failing, fault: Fault::Errno(fault) }).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_and_interrupted_operations_are_gone_on_with() {
    for op in [Op::Read, Op::Write] {
        disk_fault(Plan { op, before: 2, failing: 1000, fault: Fault::Short }).await;
    }
    for op in [Op::Read, Op::Write, Op::Sync] {
        disk_fault(Plan { op, before: 1, failing: 3, fault: Fault::Errno(EINTR) }).await;
    }
}

/// A disk that cannot sync tells it once, and what it was given may be gone: that it can still be read proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_synced_is_fetched_again_and_never_sealed_as_it_is() {
    let (folder, library, disk) = (tempfile::tempdir().unwrap(), library(), Arc::new(FaultyDisk::default()));
    let life = Life::begin(folder.path(), &library, disk.clone()).unwrap();
    disk.arm(Plan { op: Op::Sync, before: 0, failing: FOR_GOOD, fault: Fault::Errno(EIO) });
    life.read_all().await;
    life.cache.flush().await;
    for file in &library.files {
        let entry = life.cache.lease(file.blob).unwrap().0;
        assert!(!entry.map.all().iter().any(|block| entry.map.has(block)), "it is not here any more");
        assert!(life.db.coverage(&file.blob).unwrap().iter().all(|chunk| chunk.present == 0));
        assert!(life.db.blob(&file.blob).unwrap().is_none_or(|row| row.seal.is_none()));
    }
    disk.heal();
    assert_eq!(life.read_all().await.failed, 0);
    life.all_sealed().await;
    all_is_well(life, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_disk_fails_at_any_commit_costs_no_reader_anything() {
    for (before, failing) in [0, 3, 7].into_iter().flat_map(|before| [(before, 1), (before, FOR_GOOD)]) {
        println!("{failing} commits fail after {before}");
        let (folder, library) = (tempfile::tempdir().unwrap(), library());
        let life = Life::begin(folder.path(), &library, Arc::new(LocalDisk)).unwrap();
        life.db.fail_commits(before, failing);
        assert_eq!(life.read_all().await.failed, 0);
        life.live(before, true).await;
        life.db.fail_commits(0, 0);
        assert_eq!(life.read_all().await.failed, 0);
        life.all_sealed().await;
        all_is_well(life, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_another_process_locks_costs_no_reader_anything() {
    let (folder, library) = (tempfile::tempdir().unwrap(), library());
    let life = Life::begin(folder.path(), &library, Arc::new(LocalDisk)).unwrap();
    let other = Other::locks(&folder.path().join("models.db"));
    assert_eq!(life.read_all().await.failed, 0);
    life.live(1, true).await;
    drop(other);
    assert_eq!(life.read_all().await.failed, 0);
    life.all_sealed().await;
    all_is_well(life, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_finds_no_room_costs_no_reader_anything() {
    for pages in [0, 1, 3] {
        let (folder, library) = (tempfile::tempdir().unwrap(), library());
        let life = Life::begin(folder.path(), &library, Arc::new(LocalDisk)).unwrap();
        life.db.limit_growth(Some(pages)).await.unwrap();
        assert_eq!(life.read_all().await.failed, 0);
        life.live(pages.into(), true).await;
        life.db.limit_growth(None).await.unwrap();
        assert_eq!(life.read_all().await.failed, 0);
        life.all_sealed().await;
        all_is_well(life, folder.path()).await;
    }
}

/// Pages that turn to nonsense while the database is in use: what is open reads on, and the next start makes it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_damaged_in_use_never_makes_a_wrong_byte() {
    for seed in 0..6 {
        let (folder, library) = (tempfile::tempdir().unwrap(), library());
        let life = Life::begin(folder.path(), &library, Arc::new(LocalDisk)).unwrap();
        life.live(seed, false).await;
        life.end().await;
        let life = Life::begin(folder.path(), &library, Arc::new(LocalDisk)).unwrap();
        let path = folder.path().join("models.db");
        let pages = std::fs::metadata(&path).unwrap().len() / 4096;
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for page in (1..pages).filter(|page| page % 3 == seed % 3) {
            file.write_all_at(&[0x5a; 4096], page * 4096).unwrap();
        }
        // An error is an answer here; a wrong byte ends the test.
        life.read_all().await;
        life.live(seed, true).await;
        life.end().await;
        let life = Life::begin(folder.path(), &library, Arc::new(LocalDisk)).unwrap();
        assert_eq!(life.read_all().await.failed, 0, "seed {seed}: it is made anew");
        all_is_well(life, folder.path()).await;
    }
}
