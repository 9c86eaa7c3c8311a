//! Troubles of nodes in this process: what a process can't be made to have, and who may hear of
//! them. `cli_suite` has the others, and the log.

use crate::support::{Node, PATIENCE, chain, get, looking, open};
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::node::Event;
use opp2p_core::trouble::{Role, Trouble, TroubleEntry, TroubleKind};
use opp2p_node::host::{HostEvent, HostEventKind};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

/// Waits for the next beginning or end of a trouble of this kind.
async fn heard(events: &mut Receiver<HostEvent>, wanted: TroubleKind) -> (bool, TroubleEntry) {
    let hearing = async {
        loop {
            let (began, entry) = match events.recv().await.unwrap().kind {
                HostEventKind::Core(Event::TroubleBegan(entry)) => (true, entry),
                HostEventKind::Core(Event::TroubleEnded(entry)) => (false, entry),
                _ => continue,
            };
            if entry.trouble.kind() == wanted {
                return (began, entry);
            }
        }
    };
    timeout(4 * PATIENCE, hearing).await.unwrap_or_else(|_| panic!("{wanted} is not told in time"))
}

/// Returns the trouble of this kind in `/healthz` and in the status, which tell the same.
async fn shown(node: &Node, kind: TroubleKind) -> Option<Value> {
    let find = |list: &Value| {
        let mut list = list["troubles"].as_array().unwrap().iter();
        list.find(|trouble| trouble["kind"] == kind.name()).cloned()
    };
    let health = find(&get(node.rpc.address(), "/healthz").await.json());
    let status = find(&node.call("opp2p_nodeStatus", json!([])).await);
    assert_eq!(health.as_ref().map(|one| &one["since"]), status.as_ref().map(|one| &one["since"]));
    health
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_reported_until_it_is_corrected() {
    let first = Node::sequencer(looking()).await;
    let clock = opp2p_node::host::WallClock::default();
    clock.put_ahead(-3600);
    let second = Node::start_as(looking(), &[&first], |config| {
        config.clock = clock.clone();
    })
    .await;
    let mut events = second.host.events();
    first.until(|status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    let told = async {
        loop {
            first.publish(&mut maker, 1).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let (_, entry) = tokio::select! {
        entry = heard(&mut events, TroubleKind::Clock) => entry,
        () = told => unreachable!("it goes on"),
    };
    let Trouble::Clock { ahead_ms } = entry.trouble else { panic!("{entry:?}") };
    assert!(ahead_ms < -3_000_000, "{ahead_ms}");
    assert!(shown(&second, TroubleKind::Clock).await.is_some());
    clock.put_ahead(0);
    let told = async {
        loop {
            first.publish(&mut maker, 1).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let (began, _) = tokio::select! {
        entry = heard(&mut events, TroubleKind::Clock) => entry,
        () = told => unreachable!("it goes on"),
    };
    assert!(!began);
    assert_eq!(shown(&second, TroubleKind::Clock).await, None);
    // It cost the peer nothing.
    assert_eq!(second.host.status().borrow().peers, 1);
    for node in [first, second] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dials_itself_does_not_report_a_shared_key() {
    let node = Node::start(looking(), &[]).await;
    let mut events = node.host.events();
    // Under another name, as if another node had had this address.
    let mut way: Multiaddr = node.host.address();
    way.pop();
    let stranger = libp2p::PeerId::random();
    for _ in 0..3 {
        let address = way.clone().with(libp2p::multiaddr::Protocol::P2p(stranger));
        node.host.connect(address).await.unwrap().unwrap_err();
    }
    // Longer than the node waits for the other end of a connection.
    let quiet = timeout(Duration::from_secs(6), heard(&mut events, TroubleKind::KeyInUse)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(shown(&node, TroubleKind::KeyInUse).await, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_follows_from_the_settings_and_a_lone_sequencer_is_ready() {
    let sequencer = Node::sequencer(looking()).await;
    let ready = get(sequencer.rpc.address(), "/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "reasons": []})));
    let follower = Node::start(looking(), &[]).await;
    assert_eq!(get(follower.rpc.address(), "/readyz").await.status, 503);
    for node in [sequencer, follower] {
        node.stop().await;
    }
    let directory = tempfile::tempdir().unwrap();
    let key = opp2p_node::key::SecretKey::generate().unwrap();
    let mut config =
        opp2p_node::host::HostConfig::new(chain(), key, directory.path().join("blocks"));
    assert_eq!(config.own_role(), Role::Follower);
    config.ws = Some(opp2p_node::host::WsConfig::default());
    assert_eq!(config.own_role(), Role::Gateway);
    let signer = opp2p_core::sequencer::LocalSigner::from_bytes(&[7; 32]).unwrap();
    config.sequencer = Some(signer.into());
    assert_eq!(config.own_role(), Role::Sequencer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_learns_why_its_block_is_not_sent() {
    let node = Node::sequencer(open()).await;
    let mut events = node.host.events();
    // Old enough that the attempts end soon.
    let envelope = BlockMaker::new(&chain(), 3).next(unix_seconds() - 50);
    let (publishing, told) =
        tokio::join!(node.host.publish(envelope), heard(&mut events, TroubleKind::Publishing));
    let error = publishing.unwrap().unwrap_err().to_string();
    assert!(error.contains("no peer is subscribed"), "{error}");
    let (began, entry) = told;
    assert!(began && entry.trouble.to_string().contains("no peer is subscribed"), "{entry:?}");
    node.stop().await;
}
