//! An S3 store in this process: s3s on a folder of its own, behind a layer that goes wrong on request and counts.
//!
//! It signs in whoever shows a known key, and has an STS beside it that turns the tokens of web identities into keys.

mod faults;
mod keys;
mod log;
mod shelf;
mod sts;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use faults::{Fault, Rule};
pub use keys::Keys;
pub use log::{Log, Seen};

use faults::Faults;
use shelf::Shelf;

/// Gone, with all that is in it, when it is dropped.
pub struct Store {
    pub url: String,
    pub keys: Keys,
    pub log: Log,
    faults: Faults,
    shelf: Shelf,
    root: tempfile::TempDir,
    _server: JoinSet<()>,
}

/// What each connection answers with.
#[derive(Clone)]
struct Desk {
    s3: S3Service,
    keys: Keys,
    faults: Faults,
    log: Log,
}

impl Store {
    /// Serves on a free port of loopback.
    pub async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (keys, faults, log) = (Keys::default(), Faults::default(), Log::default());
        let shelf = Shelf::new(root.path());
        let mut s3 = S3ServiceBuilder::new(shelf.clone());
        s3.set_auth(keys.clone());
        s3.set_access(keys.clone());
        let desk = Desk { s3: s3.build(), keys: keys.clone(), faults: faults.clone(), log: log.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(accept(listener, desk));
        Self { url, keys, log, faults, shelf, root, _server: server }
    }

    /// An object as if it had been put there, without checksums; its etag is the MD5 of its bytes.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn delete(&self, path: &str) {
        std::fs::remove_file(self.path(path)).unwrap();
    }

    pub fn lists_no_etags(&self) {
        self.shelf.lists_no_etags();
    }

    /// From now on, until its turns are used up.
    pub fn goes_wrong(&self, rule: Rule) {
        self.faults.add(rule);
    }

    pub fn is_well(&self) {
        self.faults.clear();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(Path::new(path))
    }
}

async fn accept(listener: TcpListener, desk: Desk) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        desk.log.connected();
        connections.spawn(serve(socket, desk.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(socket: TcpStream, desk: Desk) {
    let desk = Arc::new(desk);
    let answer = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    // A client that goes away in the middle is no failure of the store.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> HttpResponse {
        let seen = self.log.note(&request);
        if request.uri().path() == "/" && request.method() == "POST" {
            return sts::answer(request, &self.keys).await;
        }
        let fault = self.faults.meets(&seen);
        if let Some(refused) = fault.as_ref().and_then(Fault::instead) {
            return refused;
        }
        let answer = match self.s3.call(request.map(Body::from)).await {
            Ok(answer) => answer,
            Err(error) => Response::builder().status(500).body(Body::from(format!("{error:?}"))).unwrap(),
        };
        match fault {
            Some(fault) => fault.spoil(answer),
            None => answer,
        }
    }
}
