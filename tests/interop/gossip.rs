//! Blocks by gossip between our nodes and the reference's.

use crate::op_node::{OpNode, OpNodes, Setup, count};
use crate::ours::{self, ANY_AGE, chain_of, config, padded, until, verdict};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{Host, HostConfig};
use opp2p::swarm::from_libp2p;
use opp2p_core::chain::ChainConfig;
use opp2p_core::fixtures;
use opp2p_core::payload::{Envelope, PayloadVersion};

/// Blocks of the version: those that are bundled, one made up, and a large and a very large one.
fn blocks(chain: &ChainConfig, version: PayloadVersion) -> Vec<Envelope> {
    let real = fixtures::blocks().into_iter().filter(|block| block.version == version);
    let signed = fixtures::messages().into_iter().filter(|message| message.version == version);
    let signed = signed.map(|message| {
        let contents = opp2p_core::payload::snappy::decompress(&message.data, 10 << 20, 0).unwrap();
        Envelope::decode(version, &contents[opp2p_core::gossip::SIGNATURE_SIZE..]).unwrap()
    });
    let mut maker = BlockMaker::new(chain, 1);
    let mut made = || maker.next(unix_seconds());
    let made = [made(), padded(made(), 1 << 20), padded(made(), 9 << 20)];
    real.map(|block| block.envelope).chain(signed).chain(made).collect()
}

/// A node of the reference and one of ours that take blocks of any age, in each other's mesh.
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

pub(crate) async fn every_version_of_ours_is_taken() {
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
        assert_eq!(count(&verdicts, &ours.peer_id(), "delivered"), blocks.len() as u64, "{verdicts:?}");
        assert!(theirs.scores(&ours.peer_id()).await.total >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

pub(crate) async fn every_version_of_theirs_is_taken() {
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
