//! In tests: a database whose writes fail, and what is left of one when the power goes.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ffi};

use super::{Database, DbError};

/// What the writing thread asks before it commits.
#[derive(Default)]
pub struct Troubles {
    ahead: Mutex<Failures>,
    calm: Mutex<()>,
}

/// How many commits succeed and how many fail after those.
#[derive(Default, Clone, Copy)]
struct Failures {
    before: u64,
    failing: u64,
}

impl Troubles {
    pub(super) fn strike(&self) -> Result<(), rusqlite::Error> {
        let mut ahead = self.ahead.lock();
        if ahead.before > 0 {
            ahead.before -= 1;
        } else if ahead.failing > 0 {
            ahead.failing -= 1;
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), None));
        }
        Ok(())
    }

    /// Nothing is being written while this is held.
    pub(super) fn calm(&self) -> MutexGuard<'_, ()> {
        self.calm.lock()
    }
}

impl Database {
    /// After `before` commits, `failing` of them are refused by the disk.
    pub fn fail_commits(&self, before: u64, failing: u64) {
        *self.writer.troubles.ahead.lock() = Failures { before, failing };
    }

    /// Whether it may grow by more than `pages`. The default limit is what SQLite has.
    pub async fn limit_growth(&self, pages: Option<u32>) -> Result<(), DbError> {
        self.write(move |db| {
            let now: u32 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let most = pages.map_or(1 << 30, |more| now + more);
            db.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
        })
        .await
    }

    /// Copies the database as a disk may have it when the power goes at this moment: `chance` says how much of what SQLite
    /// has not synced is there, and what lies behind that.
    ///
    /// With `synchronous = NORMAL` the log is synced before a checkpoint copies it, and never otherwise: whatever was not
    /// copied yet may be lost or torn.
    pub fn copy_at_power_cut(&self, from: &Path, to: &Path, chance: &mut dyn FnMut(u64) -> u64) -> io::Result<()> {
        const HEADER: u64 = 32;
        /// Of the index in shared memory: how many frames have been copied.
        const COPIED: usize = 96;
        let _calm = self.writer.troubles.calm();
        let beside = |path: &Path, suffix: &str| path.with_file_name(format!("models.db{suffix}"));
        fs::copy(from, to)?;
        let Ok(mut log) = fs::read(beside(from, "-wal")) else { return Ok(()) };
        if (log.len() as u64) < HEADER {
            return Ok(());
        }
        let page = u64::from(u32::from_be_bytes(log[8..12].try_into().expect("4 bytes")));
        let frame = page + 24;
        let index = fs::read(beside(from, "-shm"))?;
        let number = |at: usize| u64::from(u32::from_ne_bytes(index[at..at + 4].try_into().expect("4 bytes")));
        let (frames, copied) = (number(16), number(COPIED));
        let kept = HEADER + (copied + chance(frames - copied + 1)) * frame;
        match chance(3) {
            0 => log.truncate(kept as usize),
            1 => log.truncate((kept + chance(frame)).min(log.len() as u64) as usize),
            // Later pages came to the disk before this one.
            _ => log.iter_mut().skip(kept as usize).take(page as usize / 2).for_each(|byte| *byte = 0),
        }
        fs::write(beside(to, "-wal"), log)
    }
}

/// Another process that writes, until it is dropped.
pub struct Other(#[expect(dead_code, reason = "it is there to be held")] Connection);

impl Other {
    pub fn locks(path: &Path) -> Self {
        let connection = Connection::open(path).expect("it is there");
        connection.busy_timeout(Duration::from_secs(60)).expect("any time will do");
        connection.execute_batch("BEGIN IMMEDIATE").expect("the writer gives way");
        Self(connection)
    }
}

/// Checks every page and every index.
pub fn is_whole(path: &Path) -> bool {
    let check = |db: Connection| db.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    Connection::open(path).and_then(check).is_ok_and(|answer| answer == "ok")
}
