//! Simulates a browser, which dials `wss` and trusts only the authority's root.

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::Full;
use hyper::Request;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::websocket::{self, tls};
use libp2p::{Multiaddr, Swarm, Transport, noise, ping, tcp, yamux};
use opp2p_node::http::HttpSender;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The root certificate of an authority.
pub(crate) type Root = CertificateDer<'static>;

/// Fetches the root certificate from this URL.
pub(crate) async fn root_of(http: &HttpSender, url: &str) -> Root {
    let request = Request::get(url).body(Full::new(Bytes::new())).unwrap();
    CertificateDer::from_pem_slice(http.send(request).await.unwrap().body()).unwrap()
}

/// Returns the certificate that a browser gets at this port under this name, or the reason why it
/// rejects it.
pub(crate) async fn shown(root: &Root, port: u16, name: &str) -> std::io::Result<Root> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
}

/// A browser's connection.
pub(crate) struct Browser {
    swarm: Swarm<ping::Behaviour>,
}

impl Browser {
    /// Connects to an address with TLS.
    pub(crate) async fn connect(root: &Root, address: Multiaddr) -> Self {
        let key = Keypair::generate_secp256k1();
        let mut trust = tls::Config::builder();
        trust.add_trust(&tls::Certificate::new(root.to_vec())).unwrap();
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        let mut websocket = websocket::Config::new(tcp);
        websocket.set_tls_config(trust.finish());
        let transport = websocket
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let often = ping::Config::new().with_interval(Duration::from_millis(500));
        let config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(3600));
        let own = key.public().to_peer_id();
        let mut swarm = Swarm::new(transport, ping::Behaviour::new(often), own, config);
        swarm.dial(address).unwrap();
        let mut browser = Self { swarm };
        browser.is_answered().await;
        browser
    }

    /// Waits for the answer to a ping on its only connection so far.
    pub(crate) async fn is_answered(&mut self) {
        let answered = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::Behaviour(ping::Event { result: Ok(_), .. }) => break,
                    SwarmEvent::ConnectionClosed { cause, .. } => panic!("closed: {cause:?}"),
                    SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(60), answered).await.expect("it answers");
    }

    /// Exchanges pings for a while.
    pub(crate) async fn goes_on(&mut self, time: Duration) {
        // It ends by the timeout.
        let _ = timeout(time, async {
            loop {
                self.is_answered().await;
            }
        })
        .await;
    }
}
