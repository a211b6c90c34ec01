//! A service behind whatever ends TLS for it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::server::{MIB, MODEL, Server, hub};
use crate::machine::error;

/// A proxy before `server` with a certificate for `localhost` that nobody knows: its port, and the certificate's file.
fn proxy(server: &Server) -> (u16, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = server.machine.path("certificate.pem");
    fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let target = server.port;
    let listener = server.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    server.runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust the certificate goes away.
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    (port, file)
}

#[test]
fn a_service_behind_tls_is_asked_if_its_certificate_is_trusted() {
    let (hub, ..) = hub(MIB);
    let server = Server::start(&hub);
    let (port, certificate) = proxy(&server);
    let endpoint = format!("https://localhost:{port}");
    let said = server.machine.fail(1, &["--endpoint", &endpoint, "health"]);
    assert!(said.contains(&endpoint) && said.contains("certificate") && said.contains("SSL_CERT_FILE"), "{said}");
    for words in [&["health"][..], &["model", "download", MODEL, "--strategy", "server-only"]] {
        let mut command = server.machine.command(&[&["--endpoint", &endpoint], words].concat());
        let output = command.env("SSL_CERT_FILE", &certificate).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", error(&output));
    }
    assert_eq!(hub.data_bytes(), MIB as u64 + 7);
}
