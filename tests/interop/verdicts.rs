//! What each side makes of what no honest node sends: its verdict, and what it thinks of the sender afterwards.

use crate::go_stranger::GoStranger;
use crate::op_node::{OpNodes, Setup, count};
use crate::ours::{chain_of, config, message, signed, until, verdict};
use crate::stranger::Stranger;
use alloy_primitives::B256;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::host::{Host, HostConfig};
use opp2p::swarm::from_libp2p;
use opp2p_core::chain::ChainConfig;
use opp2p_core::gossip::{Reason, block_topic};
use opp2p_core::payload::{PayloadVersion, snappy};
use std::time::Duration;
use tokio::time::sleep;

/// The topic on which all of this is sent.
const VERSION: PayloadVersion = PayloadVersion::V4;

/// Messages with something wrong in each, what that is, and the check of ours that finds it.
pub(crate) fn bad_messages(chain: &ChainConfig) -> Vec<(&'static str, Vec<u8>, Reason)> {
    let mut maker = BlockMaker::new(chain, 1);
    let now = unix_seconds();
    let good = maker.next(now);
    let mut forged = signed(chain, &good);
    forged[100] ^= 1;
    let mut unsigned = signed(chain, &good);
    unsigned[..65].fill(0);
    let mut broken = good;
    broken.payload.block_hash = B256::repeat_byte(1);
    let stale = BlockMaker::new(chain, 2).next(now - 300);
    let future = BlockMaker::new(chain, 3).next(now + 300);
    let old_fork = BlockMaker::new(&chain_of(PayloadVersion::V3), 4).next(now);
    vec![
        ("not snappy", vec![0xff; 5], Reason::SnappyHeader),
        ("broken snappy", vec![200, 1, 0xff, 0xff], Reason::SnappyBody),
        ("too short", snappy::compress(&[1; 65]), Reason::AnnouncedTooShort),
        ("oversized", snappy::compress(&vec![0x5a; (10 << 20) + 1]), Reason::AnnouncedTooLong),
        ("no signature", snappy::compress(&unsigned), Reason::Signature),
        ("forged", snappy::compress(&forged), Reason::WrongSigner),
        ("of another version", message(chain, &old_fork), Reason::Payload),
        ("stale", message(chain, &stale), Reason::TooOld),
        ("from the future", message(chain, &future), Reason::TooNew),
        ("with a wrong hash", message(chain, &broken), Reason::BlockHash),
    ]
}

pub(crate) async fn they_refuse_what_we_refuse() {
    let chain = chain_of(VERSION);
    let topic = block_topic(chain.chain_id, VERSION);
    let theirs = OpNodes::start().node(&chain, Setup::default()).await;
    for (what, data, _) in bad_messages(&chain) {
        let stranger = Stranger::meet(&theirs.address, &topic).await;
        stranger.send(data);
        let verdicts = loop {
            let verdicts = theirs.heard().await.verdicts;
            if verdicts.contains_key(&stranger.id.to_string()) {
                break verdicts;
            }
            sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(count(&verdicts, &stranger.id, "validation failed"), 1, "{what}: {verdicts:?}");
        // The reference scores no topic, so that what it refuses there costs nothing.
        assert_eq!(theirs.scores(&stranger.id).await.total, 0.0, "{what}");
    }
    // It goes on.
    let stranger = Stranger::meet(&theirs.address, &topic).await;
    let (mut taken, block) = (theirs.taken(), BlockMaker::new(&chain, 9).next(unix_seconds()));
    stranger.send(message(&chain, &block));
    assert_eq!(taken.next().await.hash, block.payload.block_hash);
}

pub(crate) async fn we_refuse_what_they_refuse() {
    let (chain, directory) = (chain_of(VERSION), tempfile::tempdir().unwrap());
    let host = Host::start(config(&directory, &chain)).await.unwrap();
    let nodes = OpNodes::start();
    let mut events = host.events();
    for (what, data, reason) in bad_messages(&chain) {
        let sender = send(&nodes, &chain, &host, &data).await;
        assert_eq!(verdict(&mut events).await, Err(reason), "{what}");
        // One is enough: nobody relays what he refuses himself.
        let banned = loop {
            let (score, banned) =
                host.peers(|peers, now| (peers.score(now, &sender), peers.gate().ban_of(&sender).is_some()));
            if banned {
                break score;
            }
            sleep(Duration::from_millis(50)).await;
        };
        assert!(banned < 0.0, "{what}: {banned}");
        until(&host, |status| status.peers == 0).await;
        // Others at the same address are not: the next comes from there.
        let all: Vec<_> = host.peers(|peers, _| peers.gate().blocked_ips().collect());
        assert!(all.is_empty(), "{what}: {all:?}");
    }
    let block = BlockMaker::new(&chain, 9).next(unix_seconds());
    send(&nodes, &chain, &host, &message(&chain, &block)).await;
    assert_eq!(verdict(&mut events).await.map(|id| id.hash), Ok(block.payload.block_hash));
    host.stop().await;
}

/// Lets a stranger of go-libp2p send this to our node. The answer is who it is.
async fn send(nodes: &OpNodes, chain: &ChainConfig, host: &Host, data: &[u8]) -> opp2p_core::peers::PeerId {
    let topic = block_topic(chain.chain_id, VERSION);
    let stranger =
        GoStranger::start(nodes, chain, &["noise"], &["yamux"], std::slice::from_ref(&topic)).await;
    stranger.connect(&host.address()).await.unwrap();
    stranger.send(&topic, data).await;
    from_libp2p(&stranger.id).unwrap()
}

pub(crate) async fn what_is_too_long_for_the_wire_ends_nothing_but_its_stream() {
    let (chain, directory) = (chain_of(VERSION), tempfile::tempdir().unwrap());
    let topic = block_topic(chain.chain_id, VERSION);
    let nodes = OpNodes::start();
    let theirs = nodes.node(&chain, Setup::default()).await;
    let static_peers = vec![theirs.address.clone()];
    let host = Host::start(HostConfig { static_peers, ..config(&directory, &chain) }).await.unwrap();
    until(&host, |status| status.mesh == 1).await;
    // A message of 11 MiB, which is more than either reads.
    let noise: Vec<u8> = (0..11_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let stranger = Stranger::meet(&theirs.address, &topic).await;
    stranger.send(noise.clone());
    send(&nodes, &chain, &host, &noise).await;

    let (mut events, mut taken) = (host.events(), theirs.taken());
    let block = BlockMaker::new(&chain, 5).next(unix_seconds());
    let other = Stranger::meet(&theirs.address, &topic).await;
    other.send(message(&chain, &block));
    assert_eq!(taken.next().await.hash, block.payload.block_hash);
    assert_eq!(verdict(&mut events).await.map(|id| id.hash), Ok(block.payload.block_hash));
    assert_eq!(theirs.heard().await.verdicts.get(&stranger.id.to_string()), None);
    assert_eq!(host.status().borrow().refused.len(), 0);
    host.stop().await;
}
