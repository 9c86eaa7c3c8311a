//! The addresses of the browsers' listener: its certificate, and what pages are told to dial.

use super::browsers::with_door;
use super::support::*;
use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::websocket::{self, tls};
use libp2p::{Multiaddr, Swarm, Transport, identify, noise, tcp, yamux};
use opp2p_node::host::{ConnectError, Host, HostError, LiveSettings, WsTls};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_browser_address_is_wss() {
    let directory = tempfile::tempdir().unwrap();
    let certified = certificate();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer().into());
    let ws = config.ws.as_mut().unwrap();
    ws.tls = Some(WsTls { cert, key });
    ws.advertise = vec!["/dns4/gw.example/tcp/443/wss".parse().unwrap()];
    let gateway = Host::start(config).await.unwrap();
    // Pages dial the advertised addresses; identify reports the listen addresses.
    let info = identified(&gateway.address(), None).await;
    assert!(info.contains(&"/dns4/gw.example/tcp/443/wss".parse().unwrap()), "{info:?}");
    let wss = info
        .iter()
        .find(|address| {
            let way: Vec<_> = address.iter().collect();
            matches!(way[..], [Protocol::Ip4(_), Protocol::Tcp(_), Protocol::Wss(_)])
        })
        .unwrap();
    let again = identified(wss, Some(certified.cert.der())).await;
    assert_eq!(BTreeSet::from_iter(again), BTreeSet::from_iter(info.clone()));
    // A client that does not know the certificate is not connected, and learns why.
    let client = follower(directory.path(), "client", &[]).await;
    let way = wss.clone().with(Protocol::P2p(gateway.peer_id()));
    let Ok(Err(ConnectError::Failed(why))) = client.connect(way).await else {
        panic!("it trusts anybody")
    };
    assert!(why.contains("certificate"), "{why}");
    client.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_works_without_a_restart_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let put = |certified: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        std::fs::write(&cert, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    };
    let (old, new) = (certificate(), certificate());
    put(&old);
    let tls = WsTls { cert: cert.clone(), key: key.clone() };
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.ws.as_mut().unwrap().tls = Some(tls.clone());
    let gateway = Host::start(config).await.unwrap();
    let wss = gateway.browser_addresses().into_iter().next().unwrap();
    identified(&wss, Some(old.cert.der())).await;

    let settings = LiveSettings { tls: Some(tls), ..LiveSettings::default() };
    let same = gateway.reconfigure(settings.clone()).await.unwrap().unwrap();
    assert!(!same.certificate, "the files are the same");
    // A key that does not belong to the certificate.
    std::fs::write(&cert, new.cert.pem()).unwrap();
    let wrong = gateway.reconfigure(settings.clone()).await.unwrap();
    assert!(matches!(&wrong, Err(HostError::Tls { file, .. }) if *file == cert), "{wrong:?}");
    identified(&wss, Some(old.cert.der())).await;
    put(&new);
    let changed = gateway.reconfigure(settings).await.unwrap().unwrap();
    assert!(changed.certificate);
    identified(&wss, Some(new.cert.der())).await;
    gateway.stop().await;
}

/// Returns the addresses that the node at this address reports with identify.
async fn identified(address: &Multiaddr, trusts: Option<&[u8]>) -> Vec<Multiaddr> {
    let key = Keypair::generate_secp256k1();
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let mut tls = tls::Config::builder();
    if let Some(certificate) = trusts {
        tls.add_trust(&tls::Certificate::new(certificate.to_vec())).unwrap();
    }
    let mut websocket = websocket::Config::new(tcp());
    websocket.set_tls_config(tls.finish());
    let transport = websocket
        .or_transport(tcp())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = identify::Behaviour::new(identify::Config::new("x".into(), key.public()));
    let config = libp2p::swarm::Config::with_tokio_executor();
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    swarm.dial(address.clone()).unwrap();
    let info = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(identify::Event::Received { info, .. }) => {
                    break info.listen_addrs;
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(20), info).await.expect("it says who it is")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_dials_the_advertised_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    let advertised: Multiaddr = "/dns4/gw.example/tcp/443/wss".parse().unwrap();
    let own = config.key.peer_id();
    config.ws.as_mut().unwrap().advertise =
        vec![advertised.clone(), advertised.clone().with(Protocol::P2p(own))];
    let gateway = Host::start(config).await.unwrap();
    let whole = advertised.with(Protocol::P2p(own));
    assert_eq!(gateway.browser_addresses(), [whole.clone(), whole.clone()]);
    gateway.stop().await;

    let mut config = with_door(directory.path(), "other", &[]);
    config.ws.as_mut().unwrap().advertise = vec![whole.clone()];
    let refused = Host::start(config).await.unwrap_err();
    assert!(matches!(&refused, HostError::Advertised(address) if *address == whole), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_certificate_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let (one, other) = (certificate(), certificate());
    let (cert, key) =
        (file("cert.pem", &one.cert.pem()), file("key.pem", &one.signing_key.serialize_pem()));
    let other_key = file("other.pem", &other.signing_key.serialize_pem());
    let (missing, empty) = (directory.path().join("missing.pem"), file("empty.pem", ""));
    let broken =
        file("broken.pem", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n");
    let garbage =
        file("garbage.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (cert, key, parts) in [
        (&missing, &key, ["missing.pem", "can't be read", "check the path"]),
        (&cert, &missing, ["missing.pem", "can't be read", "check the path"]),
        (&empty, &key, ["empty.pem", "no certificate", "PEM"]),
        (&broken, &key, ["broken.pem", "certificates", "chain"]),
        (&key, &key, ["key.pem", "no certificate", "PEM"]),
        (&cert, &cert, ["cert.pem", "no private key", "PKCS#8"]),
        (&cert, &garbage, ["garbage.pem", "private key", "PKCS#8"]),
        (&cert, &other_key, ["cert.pem", "other.pem", "its own key"]),
    ] {
        let mut config = with_door(directory.path(), "host", &[]);
        config.ws.as_mut().unwrap().tls = Some(WsTls { cert: cert.clone(), key: key.clone() });
        let refused = Host::start(config).await.unwrap_err();
        let HostError::Tls { .. } = &refused else { panic!("{refused}") };
        let text = refused.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && !text.contains('\n'), "{text}");
    }
}

/// Returns a self-signed certificate for loopback.
fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}
