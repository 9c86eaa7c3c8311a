//! Certificates for a node's own name (AutoTLS).

use crate::acme::acme;
use crate::client::{Browser, shown};
use crate::dns::resolve;
use crate::servers::{Forge, Pebble, free_port};
use crate::support::{gateway, trouble, until_true};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p_node::host::{CertificateName, Host, OwnName};
use std::net::{IpAddr, Ipv4Addr};

const DOMAIN: &str = "libp2p.example";

fn own_name(broker: &str) -> CertificateName {
    let ip = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    CertificateName::Own(OwnName { broker: broker.to_owned(), domain: DOMAIN.into(), ip })
}

/// Returns the name and the port in the only address for browsers, if it has a name.
fn named(host: &Host, peer: PeerId) -> Option<(String, u16)> {
    let addresses = host.browser_addresses();
    let [address] = addresses.as_slice() else { panic!("{addresses:?}") };
    let parts: Vec<_> = address.iter().collect();
    match parts.as_slice() {
        [
            Protocol::Dns4(name),
            Protocol::Tcp(port),
            Protocol::Tls,
            Protocol::Ws(_),
            Protocol::P2p(id),
        ] => {
            assert_eq!(*id, peer);
            Some((name.to_string(), *port))
        }
        _ => None,
    }
}

pub(crate) async fn a_node_without_a_domain_is_reached_by_its_own_name() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let forge = Forge::start(directory.path(), DOMAIN).await;
    let pebble = Pebble::start(directory.path(), &forge.dns, 1, 3600).await;
    let acme = acme(&pebble, directory.path(), own_name(&forge.broker));
    let config = gateway(directory.path(), port, acme.clone());
    let key = config.key.to_hex();
    let host = Host::start(config).await.unwrap();
    let peer = host.peer_id();
    until_true("the name", async || named(&host, peer).is_some()).await;
    let (name, told) = named(&host, peer).unwrap();
    assert!(name.starts_with("127-0-0-1.k") && name.ends_with(DOMAIN), "{name}");
    assert_eq!(told, port);

    // A page does this with the address.
    assert_eq!(resolve(&forge.dns, &name).await, Some([127, 0, 0, 1]));
    let first = shown(&pebble.root, port, &name).await.expect("trusted");
    let way: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}/tls/sni/{name}/ws").parse().unwrap();
    Browser::connect(&pebble.root, way.with(Protocol::P2p(peer))).await.is_answered().await;

    // The next start needs neither the broker nor the authority.
    host.stop().await;
    drop(forge);
    let mut config = gateway(directory.path(), port, acme);
    config.key = key.parse().unwrap();
    let host = Host::start(config).await.unwrap();
    assert_eq!(shown(&pebble.root, port, &name).await.expect("trusted"), first);
    until_true("the name", async || named(&host, peer).is_some()).await;
    host.stop().await;
}

pub(crate) async fn a_broker_that_cannot_reach_the_node_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let forge = Forge::start(directory.path(), DOMAIN).await;
    let pebble = Pebble::start(directory.path(), &forge.dns, 1, 3600).await;
    let acme = acme(&pebble, directory.path(), own_name(&forge.broker));
    let mut config = gateway(directory.path(), free_port(), acme);
    // Unknown peers from this machine are refused.
    config.blocked = vec![opp2p_core::peers::BlockEntry::Ip(Ipv4Addr::LOCALHOST.into())];
    let host = Host::start(config).await.unwrap();
    let text = trouble(&host).await;
    let host_of = forge.broker.trim_start_matches("http://");
    assert!(text.contains("the broker") && text.contains(host_of), "{text}");
    assert!(text.contains("error testing addresses"), "{text}");
    host.stop().await;
}
