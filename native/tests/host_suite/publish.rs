//! Publication: what a node takes counts, and what only browsers or nobody takes does not.

use super::support::*;
use futures::StreamExt;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, Transport, gossipsub, noise, yamux};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::gossip::{MeshParams, OUTBOUND_QUEUE, Unpacked, block_topic};
use opp2p_core::payload::PayloadVersion;
use opp2p_core::sequencer::SendOutcome;
use opp2p_node::host::{Host, HostConfig, WsConfig};
use opp2p_wire::{Behaviour, Config, Event, Router};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Starts a sequencer with a door for browsers.
async fn gateway(directory: &Path, suffices: bool) -> Host {
    let mut config = config(directory, "gateway", &[]);
    config.sequencer = Some(signer().into());
    config.ws = Some(WsConfig { suffices, ..WsConfig::default() });
    Host::start(config).await.unwrap()
}

/// Starts a node that has gossip alone, so all of its blocks were sent to it.
async fn listener(directory: &Path, name: &str, address: Multiaddr) -> Host {
    let host = Host::start(HostConfig { sync: None, ..config(directory, name, &[]) });
    let host = host.await.unwrap();
    assert_eq!(host.connect(address).await, Ok(Ok(())));
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_taken_only_by_browsers_is_published_when_a_node_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = gateway(directory.path(), false).await;
    let door = gateway.browser_addresses().into_iter().next().unwrap();
    let browser = listener(directory.path(), "browser", door).await;
    until(&gateway, |status| status.browser_mesh == 1).await;
    let (mut seen, mut maker) = (browser.events(), BlockMaker::new(&chain(), 41));
    let block = maker.next(unix_seconds());
    let handle = gateway.handle();
    let published = tokio::spawn(async move { handle.publish(block).await.unwrap() });
    // The browser need not wait for a node.
    let first = blocks(&mut seen, 1).await;
    assert!(!published.is_finished());
    let node = listener(directory.path(), "node", gateway.address()).await;
    let mut heard = node.events();
    let hash = published.await.unwrap().unwrap();
    assert_eq!(first, [hash]);
    until(&node, |status| status.accepted == 1).await;
    // The next one goes to both, and neither gets one of them twice.
    let next = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    assert_eq!(blocks(&mut seen, 1).await, [next]);
    while blocks(&mut heard, 1).await != [next] {}
    assert_eq!(browser.status().borrow().accepted, 2);
    for host in [gateway, browser, node] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_suffice_if_the_operator_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = gateway(directory.path(), true).await;
    let door = gateway.browser_addresses().into_iter().next().unwrap();
    let browser = listener(directory.path(), "browser", door).await;
    until(&gateway, |status| status.browser_mesh == 1).await;
    let (mut seen, mut maker) = (browser.events(), BlockMaker::new(&chain(), 42));
    for _ in 0..3 {
        let hash = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        assert_eq!(blocks(&mut seen, 1).await, [hash]);
    }
    gateway.stop().await;
    browser.stop().await;
}

fn wire() -> Swarm<Behaviour> {
    let key = Keypair::generate_secp256k1();
    let wiring = Config {
        chain_id: CHAIN_ID,
        agent: "x".into(),
        router: Router::Libp2p,
        mesh: MeshParams::default(),
        browsers: false,
        payloads: false,
        ranges: opp2p_wire::RangeUse::Off,
        ping: None,
        scoring: None,
        gatekeeper: None,
    };
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(3600));
    let behaviour = Behaviour::new(&key, &wiring).unwrap();
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

/// Returns the id of a message that has arrived and is to be validated.
fn arrived(event: SwarmEvent<Event>) -> Option<Vec<u8>> {
    let SwarmEvent::Behaviour(Event::Gossipsub(_, event)) = event else { return None };
    match *event {
        gossipsub::Event::Message { message_id, .. } => Some(message_id.0),
        _ => None,
    }
}

/// Returns two connected nodes of which the first knows that the second listens.
async fn pair() -> (Swarm<Behaviour>, Swarm<Behaviour>) {
    let (mut sender, mut receiver) = (wire(), wire());
    receiver.listen_on(Protocol::Memory(0).into()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = receiver.select_next_some().await {
            break address;
        }
    };
    sender.dial(address).unwrap();
    let known = async {
        while sender.behaviour().subscribers(CHAIN_ID, PayloadVersion::V4) == 0 {
            tokio::select! {
                _ = sender.select_next_some() => {}
                _ = receiver.select_next_some() => {}
            }
        }
    };
    timeout(Duration::from_secs(20), known).await.expect("the receiver subscribes");
    (sender, receiver)
}

#[tokio::test]
async fn an_unqueued_block_is_not_published_until_a_queue_takes_it() {
    let (mut sender, mut receiver) = pair().await;
    // The test runs on one thread, so the connection takes nothing from the queue meanwhile.
    let message = |number: usize| [&number.to_be_bytes()[..], &[7; 100]].concat();
    let send = |sender: &mut Swarm<Behaviour>, number: usize| {
        sender.behaviour_mut().publish(CHAIN_ID, PayloadVersion::V4, &message(number))
    };
    let mut taken = 0;
    while send(&mut sender, taken) == SendOutcome::Sent {
        taken += 1;
        assert!(taken <= OUTBOUND_QUEUE, "the queue is bounded");
    }
    for _ in 0..3 {
        let outcome = send(&mut sender, taken);
        assert!(matches!(outcome, SendOutcome::Failed(_)), "{outcome:?}");
    }
    assert_eq!(send(&mut sender, taken - 1), SendOutcome::AlreadySent);
    let expected: BTreeSet<_> = (0..=taken)
        .map(|number| Unpacked::from_contents(&message(number)))
        .map(|message| message.message_id(&block_topic(CHAIN_ID, PayloadVersion::V4)).to_vec())
        .collect();
    let (mut heard, mut is_sent) = (Vec::new(), false);
    let all = async {
        while heard.len() < expected.len() {
            tokio::select! {
                _ = sender.select_next_some() => {}
                event = receiver.select_next_some() => heard.extend(arrived(event)),
            }
            if !is_sent {
                is_sent = send(&mut sender, taken) == SendOutcome::Sent;
            }
        }
    };
    timeout(Duration::from_secs(20), all).await.expect("all arrive");
    assert!(is_sent);
    assert_eq!(heard.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(heard.len(), expected.len(), "each arrives once");
    assert_eq!(send(&mut sender, taken), SendOutcome::AlreadySent);
}
