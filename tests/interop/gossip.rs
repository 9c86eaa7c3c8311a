//! Blocks by gossip between our nodes and the reference's.

use crate::op_node::{OpNode, OpNodes, Setup, count};
use crate::ours::{self, ANY_AGE, PATIENCE, chain_of, config, padded, until, verdict};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::fixtures;
use opp2p_core::gossip::MeshParams;
use opp2p_core::node::Event;
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_core::sync::{AnswerError, RequestFailure, SyncEvent};
use opp2p_node::host::{Host, HostConfig, HostEventKind};
use opp2p_wire::from_libp2p;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Returns blocks of the version: the bundled ones, a generated one, a large and a very large one.
fn blocks(chain: &ChainConfig, version: PayloadVersion) -> Vec<Envelope> {
    let real = fixtures::blocks().into_iter().filter(|block| block.version == version);
    let signed = fixtures::messages().into_iter().filter(|message| message.version == version);
    let signed = signed.map(|message| {
        let contents = opp2p_core::payload::snappy::decompress(&message.data, 10 << 20).unwrap();
        Envelope::decode(version, &contents[opp2p_core::gossip::SIGNATURE_SIZE..]).unwrap()
    });
    let mut maker = BlockMaker::new(chain, 1);
    let mut made = || maker.next(unix_seconds());
    let made = [made(), padded(made(), 1 << 20), padded(made(), 9 << 20)];
    real.map(|block| block.envelope).chain(signed).chain(made).collect()
}

/// Starts a node of the reference and one of ours, both of which accept blocks of any age, in each
/// other's mesh.
async fn pair(
    nodes: &OpNodes,
    directory: &tempfile::TempDir,
    chain: &ChainConfig,
    version: PayloadVersion,
    we_publish: bool,
) -> (OpNode, Host) {
    let age = format!("--p2p.gossip.timestamp.threshold={}s", ANY_AGE.as_secs());
    let theirs = Setup { args: vec![age], sequencer: !we_publish, ..Setup::default() };
    let theirs = nodes.node(chain, theirs).await;
    let ours = HostConfig {
        timestamp_threshold: ANY_AGE,
        static_peers: vec![theirs.address.clone()],
        sequencer: we_publish.then(|| ours::signer().into()),
        ..config(directory, chain)
    };
    let ours = Host::start(ours).await.unwrap();
    until(&ours, |status| status.mesh == 1).await;
    while !theirs.meshed(chain, version, &ours.peer_id()).await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    (theirs, ours)
}

pub(crate) async fn every_version_of_our_blocks_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let (theirs, ours) = pair(&nodes, &directory, &chain, version, true).await;
        let mut taken = theirs.taken();
        let blocks = blocks(&chain, version);
        for block in &blocks {
            let hash = ours.publish(block.clone()).await.unwrap().unwrap();
            let block = taken.next().await;
            assert_eq!((block.hash, block.from), (hash, ours.peer_id().to_string()));
        }
        let verdicts = theirs.heard().await.verdicts;
        assert_eq!(
            count(&verdicts, &ours.peer_id(), "delivered"),
            blocks.len() as u64,
            "{verdicts:?}"
        );
        assert!(theirs.scores(&ours.peer_id()).await.total >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

pub(crate) async fn every_version_of_their_blocks_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = OpNodes::start();
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let (theirs, ours) = pair(&nodes, &directory, &chain, version, false).await;
        let mut events = ours.events();
        for block in blocks(&chain, version) {
            let hash = theirs.publish(&block).await;
            assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
        }
        let scores = ours.peers(|peers, now| peers.score(now, &from_libp2p(&theirs.id).unwrap()));
        assert!(scores >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

/// A mesh with room for one peer.
pub(crate) const NARROW: MeshParams =
    MeshParams { d: 1, low: 1, high: 1, lazy: 6, flood_publish: false };

/// Returns the peer in a node's mesh and the peer outside it, once the node has chosen between two.
pub(crate) fn parted<P: Clone>(peers: &[P], is_in_mesh: impl Fn(&P) -> bool) -> Option<(P, P)> {
    match peers {
        [one, two] if is_in_mesh(one) && !is_in_mesh(two) => Some((one.clone(), two.clone())),
        [one, two] if is_in_mesh(two) && !is_in_mesh(one) => Some((two.clone(), one.clone())),
        _ => None,
    }
}

pub(crate) async fn a_block_that_we_missed_is_requested() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    // The narrowest mesh that the library's current version accepts.
    let args =
        ["d=6", "lo=3", "dhi=6", "dlazy=6"].map(|arg| format!("--p2p.gossip.mesh.{arg}")).to_vec();
    let setup = Setup { args, sequencer: true, ..Setup::default() };
    let theirs = OpNodes::start().node(&chain, setup).await;
    let follow = || async {
        let config =
            HostConfig { static_peers: vec![theirs.address.clone()], ..config(&directory, &chain) };
        let host = Host::start(config).await.unwrap();
        until(&host, |status| status.subscribers == 1).await;
        host
    };
    let mut ours = Vec::new();
    for _ in 0..7 {
        ours.push(follow().await);
    }
    let topic = opp2p_core::gossip::block_topic(chain.chain_id, version);
    let lazy = loop {
        let mesh = theirs.heard().await.mesh.remove(&topic).unwrap_or_default();
        let is_in_mesh = |host: &&Host| mesh.contains(&host.peer_id().to_string());
        if let (6, Some(lazy)) = (mesh.len(), ours.iter().find(|host| !is_in_mesh(host))) {
            break lazy.peer_id();
        }
        sleep(Duration::from_millis(100)).await;
    };

    let mut events: Vec<_> = ours.iter().map(|host| host.events()).collect();
    let mut maker = BlockMaker::new(&chain, 2);
    for _ in 0..5 {
        let hash = theirs.publish(&maker.next(unix_seconds())).await;
        for events in &mut events {
            assert_eq!(verdict(events).await.map(|block| block.hash), Ok(hash));
        }
    }
    let heard = theirs.heard().await;
    assert!(count(&heard.sent, &lazy, "ihave") >= 5, "{heard:?}");
    assert_eq!(count(&heard.received, &lazy, "iwant"), 5, "{heard:?}");
    assert_eq!(count(&heard.sent, &lazy, "message"), 5, "{heard:?}");
    // An answer is not a broken promise, and asking is not penalised.
    assert!(theirs.scores(&lazy).await.total >= 0.0);
    for host in ours {
        host.stop().await;
    }
}

pub(crate) async fn a_block_that_they_missed_is_requested() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let sequencer = Some(ours::signer().into());
    let config = HostConfig { mesh: NARROW, sequencer, ..config(&directory, &chain) };
    let host = Host::start(config).await.unwrap();
    let nodes = OpNodes::start();
    let theirs =
        [nodes.node(&chain, Setup::default()).await, nodes.node(&chain, Setup::default()).await];
    for node in &theirs {
        node.connect(&host.address()).await;
    }
    let all: Vec<&OpNode> = theirs.iter().collect();
    let is_in_mesh = |node: &&OpNode| {
        let id = from_libp2p(&node.id).unwrap();
        host.peers(|peers, _| peers.is_in_mesh(&id, version))
    };
    let (_, lazy) = loop {
        match parted(&all, is_in_mesh) {
            Some(parted) => break parted,
            None => sleep(Duration::from_millis(100)).await,
        }
    };

    let mut taken = theirs.each_ref().map(OpNode::taken);
    let mut maker = BlockMaker::new(&chain, 3);
    for _ in 0..5 {
        let hash = host.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        for taken in &mut taken {
            assert_eq!(taken.next().await.hash, hash);
        }
    }
    let heard = lazy.heard().await;
    assert!(count(&heard.received, &host.peer_id(), "ihave") >= 5, "{heard:?}");
    assert_eq!(count(&heard.sent, &host.peer_id(), "iwant"), 5, "{heard:?}");
    assert_eq!(count(&heard.verdicts, &host.peer_id(), "delivered"), 5, "{heard:?}");
    assert!(lazy.scores(&host.peer_id()).await.total >= 0.0);
    host.stop().await;
}

pub(crate) async fn large_blocks_already_here_are_not_requested_again() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let nodes = OpNodes::start();
    // Each knows the other two, and both others receive the blocks that the first publishes.
    let source = nodes.node(&chain, Setup { sequencer: true, ..Setup::default() }).await;
    let theirs = nodes.node(&chain, Setup::default()).await;
    theirs.connect(&source.address).await;
    let static_peers = vec![source.address.clone(), theirs.address.clone()];
    let ours =
        Host::start(HostConfig { static_peers, ..config(&directory, &chain) }).await.unwrap();
    until(&ours, |status| status.mesh == 2).await;
    while !theirs.meshed(&chain, version, &source.id).await
        || !theirs.meshed(&chain, version, &ours.peer_id()).await
    {
        sleep(Duration::from_millis(50)).await;
    }

    let (mut events, mut taken) = (ours.events(), theirs.taken());
    let mut maker = BlockMaker::new(&chain, 4);
    // A node that has a block from one neighbour announces it to the other. Which of the two sends
    // it first is random.
    let both = async || {
        let heard = theirs.heard().await;
        let ours = ours.peer_id();
        count(&heard.received, &ours, "idontwant") > 0 && count(&heard.sent, &ours, "idontwant") > 0
    };
    let mut published = 0;
    while published < 5 || !both().await {
        assert!(published < 100, "{:?}", theirs.heard().await);
        let block = padded(maker.next(unix_seconds()), 200_000);
        let hash = source.publish(&block).await;
        assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
        assert_eq!(taken.next().await.hash, hash);
        published += 1;
    }
    ours.stop().await;
}

pub(crate) async fn they_are_not_blamed_for_serving_no_blocks() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let setup = || Setup {
        args: vec!["--p2p.sync.req-resp=false".into()],
        sequencer: true,
        ..Setup::default()
    };
    let nodes = OpNodes::start();
    let theirs = [nodes.node(&chain, setup()).await, nodes.node(&chain, setup()).await];
    let static_peers = theirs.iter().map(|node| node.address.clone()).collect();
    let ours = HostConfig { static_peers, ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    until(&ours, |status| status.mesh == 2).await;
    for node in &theirs {
        while !node.meshed(&chain, version, &ours.peer_id()).await {
            sleep(Duration::from_millis(50)).await;
        }
    }
    let mut events = ours.events();
    let mut maker = BlockMaker::new(&chain, 6);
    // Of ten blocks the first and the last arrive: the others would have to be requested.
    let blocks: Vec<_> = (0..10).map(|_| maker.next(unix_seconds())).collect();
    for block in [&blocks[0], &blocks[9]] {
        theirs[0].publish(block).await;
    }
    // A node that does not support the protocol is asked at most once, although the gap stays open
    // for as many blocks more.
    let mut asked = 0;
    for block in (0..10).map(|_| maker.next(unix_seconds())) {
        let hash = theirs[1].publish(&block).await;
        loop {
            let event = timeout(PATIENCE, events.recv()).await.expect("the block comes").unwrap();
            match event.kind {
                HostEventKind::Verdict(verdict)
                    if verdict.result.as_ref().is_ok_and(|block| block.hash == hash) =>
                {
                    break;
                }
                HostEventKind::Core(Event::Sync(SyncEvent::Answered(answered))) => {
                    asked += 1;
                    let unsupported = AnswerError::Request(RequestFailure::Unsupported);
                    assert_eq!(answered.result, Err(unsupported));
                }
                _ => {}
            }
        }
    }
    assert!(asked <= theirs.len(), "{asked} requests to peers that serve nothing");
    for node in &theirs {
        let id = from_libp2p(&node.id).unwrap();
        assert!(ours.peers(|peers, now| peers.score(now, &id)) >= 0.0);
        assert!(node.scores(&ours.peer_id()).await.total >= 0.0);
    }
    assert_eq!(ours.status().borrow().peers, 2);
    ours.stop().await;
}

pub(crate) async fn in_a_mixed_mesh_every_block_reaches_all() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let nodes = OpNodes::start();
    let (mut ours, mut theirs) = (Vec::<Host>::new(), Vec::<OpNode>::new());
    for at in 0..5 {
        // Each of our nodes dials two earlier nodes of theirs and one of ours, and vice versa.
        let mut static_peers: Vec<_> =
            theirs.iter().rev().take(2).map(|node| node.address.clone()).collect();
        static_peers.extend(ours.last().map(|host| host.address()));
        let sequencer = (at == 0).then(|| ours::signer().into());
        let config = HostConfig { static_peers, sequencer, ..config(&directory, &chain) };
        ours.push(Host::start(config).await.unwrap());
        let node = nodes.node(&chain, Setup { sequencer: at == 0, ..Setup::default() }).await;
        for host in ours.iter().rev().take(2) {
            node.connect(&host.address()).await;
        }
        if let Some(last) = theirs.last() {
            node.connect(&last.address).await;
        }
        theirs.push(node);
    }
    for host in &ours {
        until(host, |status| status.mesh >= 2).await;
    }
    let topic = opp2p_core::gossip::block_topic(chain.chain_id, version);
    for node in &theirs {
        while node.heard().await.mesh.get(&topic).is_none_or(|mesh| mesh.len() < 2) {
            sleep(Duration::from_millis(50)).await;
        }
    }

    let mut events: Vec<_> = ours.iter().map(|host| host.events()).collect();
    let mut taken: Vec<_> = theirs.iter().map(OpNode::taken).collect();
    let mut maker = BlockMaker::new(&chain, 5);
    for round in 0..10 {
        let block = maker.next(unix_seconds());
        let we_publish = round % 2 == 0;
        let hash = match we_publish {
            true => ours[0].publish(block).await.unwrap().unwrap(),
            false => theirs[0].publish(&block).await,
        };
        // The publisher does not receive its own blocks.
        for events in &mut events[usize::from(we_publish)..] {
            assert_eq!(verdict(events).await.map(|block| block.hash), Ok(hash));
        }
        for taken in &mut taken[usize::from(!we_publish)..] {
            assert_eq!(taken.next().await.hash, hash);
        }
    }

    for host in &ours {
        let lowest = host.peers(|peers, now| {
            peers.connected_peers().map(|peer| peers.score(now, peer)).fold(f64::INFINITY, f64::min)
        });
        assert!(lowest >= 0.0, "one of ours thinks {lowest} of a neighbour");
    }
    for node in &theirs {
        for host in &ours {
            let scores = node.scores(&host.peer_id()).await;
            assert!(scores.total >= 0.0, "one of theirs thinks {scores:?} of one of ours");
        }
    }
    for host in ours {
        host.stop().await;
    }
}
