//! The browsers' door: real nodes, and clients over WebSockets.

use super::support::*;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{Host, HostConfig, HostError, WsConfig, WsTls};
use std::path::Path;

fn with_door(directory: &Path, name: &str, peers: &[&Host]) -> HostConfig {
    HostConfig { ws: Some(WsConfig::default()), ..config(directory, name, peers) }
}

/// Where a page would dial.
fn door(host: &Host) -> Multiaddr {
    host.browser_addresses().into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_over_a_websocket_gets_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = with_door(directory.path(), "gateway", &[]);
    config.sequencer = Some(signer());
    let gateway = Host::start(config).await.unwrap();
    let address = door(&gateway);
    let way: Vec<_> = address.iter().collect();
    assert!(
        matches!(way[..], [Protocol::Ip4(_), Protocol::Tcp(1..), Protocol::Ws(_), Protocol::P2p(peer)]
            if peer == gateway.peer_id()),
        "{address}"
    );
    let client = follower(directory.path(), "client", &[]).await;
    assert_eq!(client.connect(address).await, Ok(Ok(())));
    let mut events = client.events();
    until(&client, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 31);
    let hash = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    assert_eq!(blocks(&mut events, 1).await, [hash]);
    gateway.stop().await;
    client.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn advertised_addresses_are_what_a_page_dials() {
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
async fn a_certificate_that_can_not_be_used_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let (one, other) = (certificate(), certificate());
    let (cert, key) = (file("cert.pem", &one.cert.pem()), file("key.pem", &one.signing_key.serialize_pem()));
    let other_key = file("other.pem", &other.signing_key.serialize_pem());
    let (missing, empty) = (directory.path().join("missing.pem"), file("empty.pem", ""));
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n");
    let garbage = file("garbage.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
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

/// A certificate for loopback that vouches for itself.
fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}
