//! A Xet store for tests: the CAS server that the Xet crates simulate, behind a front that counts what goes over the wire,
//! takes only tokens of the Hub's stand-in, and has faults on request.
//!
//! ```no_run
//! let cas = test_cas::Cas::start()?;
//! let hash = cas.store(b"weights")?;
//! cas.set_fault(Some((test_cas::On::Plans, test_cas::Fault::Hang)));
//! assert!(cas.log().is_empty());
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! A file's hash goes to `Hub::set_xet_hash`, `Cas::endpoint` to the Hub's option `xet_store`.

mod faults;
mod front;
mod store;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

pub use faults::{Fault, On};
pub use front::Request;

use front::Front;
use store::Store;

/// A running store; dropping it closes its ports.
pub struct Cas {
    front: Arc<Front>,
    store: Store,
    endpoint: String,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cas {
    /// An empty store on two free loopback ports.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (inner, outer) = (listen()?, listen()?);
        let endpoint = format!("http://{}", outer.local_addr()?);
        let front = Arc::new(Front::new(format!("http://{}", inner.local_addr()?)));
        let inner = tokio_listener(&runtime, inner)?;
        let store = elsewhere(|| runtime.block_on(Store::start(inner, &runtime)))?;
        runtime.spawn(front::serve(front.clone(), tokio_listener(&runtime, outer)?));
        let (stop, stopped) = oneshot::channel();
        let handle = runtime.handle().clone();
        // A thread of its own, since a runtime cannot be dropped where another one runs.
        let thread = std::thread::spawn(move || drop(runtime.block_on(stopped)));
        Ok(Self { front, store, endpoint, runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stores a file as an upload does, and says its hash. Chunks that are here already are not stored again.
    pub fn store(&self, bytes: &[u8]) -> anyhow::Result<String> {
        elsewhere(|| self.runtime.block_on(self.store.upload(bytes))).context("cannot store a file")
    }

    /// From now on, instead of the fault there was.
    pub fn set_fault(&self, fault: Option<(On, Fault)>) {
        *self.front.fault.lock() = fault;
    }

    /// Bytes per second of all answers together.
    pub fn set_bandwidth(&self, bytes_per_second: Option<u64>) {
        *self.front.bandwidth.lock() = bytes_per_second;
    }

    /// Tokens with this and earlier numbers are refused from now on.
    pub fn revoke_tokens_up_to(&self, number: u64) {
        *self.front.revoked.lock() = number;
    }

    /// Every request since the start or the last clearing, in order of arrival.
    pub fn log(&self) -> Vec<Request> {
        self.front.log()
    }

    pub fn clear_log(&self) {
        self.front.clear_log();
    }

    /// Bytes of chunks sent so far.
    pub fn chunk_bytes(&self) -> u64 {
        self.log().iter().filter(|request| request.on == On::Chunks).map(|request| request.bytes).sum()
    }
}

impl Drop for Cas {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The caller may be on a runtime of its own, where one cannot wait for another.
fn elsewhere<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow::anyhow!("the store panicked"))?)
}

fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn tokio_listener(runtime: &Runtime, listener: TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    let _entered = runtime.enter();
    Ok(tokio::net::TcpListener::from_std(listener)?)
}
