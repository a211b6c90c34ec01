//! What `weightfs serve` opens to other machines: gRPC, and the figures over HTTP if they are wanted.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::api::figures::Figures;
use crate::api::listen::{self, ListenError, Place};
use crate::api::service::{self, Service};
use crate::control::{Node, Shelf};

use super::Serving;

/// Ports that are this daemon's before it has begun with anything.
pub(super) struct Listeners {
    service: TcpListener,
    figures: Option<TcpListener>,
}

impl Listeners {
    pub(super) async fn bind(serving: &Serving) -> Result<Self, ListenError> {
        let service = listen::bind(&serving.service).await?;
        let figures = match &serving.figures {
            Some(place) => Some(listen::bind(place).await?),
            None => None,
        };
        Ok(Self { service, figures })
    }
}

/// What is open, once it is.
#[derive(Default)]
pub(super) struct Doors {
    service: OnceLock<Service>,
    figures: OnceLock<Figures>,
}

impl Doors {
    /// Takes nothing new but questions about the figures. What it returns ends when everything under way is answered; there is
    /// nothing where nobody was served.
    pub(super) fn drain(&self) -> Option<impl Future<Output = ()>> {
        if let Some(figures) = self.figures.get() {
            figures.drain();
        }
        self.service.get().map(Service::drain)
    }

    pub(super) async fn shut(&self) {
        let service = async {
            if let Some(service) = self.service.get() {
                service.stop().await;
            }
        };
        let figures = async {
            if let Some(figures) = self.figures.get() {
                figures.stop().await;
            }
        };
        tokio::join!(service, figures);
    }
}

/// Doors that are about to be opened.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) serving: Serving,
    pub(super) node: Arc<Node>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) doors: Arc<Doors>,
}

impl Opening {
    /// Between two tries. The process before this one may still have the port.
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) async fn open(self, listeners: Listeners) -> io::Result<()> {
        if let Some(listener) = listeners.figures {
            self.open_figures(listener)?;
        }
        self.open_service(listeners.service).await
    }

    /// Each as soon as its port is free.
    pub(super) fn insist(self) {
        if let Some(place) = self.serving.figures.clone() {
            let opening = self.clone();
            tokio::spawn(async move { tell(opening.open_figures(Self::await_port(&place).await)) });
        }
        tokio::spawn(async move {
            let listener = Self::await_port(&self.serving.service).await;
            tell(self.open_service(listener).await);
        });
    }

    async fn await_port(place: &Place) -> TcpListener {
        let mut told = false;
        loop {
            match listen::bind(place).await {
                Ok(listener) => return listener,
                Err(cause) if !told => error!(%cause, "tried again every second; mounts go on meanwhile"),
                Err(_) => {}
            }
            told = true;
            tokio::time::sleep(Self::PAUSE).await;
        }
    }

    fn open_figures(&self, listener: TcpListener) -> io::Result<()> {
        let node = self.node.clone();
        let figures = Figures::start(listener, Arc::new(move || node.figures()))?;
        info!(address = %figures.address, "showing figures");
        let _ = self.doors.figures.set(figures);
        Ok(())
    }

    async fn open_service(self, listener: TcpListener) -> io::Result<()> {
        let token = self.serving.token;
        let is_open = token.is_none();
        let service = Service::start(listener, self.node.clone(), self.shelf, token).await?;
        self.node.serves_at(service.address);
        info!(address = %service.address, "serving other machines");
        if is_open && service::is_public(service.address.ip()) {
            warn!(
                "whoever reaches {} may fetch, read and delete models with this server's rights at the Hub; set \
                 server.token_file, or server.host to 127.0.0.1",
                service.address
            );
        }
        let _ = self.doors.service.set(service);
        Ok(())
    }
}

fn tell(opened: io::Result<()>) {
    if let Err(cause) = opened {
        error!(%cause, "a port cannot be served; mounts go on without it");
    }
}
