//! Nodes of kona: its own p2p crate, in the program in the folder `kona`.
//!
//! The newest version in the registry is 0.1.2, from the summer of 2025. Where it differs from the
//! reference we follow the reference. Its behaviour is asserted here, so that a better version is
//! noticed.

use crate::gossip::{NARROW, parted};
use crate::kona_node::{Kona, Konas, LOOK, Start};
use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{self, PATIENCE, chain_of, config, message, signed, until, until_true, verdict};
use crate::stranger::Stranger;
use crate::verdicts::bad_messages;
use alloy_primitives::hex;
use libp2p::PeerId;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::discovery::PaceConfig;
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    HEARTBEAT, MAX_MESSAGE_SIZE, Reason, SIGNATURE_SIZE, Unpacked, block_topic,
};
use opp2p_core::mesh::{FOREIGN_AFTER, PROMISE_TIME};
use opp2p_core::node::Event;
use opp2p_core::payload::{Envelope, PayloadVersion, snappy};
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::sync::{AnswerError, RequestFailure, SyncEvent};
use opp2p_node::discovery::DiscoveryConfig;
use opp2p_node::host::{Host, HostConfig, HostEventKind};
use opp2p_wire::from_libp2p;
use serde_json::json;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Returns the block with the current time: kona has no setting for the maximum age of a block.
fn of_now(mut block: Envelope) -> Envelope {
    block.payload.timestamp = unix_seconds();
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    block
}

/// Returns the block with its transactions repeated up to about this many bytes: kona decodes each
/// one.
pub(crate) fn grown(mut block: Envelope, bytes: usize) -> Envelope {
    let once = block.payload.transactions.clone();
    let size: usize = once.iter().map(|transaction| transaction.len() + 4).sum();
    block.payload.transactions =
        once.iter().cycle().take(once.len() * bytes.div_ceil(size)).cloned().collect();
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    block
}

/// Returns blocks of the version, all with the current time: the bundled ones, a generated one, and
/// a large one.
pub(crate) fn blocks(chain: &ChainConfig, version: PayloadVersion) -> Vec<Envelope> {
    let real = fixtures::blocks().into_iter().filter(|block| block.version == version);
    let messages = fixtures::messages().into_iter().filter(|message| message.version == version);
    let messages = messages.map(|message| {
        let contents = snappy::decompress(&message.data, MAX_MESSAGE_SIZE).unwrap();
        Envelope::decode(version, &contents[SIGNATURE_SIZE..]).unwrap()
    });
    let mut maker = BlockMaker::new(chain, 20);
    let made = [maker.next(unix_seconds()), grown(maker.next(unix_seconds()), 1 << 20)];
    real.map(|block| block.envelope).chain(messages).map(of_now).chain(made).collect()
}

/// Starts a kona node and one of our nodes, each in the other's mesh.
async fn pair(
    konas: &Konas,
    directory: &tempfile::TempDir,
    chain: &ChainConfig,
    version: PayloadVersion,
) -> (Kona, Host) {
    let theirs = konas.node(chain, Start::default()).await;
    let ours = HostConfig {
        static_peers: vec![theirs.address.clone()],
        sequencer: Some(ours::signer().into()),
        ..config(directory, chain)
    };
    let ours = Host::start(ours).await.unwrap();
    until(&ours, |status| status.mesh == 1).await;
    theirs.meshed(chain, version, 1).await;
    (theirs, ours)
}

fn our_score(host: &Host, peer: &PeerId) -> f64 {
    host.peers(|peers, now| peers.score(now, &from_libp2p(peer).unwrap()))
}

pub(crate) async fn every_version_of_our_blocks_is_accepted() {
    let (konas, directory) = (Konas::start(), tempfile::tempdir().unwrap());
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let (theirs, ours) = pair(&konas, &directory, &chain, version).await;
        let mut heard = theirs.heard();
        for block in blocks(&chain, version) {
            let hash = ours.publish(block).await.unwrap().unwrap();
            let told = heard.next().await;
            assert_eq!((told.event.as_str(), told.hash), ("block", Some(hash)), "{version:?}");
            assert_eq!(
                (told.from, told.topic),
                (ours.peer_id().to_string(), block_topic(901, version))
            );
        }
        assert!(theirs.score(&ours.peer_id()).await >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

pub(crate) async fn every_version_of_their_blocks_is_accepted() {
    let (konas, directory) = (Konas::start(), tempfile::tempdir().unwrap());
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let (theirs, ours) = pair(&konas, &directory, &chain, version).await;
        let mut events = ours.events();
        for block in blocks(&chain, version) {
            let published = theirs.publish(&block).await;
            assert_eq!(
                (published.hash, published.topic),
                (block.payload.block_hash, block_topic(901, version))
            );
            assert_eq!(
                verdict(&mut events).await.map(|block| block.hash),
                Ok(published.hash),
                "{version:?}"
            );
        }
        assert!(our_score(&ours, &theirs.id) >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

pub(crate) async fn each_identifies_itself_and_answers_pings() {
    let (chain, directory) = (chain_of(PayloadVersion::V4), tempfile::tempdir().unwrap());
    let theirs = Konas::start().node(&chain, Start::default()).await;
    let ours = Host::start(config(&directory, &chain)).await.unwrap();
    let mut events = ours.events();
    theirs.connect(&ours.address()).await;
    let identified = async {
        loop {
            if let HostEventKind::Identified { peer, agent } = events.recv().await.unwrap().kind {
                break (peer, agent);
            }
        }
    };
    let identified = timeout(PATIENCE, identified).await.expect("kona says who it is");
    assert_eq!(identified, (theirs.id, "kona".to_owned()));

    let known =
        theirs.peer(&ours.peer_id(), |peer| peer.agent.is_some() && peer.ping.is_some()).await;
    assert_eq!(known.agent.as_deref(), Some(ours.agent()));
    let mut protocols = known.protocols.unwrap();
    let mut all = ours.protocols().to_vec();
    protocols.sort();
    all.sort();
    assert_eq!(protocols, all);
    let topics = theirs
        .peer(&ours.peer_id(), |peer| peer.topics.len() == PayloadVersion::ALL.len())
        .await
        .topics;
    assert!(
        PayloadVersion::ALL.into_iter().all(|version| topics.contains(&block_topic(901, version)))
    );
    ours.stop().await;
}

pub(crate) async fn each_refuses_blocks_that_a_stranger_signed() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let konas = Konas::start();
    let mut maker = BlockMaker::new(&chain, 1);

    // A node that expects a sequencer other than ours, in each direction.
    let other = LocalSigner::from_bytes(&[8; 32]).unwrap().address();
    let theirs = konas
        .node(&chain, Start { signer: Some(other), topic_scores: true, ..Start::default() })
        .await;
    let sequencer = Some(ours::signer().into());
    let static_peers = vec![theirs.address.clone()];
    let ours = Host::start(HostConfig { sequencer, static_peers, ..config(&directory, &chain) })
        .await
        .unwrap();
    until(&ours, |status| status.mesh == 1).await;
    theirs.meshed(&chain, version, 1).await;
    let mut heard = theirs.heard();
    ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    let told = heard.next().await;
    assert_eq!((told.event.as_str(), told.from), ("refused", ours.peer_id().to_string()));
    theirs.peer(&ours.peer_id(), |peer| peer.score.is_some_and(|score| score < 0.0)).await;
    ours.stop().await;
    theirs.stop().await;

    let theirs = konas.node(&chain, Start::default()).await;
    let static_peers = vec![theirs.address.clone()];
    let ours = HostConfig { signer: Some(other), static_peers, ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    until(&ours, |status| status.mesh == 1).await;
    theirs.meshed(&chain, version, 1).await;
    let mut events = ours.events();
    theirs.publish(&maker.next(unix_seconds())).await;
    assert_eq!(verdict(&mut events).await, Err(Reason::SignerInDoubt));
    ours.stop().await;
}

pub(crate) async fn they_refuse_the_messages_that_we_refuse() {
    let version = PayloadVersion::V4;
    let chain = chain_of(version);
    let topic = block_topic(chain.chain_id, version);
    let theirs = Konas::start().node(&chain, Start::default()).await;
    let mut heard = theirs.heard();
    for (what, data, _) in bad_messages(&chain) {
        // kona reads it, whatever its decompressed size.
        if what == "oversized" {
            continue;
        }
        let stranger = Stranger::meet(&theirs.address, &topic).await;
        stranger.send(data);
        let told = heard.next().await;
        assert_eq!(
            (told.event.as_str(), told.from),
            ("refused", stranger.id.to_string()),
            "{what}"
        );
    }
    let stranger = Stranger::meet(&theirs.address, &topic).await;
    let block = BlockMaker::new(&chain, 9).next(unix_seconds());
    stranger.send(message(&chain, &block));
    assert_eq!(heard.next().await.hash, Some(block.payload.block_hash));
}

pub(crate) async fn its_message_ids_lack_the_topic() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let (theirs, ours) = pair(&Konas::start(), &directory, &chain, version).await;
    let block = BlockMaker::new(&chain, 40).next(unix_seconds());
    let published = theirs.publish(&block).await;
    // The reference's id includes the topic. Kona's does not, following the public specification.
    let signed = signed(&chain, &block);
    let id = Unpacked::from_contents(&signed).message_id(&published.topic);
    assert_eq!(published.topic, block_topic(chain.chain_id, version));
    assert_ne!(published.id, hex::encode(id));
    ours.stop().await;
}

/// Number of announced and requested blocks before a broken promise is penalised: six are forgiven.
const FORGIVEN: usize = 6;

pub(crate) async fn it_fetches_announced_blocks_and_penalises_our_ids() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let konas = Konas::start();
    // One of our nodes with room for one peer in its mesh, and two of theirs: one is left out.
    let config = HostConfig {
        mesh: NARROW,
        sequencer: Some(ours::signer().into()),
        ..config(&directory, &chain)
    };
    let ours = Host::start(config).await.unwrap();
    let theirs =
        [konas.node(&chain, Start::default()).await, konas.node(&chain, Start::default()).await];
    for node in &theirs {
        node.connect(&ours.address()).await;
    }
    let all: Vec<&Kona> = theirs.iter().collect();
    let is_in_mesh = |node: &&Kona| {
        let id = from_libp2p(&node.id).unwrap();
        ours.peers(|peers, _| peers.is_in_mesh(&id, version))
    };
    let (_, lazy) = loop {
        match parted(&all, is_in_mesh) {
            Some(parted) => break parted,
            None => sleep(LOOK).await,
        }
    };
    let mut heard = lazy.heard();
    let mut maker = BlockMaker::new(&chain, 41);
    for _ in 0..FORGIVEN {
        let hash = ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        let told = heard.next().await;
        assert_eq!((told.event.as_str(), told.hash), ("block", Some(hash)));
    }
    // It requested messages by our ids, and computes other ids for those that it receives, so it
    // keeps waiting.
    let offended = async {
        while lazy.score(&ours.peer_id()).await >= 0.0 {
            ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
            sleep(10 * LOOK).await;
        }
    };
    timeout(PATIENCE, offended).await.expect("kona holds it against ours");
    ours.stop().await;
}

// In the next two tests kona has no scores: otherwise it would soon stop announcing to peers whose
// ids it penalises.

pub(crate) async fn we_fetch_announced_blocks_and_forgive_its_ids() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let theirs = Konas::start()
        .node(&chain, Start { mesh: Some(1), scoreless: true, ..Start::default() })
        .await;
    let ours = [(); 2].map(|()| Host::start(config(&directory, &chain)));
    let ours: Vec<Host> =
        futures::future::join_all(ours).await.into_iter().map(Result::unwrap).collect();
    for host in &ours {
        theirs.connect(&host.address()).await;
        until(host, |status| status.subscribers == 1).await;
    }
    let all: Vec<&Host> = ours.iter().collect();
    let (_, lazy) = loop {
        let mesh = theirs.meshed(&chain, version, 1).await;
        match parted(&all, |host| mesh.contains(&host.peer_id().to_string())) {
            Some(parted) => break parted,
            None => sleep(LOOK).await,
        }
    };
    let mut events = lazy.events();
    let mut maker = BlockMaker::new(&chain, 42);
    for _ in 0..FORGIVEN {
        let hash = theirs.publish(&maker.next(unix_seconds())).await.hash;
        assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
    }
    // It delivers, and keeps no promise under the ids that it announces: they are foreign. From
    // then on it is not asked for them, so that it breaks no more promises.
    for _ in 0..2 * FOREIGN_AFTER {
        theirs.publish(&maker.next(unix_seconds())).await;
        sleep(10 * LOOK).await;
    }
    sleep(PROMISE_TIME + HEARTBEAT).await;
    for host in &ours {
        let score = our_score(host, &theirs.id);
        assert!(score >= 0.0, "ours holds {score} against kona");
    }
    for host in ours {
        host.stop().await;
    }
}

pub(crate) async fn the_reference_also_penalises_its_ids() {
    let version = PayloadVersion::V4;
    let chain = chain_of(version);
    let (konas, nodes) = (Konas::start(), OpNodes::start());
    let theirs =
        konas.node(&chain, Start { mesh: Some(1), scoreless: true, ..Start::default() }).await;
    let references =
        [nodes.node(&chain, Setup::default()).await, nodes.node(&chain, Setup::default()).await];
    for node in &references {
        node.connect(&theirs.address).await;
    }
    let all: Vec<&OpNode> = references.iter().collect();
    let is_parted = async || {
        let mesh = theirs.meshed(&chain, version, 1).await;
        parted(&all, |node| mesh.contains(&node.id.to_string())).is_some()
    };
    until_true("one is outside its mesh", PATIENCE, is_parted).await;
    let mut maker = BlockMaker::new(&chain, 43);
    let offended = async {
        // The two peers may swap places meanwhile.
        loop {
            for node in &references {
                if node.scores(&theirs.id).await.scores.gossip.behavioral_penalty > 0.0 {
                    return;
                }
            }
            theirs.publish(&maker.next(unix_seconds())).await;
            sleep(10 * LOOK).await;
        }
    };
    timeout(2 * PATIENCE, offended).await.expect("the reference holds it against kona");
}

pub(crate) async fn in_a_mesh_of_three_implementations_every_block_reaches_all() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let (konas, nodes) = (Konas::start(), OpNodes::start());
    let kona = konas.node(&chain, Start::default()).await;
    let reference = nodes.node(&chain, Setup { sequencer: true, ..Setup::default() }).await;
    reference.connect(&kona.address).await;
    let config = HostConfig {
        static_peers: vec![kona.address.clone(), reference.address.clone()],
        sequencer: Some(ours::signer().into()),
        ..config(&directory, &chain)
    };
    let ours = Host::start(config).await.unwrap();
    until(&ours, |status| status.mesh == 2).await;
    kona.meshed(&chain, version, 2).await;
    while !reference.meshed(&chain, version, &ours.peer_id()).await
        || !reference.meshed(&chain, version, &kona.id).await
    {
        sleep(LOOK).await;
    }

    let (mut events, mut heard, mut taken) = (ours.events(), kona.heard(), reference.taken());
    let mut maker = BlockMaker::new(&chain, 50);
    for round in 0..12 {
        let block = maker.next(unix_seconds());
        let publisher = round % 3;
        let hash = match publisher {
            0 => ours.publish(block).await.unwrap().unwrap(),
            1 => kona.publish(&block).await.hash,
            _ => reference.publish(&block).await,
        };
        // The publisher does not receive its own blocks.
        if publisher != 0 {
            assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
        }
        if publisher != 1 {
            assert_eq!(heard.next().await.hash, Some(hash));
        }
        if publisher != 2 {
            assert_eq!(taken.next().await.hash, hash);
        }
    }
    for peer in [&kona.id, &reference.id] {
        assert!(our_score(&ours, peer) >= 0.0);
    }
    for peer in [&ours.peer_id(), &reference.id] {
        assert!(kona.score(peer).await >= 0.0);
    }
    for peer in [&ours.peer_id(), &kona.id] {
        assert!(reference.scores(peer).await.total >= 0.0);
    }
    ours.stop().await;
}

pub(crate) async fn each_finds_the_other_by_discovery() {
    let (chain, directory) = (chain_of(PayloadVersion::V4), tempfile::tempdir().unwrap());
    let konas = Konas::start();
    let looking = |bootnodes: Vec<_>| HostConfig {
        discovery: Some(DiscoveryConfig {
            bootnodes: Some(bootnodes),
            pace: PaceConfig { fast: Duration::from_millis(500), slow: Duration::from_secs(2) },
            ..DiscoveryConfig::default()
        }),
        ..config(&directory, &chain)
    };
    // One of our nodes without bootnodes, one of theirs with ours as its bootnode, and one more of
    // each, with an earlier node as its bootnode.
    let first = Host::start(looking(vec![])).await.unwrap();
    let knowing = |record: String, store: &str| Start {
        discovery: Some((vec![record], directory.path().join(store))),
        ..Start::default()
    };
    let second = konas.node(&chain, knowing(first.local_enr().unwrap(), "second")).await;
    let record = second.enr.as_ref().unwrap();
    let third = Host::start(looking(vec![record.parse().unwrap()])).await.unwrap();
    let fourth = konas.node(&chain, knowing(third.local_enr().unwrap(), "fourth")).await;
    for host in [&first, &third] {
        until(host, |status| status.peers == 3).await;
    }
    for node in [&second, &fourth] {
        for host in [&first, &third] {
            node.peer(&host.peer_id(), |_| true).await;
        }
        let table: Vec<String> = node.call("table", json!({})).await;
        assert!(
            table.contains(&first.local_enr().unwrap())
                && table.contains(&third.local_enr().unwrap())
        );
    }
    first.stop().await;
    third.stop().await;
}

pub(crate) async fn it_is_not_blamed_for_serving_no_blocks() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let (theirs, ours) = pair(&Konas::start(), &directory, &chain, version).await;
    let mut events = ours.events();
    let mut maker = BlockMaker::new(&chain, 60);
    let first = theirs.publish(&maker.next(unix_seconds())).await.hash;
    assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(first));
    // Of ten blocks only the last arrives: the others would have to be requested.
    let skipped: Vec<Envelope> = (0..10).map(|_| maker.next(unix_seconds())).collect();
    let last = theirs.publish(&skipped[9]).await.hash;
    assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(last));
    let answered = async {
        loop {
            if let HostEventKind::Core(Event::Sync(SyncEvent::Answered(answered))) =
                events.recv().await.unwrap().kind
            {
                break answered;
            }
        }
    };
    let answered = timeout(PATIENCE, answered).await.expect("kona is asked");
    assert_eq!(answered.source.peer(), from_libp2p(&theirs.id));
    // It could only answer that it has no block, and only under the protocol name of the public
    // specification, which no other implementation uses.
    let unsupported = AnswerError::Request(RequestFailure::Unsupported);
    assert_eq!(answered.result.unwrap_err().to_string(), unsupported.to_string());

    // This does not keep our node from asking others.
    let reference = OpNodes::start().node(&chain, Setup::default()).await;
    reference.hold(&skipped).await;
    ours.connect(reference.address.clone()).await.unwrap().unwrap();
    until(&ours, |status| status.head.is_some_and(|head| head.hash == last)).await;
    assert!(our_score(&ours, &theirs.id) >= 0.0);
    assert_eq!(ours.status().borrow().peers, 2);
    ours.stop().await;
}
