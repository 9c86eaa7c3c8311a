//! The `wss` listener for browsers, which terminates TLS below libp2p's WebSocket transport.
//!
//! libp2p's own TLS takes one fixed certificate. This transport asks [`Certificate`] for the
//! configuration of each connection, which allows renewals and answers to `tls-alpn-01` challenges.
//!
//! # Bounds
//! A `ClientHello` has at most 64 KiB, rustls' limit. The accept timeout includes the handshake.

use super::certificate::Certificate;
use futures::prelude::*;
use futures_rustls::server::TlsStream;
use futures_rustls::{LazyConfigAcceptor, StartHandshake};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport, websocket};
use rustls::server::Acceptor;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A listen-only transport for `/wss` addresses, on top of a transport for `/ws`.
pub(super) struct Wss<T> {
    inner: T,
}

impl<S> Wss<websocket::Config<Boxed<TlsStream<S>>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Creates a transport on top of `below`, with WebSocket messages of at most `max_data` bytes.
    pub(super) fn new<T>(below: T, certificate: Arc<Certificate>, max_data: usize) -> Self
    where
        T: Transport<Output = S, Error = io::Error> + Send + Unpin + 'static,
        T::ListenerUpgrade: Send + 'static,
        T::Dial: Send + 'static,
    {
        let tls = below.and_then(move |stream, _| accept(stream, certificate));
        let mut inner = websocket::Config::new(tls.boxed());
        inner.set_max_data_size(max_data);
        Self { inner }
    }
}

/// Returns the `/ws` address for a `/wss` address, or `None` for another address.
fn without_tls(address: &Multiaddr) -> Option<Multiaddr> {
    let mut address = address.clone();
    match address.pop() {
        Some(Protocol::Wss(path)) => Some(address.with(Protocol::Ws(path))),
        _ => None,
    }
}

/// Returns the `/wss` address for a `/ws` address.
fn with_tls(address: &Multiaddr) -> Multiaddr {
    let parts = address.iter().map(|part| match part {
        Protocol::Ws(path) => Protocol::Wss(path),
        part => part,
    });
    parts.collect()
}

impl<T: Transport + Unpin> Transport for Wss<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        match without_tls(&address) {
            Some(plain) => self.inner.listen_on(id, plain),
            None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx).map(|event| match event {
            TransportEvent::NewAddress { listener_id, listen_addr } => {
                TransportEvent::NewAddress { listener_id, listen_addr: with_tls(&listen_addr) }
            }
            TransportEvent::AddressExpired { listener_id, listen_addr } => {
                TransportEvent::AddressExpired { listener_id, listen_addr: with_tls(&listen_addr) }
            }
            TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => {
                TransportEvent::Incoming {
                    listener_id,
                    upgrade,
                    local_addr: with_tls(&local_addr),
                    send_back_addr: with_tls(&send_back_addr),
                }
            }
            event => event,
        })
    }
}

/// Performs the server's TLS handshake.
///
/// # Errors
/// If the handshake fails. A connection for a `tls-alpn-01` challenge ends with
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) after its handshake.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    certificate: Arc<Certificate>,
) -> io::Result<TlsStream<S>> {
    let begun: StartHandshake<S> = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let (settings, is_authority) = certificate.settings(&begun.client_hello());
    let mut stream = begun.into_stream(settings).await?;
    if !is_authority {
        return Ok(stream);
    }
    // The handshake has delivered the challenge response.
    let _ = stream.close().await;
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "an authority checked this node's name"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

    use super::super::certificate::provider;
    use super::*;
    use libp2p::tcp;
    use rcgen::{CertificateParams, CertifiedKey, CustomExtension, KeyPair};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream as Client;
    use x509_parser::prelude::{FromDer, X509Certificate};

    const NAME: &str = "gw.example";
    const PROOF: &[u8] = b"acme-tls/1";

    #[test]
    fn only_addresses_with_tls_are_listened_on() {
        let parse = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let (wss, ws) = (parse("/ip4/127.0.0.1/tcp/9/wss"), parse("/ip4/127.0.0.1/tcp/9/ws"));
        assert_eq!(without_tls(&wss), Some(ws.clone()));
        assert_eq!((without_tls(&ws), with_tls(&ws)), (None, wss));
        assert_eq!(without_tls(&parse("/ip4/127.0.0.1/tcp/9")), None);
    }

    fn certified(extensions: Vec<CustomExtension>) -> CertifiedKey<KeyPair> {
        let signing_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.custom_extensions = extensions;
        CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
    }

    fn loaded(made: &CertifiedKey<KeyPair>) -> rustls::sign::CertifiedKey {
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let signer = provider().key_provider.load_private_key(key).unwrap();
        rustls::sign::CertifiedKey::new(vec![made.cert.der().clone()], signer)
    }

    /// Listens with this certificate. Returns the port.
    async fn listen(certificate: Arc<Certificate>) -> u16 {
        let below = tcp::tokio::Transport::new(tcp::Config::default());
        let mut wss = Wss::new(below, certificate, 1 << 20);
        let any = "/ip4/127.0.0.1/tcp/0/wss".parse().unwrap();
        wss.listen_on(ListenerId::next(), any).unwrap();
        let event = future::poll_fn(|cx| Pin::new(&mut wss).poll(cx)).await;
        let address = event.into_new_address().expect("it listens");
        let parts: Vec<_> = address.iter().collect();
        let [Protocol::Ip4(_), Protocol::Tcp(port), Protocol::Wss(_)] = parts[..] else {
            panic!("{address}")
        };
        tokio::spawn(async move {
            loop {
                let event = future::poll_fn(|cx| Pin::new(&mut wss).poll(cx)).await;
                if let Some((upgrade, from)) = event.into_incoming() {
                    assert!(from.iter().any(|part| matches!(part, Protocol::Wss(_))), "{from}");
                    tokio::spawn(upgrade);
                }
            }
        });
        port
    }

    async fn connect(
        port: u16,
        trusted: &CertificateDer<'static>,
        name: &str,
        protocols: &[&[u8]],
    ) -> io::Result<Client<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    #[tokio::test]
    async fn a_connection_has_the_certificate_that_was_current_when_it_began() {
        let certificate = Arc::new(Certificate::new(None).unwrap());
        let port = listen(Arc::clone(&certificate)).await;
        let (old, new) = (certified(Vec::new()), certified(Vec::new()));
        let connect = async |made: &CertifiedKey<KeyPair>| {
            // Browsers offer this protocol.
            connect(port, made.cert.der(), NAME, &[b"http/1.1"]).await
        };
        connect(&old).await.expect_err("there is no certificate yet");
        assert!(certificate.renew(loaded(&old)));
        let mut first = connect(&old).await.expect("connected");
        assert!(!certificate.renew(loaded(&old)), "it is the same");
        assert!(certificate.renew(loaded(&new)));
        connect(&old).await.expect_err("it is replaced");
        connect(&new).await.expect("connected");
        // The first connection still works.
        let request = b"GET / HTTP/1.1\r\nHost: gw.example\r\nUpgrade: websocket\r\n\
            Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut first, request).await.unwrap();
        let mut answer = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut first, &mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
    }

    #[tokio::test]
    async fn an_authority_gets_the_proof_for_the_name_while_it_is_shown() {
        let certificate = Arc::new(Certificate::new(None).unwrap());
        let port = listen(Arc::clone(&certificate)).await;
        let (own, proof) = (
            certified(Vec::new()),
            certified(vec![CustomExtension::new_acme_identifier(&[7; 32])]),
        );
        certificate.renew(loaded(&own));
        let ask = async |name: &str| {
            // Ordinary verification rejects the critical extension.
            let mut config = ClientConfig::builder_with_provider(provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anything))
                .with_no_client_auth();
            config.alpn_protocols = vec![PROOF.to_vec()];
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        ask(NAME).await.expect_err("nothing is to be proved");
        let shown = certificate.prove(NAME, loaded(&proof));
        let answered = ask("GW.example").await.expect("proved");
        let (_, connection) = answered.get_ref();
        assert_eq!(connection.alpn_protocol(), Some(PROOF));
        let sent = connection.peer_certificates().unwrap()[0].clone();
        let (_, parsed) = X509Certificate::from_der(&sent).unwrap();
        let is_proof = parsed
            .extensions()
            .iter()
            .any(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        assert!(is_proof && sent == *proof.cert.der());
        ask("other.example").await.expect_err("this is not proved");
        // Clients that offer both protocols are still served.
        let both: [&[u8]; 2] = [PROOF, b"http/1.1"];
        connect(port, own.cert.der(), NAME, &both).await.expect("connected");
        drop(shown);
        ask(NAME).await.expect_err("it is over");
    }

    /// Accepts any certificate.
    #[derive(Debug)]
    struct Anything;

    impl rustls::client::danger::ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
