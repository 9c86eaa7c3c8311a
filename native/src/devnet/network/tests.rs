//! Tests with real nodes on loopback.

use super::*;
use opp2p_core::chain::ChainEvent;
use opp2p_core::node::Event;
use opp2p_node::host::HostEventKind;
use tokio::time::timeout;

const LAST: Member = Member::Follower(1);

type Events = mpsc::Receiver<(Member, NetworkEvent)>;

/// Returns the next event of the last follower that `pick` accepts.
async fn next<T>(events: &mut Events, pick: impl Fn(NetworkEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            let (member, event) = events.recv().await.expect("the network holds the sender");
            if let Some(found) = Some(event).filter(|_| member == LAST).and_then(&pick) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(30), found).await.expect("it comes")
}

fn extended(event: NetworkEvent) -> Option<u64> {
    let NetworkEvent::Host(HostEvent { kind: HostEventKind::Core(Event::Chain(chain)), .. }) =
        event
    else {
        return None;
    };
    if let ChainEvent::Extended(block) = chain { Some(block.number()) } else { None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_follower_restarts_as_the_same_node() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = NetworkConfig {
        followers: 2,
        block_time: Duration::from_secs(1),
        fork: Fork::Jovian,
        directory: directory.path().to_path_buf(),
        browsers: None,
        genesis: None,
    };
    let (mut network, mut events) = Network::start(&config).await.expect("starts");
    network.meshed().await.expect("meshes");
    let mut maker = network.maker(1).expect("a maker");
    for number in 1..=3 {
        let publication = network.publish(maker.next(unix_seconds())).await;
        assert_eq!(publication.result, Ok(()));
        assert_eq!(next(&mut events, extended).await, number);
    }
    let runs = |network: &Network| network.statuses().iter().any(|(member, _)| *member == LAST);
    let address = |network: &mut Network| {
        network.hosts().find(|(member, _)| *member == LAST).map(|(_, host)| host.address())
    };
    let before = address(&mut network);
    assert!(before.is_some() && runs(&network));

    for _ in 0..2 {
        network.kill_last_follower().await.expect("its store can be read");
    }
    assert!(!runs(&network) && address(&mut network).is_none());
    let stored = next(&mut events, |event| match event {
        NetworkEvent::Killed { stored, .. } => Some(stored),
        _ => None,
    });
    assert_eq!(
        stored.await.map(|stored| stored.number),
        Some(3),
        "what was queued for the disk is there"
    );

    for _ in 0..2 {
        network.restart_last_follower().await.expect("starts again");
    }
    assert!(runs(&network));
    assert_eq!(address(&mut network), before, "the same key and port");
    let first = next(&mut events, Some).await;
    assert!(matches!(first, NetworkEvent::Restarted { .. }), "{first:?}");

    network.meshed().await.expect("meshes again");
    let publication = network.publish(maker.next(unix_seconds())).await;
    assert_eq!(publication.result, Ok(()));
    assert_eq!(next(&mut events, extended).await, 4, "it goes on at its stored head");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_waits_until_its_port_is_free() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = NetworkConfig {
        followers: 1,
        block_time: Duration::from_secs(1),
        fork: Fork::Jovian,
        directory: directory.path().to_path_buf(),
        browsers: None,
        genesis: None,
    };
    let (network, _events) = Network::start(&config).await.expect("starts");
    network.kill_last_follower().await.expect("its store can be read");
    let port = network.follower_infos()[0].port;
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody has it");
    let waited = timeout(Duration::from_millis(500), network.restart_last_follower()).await;
    assert!(waited.is_err(), "somebody else listens there");
    drop(taken);
    network.restart_last_follower().await.expect("starts again");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_address_survives_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = NetworkConfig {
        followers: 1,
        block_time: Duration::from_secs(1),
        fork: Fork::Jovian,
        directory: directory.path().to_path_buf(),
        browsers: Some(0),
        genesis: None,
    };
    let (mut network, _events) = Network::start(&config).await.expect("it starts");
    let doors = network.browser_addresses().to_vec();
    let [door] = &doors[..] else { panic!("{doors:?}") };
    assert!(door.to_string().starts_with("/ip4/127.0.0.1/tcp/"), "{door}");
    network.kill_last_follower().await.expect("it ends");
    network.restart_last_follower().await.expect("it starts again");
    let again = network.hosts().find(|(member, _)| *member == Member::Follower(0));
    assert_eq!(again.map(|(_, host)| host.browser_addresses()), Some(doors));
    network.stop().await;
}
