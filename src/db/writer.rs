//! The one thread that writes: jobs that wait together share a transaction.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::RwLock;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::DbError;
use super::damage::{Watch, is_damage};

/// A unit of work. It runs inside the batch's transaction and returns what announces the outcome after the commit.
type Job = Box<dyn FnOnce(&Connection, &Watch) -> Announce + Send>;
type Announce = Box<dyn FnOnce(Result<(), DbError>) + Send>;

pub(super) struct Writer {
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Jobs in one transaction at the most; more wait for the next.
    const BATCH: usize = 256;
    /// Jobs that may wait; beyond it whoever submits waits too.
    const QUEUE: usize = 4096;

    /// `turns` are taken with readers, if they must not read meanwhile.
    pub(super) fn start(mut connection: Connection, turns: Option<Arc<RwLock<()>>>, watch: Arc<Watch>) -> Self {
        let (jobs, queue) = mpsc::sync_channel(Self::QUEUE);
        let thread = std::thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || {
                while let Ok(first) = queue.recv() {
                    let batch: Vec<Job> =
                        std::iter::once(first).chain(queue.try_iter().take(Self::BATCH - 1)).collect();
                    let _turn = turns.as_ref().map(|turns| turns.write());
                    Self::run(&mut connection, batch, &watch);
                }
                // The last one out leaves one file: everything in the log goes into the database.
                if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                    tracing::warn!(%error, "the database's log could not be folded in; the next start will do it");
                }
            })
            .expect("a thread can be started at start-up");
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    fn run(connection: &mut Connection, batch: Vec<Job>, watch: &Watch) {
        let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => transaction,
            // Dropping the jobs tells their callers that the write did not happen.
            Err(error) => {
                watch.look_at(&error);
                return tracing::error!(%error, "the database refuses writes");
            }
        };
        let announcements: Vec<Announce> = batch.into_iter().map(|job| job(&transaction, watch)).collect();
        let committed = transaction.commit();
        if let Err(error) = &committed {
            watch.look_at(error);
            tracing::error!(%error, "the database could not commit");
        }
        for announce in announcements {
            announce(match &committed {
                Ok(()) => Ok(()),
                Err(error) if is_damage(error) => Err(DbError::FoundDamaged(error.to_string())),
                Err(error) => Err(DbError::NotWritten(error.to_string())),
            });
        }
    }

    pub(super) async fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DbError> {
        let (sender, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection, watch| {
            let result = in_savepoint(connection, job).inspect_err(|error| watch.look_at(error));
            Box::new(move |committed| {
                let _ = sender.send(committed.and(result.map_err(DbError::from)));
            })
        });
        self.jobs.as_ref().ok_or(DbError::Closed)?.send(job).map_err(|_| DbError::Closed)?;
        outcome.await.map_err(|_| DbError::Closed)?
    }
}

/// A job that fails takes back what it did and leaves the rest of the batch alone.
fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    connection.execute_batch("SAVEPOINT job")?;
    let result = job(connection);
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
