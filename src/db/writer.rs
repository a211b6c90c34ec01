//! The one thread that writes: jobs that wait together share a transaction.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::RwLock;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::DbError;
use super::damage::{Watch, is_damage};

/// A unit of work. It runs inside the batch's transaction, if there still is one, and returns what announces the outcome
/// after the commit.
type Job = Box<dyn FnOnce(Option<&Connection>, &Watch) -> Announce + Send>;
type Announce = Box<dyn FnOnce(Result<(), DbError>) + Send>;

pub(super) struct Writer {
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    #[cfg(test)]
    pub(super) troubles: Arc<super::trouble::Troubles>,
}

/// What the writing thread does with jobs that waited together.
struct Batches {
    watch: Arc<Watch>,
    #[cfg(test)]
    troubles: Arc<super::trouble::Troubles>,
}

impl Writer {
    /// Jobs in one transaction at the most; more wait for the next.
    const BATCH: usize = 256;
    /// Jobs that may wait; beyond it whoever submits waits too.
    const QUEUE: usize = 4096;

    /// `turns` are taken with readers, if they must not read meanwhile.
    pub(super) fn start(mut connection: Connection, turns: Option<Arc<RwLock<()>>>, watch: Arc<Watch>) -> Self {
        let (jobs, queue) = mpsc::sync_channel(Self::QUEUE);
        #[cfg(test)]
        let troubles = Arc::<super::trouble::Troubles>::default();
        let batches = Batches {
            watch,
            #[cfg(test)]
            troubles: troubles.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || {
                while let Ok(first) = queue.recv() {
                    let batch: Vec<Job> =
                        std::iter::once(first).chain(queue.try_iter().take(Self::BATCH - 1)).collect();
                    let _turn = turns.as_ref().map(|turns| turns.write());
                    #[cfg(test)]
                    let _calm = batches.troubles.calm();
                    batches.run(&mut connection, batch);
                }
                // The last one out leaves one file: everything in the log goes into the database.
                if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                    tracing::warn!(%error, "the database's log could not be folded in; the next start will do it");
                }
            })
            .expect("a thread can be started at start-up");
        Self {
            jobs: Some(jobs),
            thread: Some(thread),
            #[cfg(test)]
            troubles,
        }
    }

    pub(super) async fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DbError> {
        let (sender, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection, watch| {
            let result = connection.map(|connection| {
                in_savepoint(connection, job).inspect_err(|error| watch.look_at(error)).map_err(DbError::from)
            });
            Box::new(move |committed| {
                // A job that did not run hears why the batch failed.
                let _ = sender.send(committed.and(result.unwrap_or(Err(DbError::Closed))));
            })
        });
        self.jobs.as_ref().ok_or(DbError::Closed)?.send(job).map_err(|_| DbError::Closed)?;
        outcome.await.map_err(|_| DbError::Closed)?
    }
}

impl Batches {
    fn run(&self, connection: &mut Connection, batch: Vec<Job>) {
        let announcements = |transaction: Option<&Connection>| -> Vec<Announce> {
            // A write that finds no room, or a disk that fails, may take the whole transaction back.
            let alive = |transaction: &&Connection| !transaction.is_autocommit();
            batch.into_iter().map(|job| job(transaction.filter(alive), &self.watch)).collect()
        };
        let (announcements, committed) = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => (announcements(Some(&transaction)), self.commit(transaction)),
            Err(error) => (announcements(None), Err(error)),
        };
        if let Err(error) = &committed {
            self.watch.look_at(error);
            tracing::error!(%error, "the database could not write");
        }
        for announce in announcements {
            announce(match &committed {
                Ok(()) => Ok(()),
                Err(error) if is_damage(error) => Err(DbError::FoundDamaged(error.to_string())),
                Err(error) => Err(DbError::NotWritten(error.to_string())),
            });
        }
    }

    fn commit(&self, transaction: Transaction<'_>) -> Result<(), rusqlite::Error> {
        #[cfg(test)]
        self.troubles.strike()?;
        transaction.commit()
    }
}

/// A job that fails takes back what it did and leaves the rest of the batch alone.
fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    connection.execute_batch("SAVEPOINT job")?;
    let result = job(connection);
    if result.is_err() && connection.is_autocommit() {
        // There is nothing left to take back.
        return result;
    }
    connection.execute_batch(if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" })?;
    result
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_job_does_not_take_its_neighbours_along() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let watch = Watch::new(std::path::Path::new("/nonexistent"), Arc::default());
        let writer = Writer::start(connection, None, Arc::new(watch));
        let insert = |x: i64| writer.submit(move |db| db.execute("INSERT INTO t VALUES (?1)", [x]));
        let (first, second, third) = tokio::join!(insert(1), insert(1), insert(2));
        assert!(first.is_ok() && second.is_err() && third.is_ok());
        let count = writer.submit(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)));
        assert_eq!(count.await.unwrap(), 2);
    }
}
