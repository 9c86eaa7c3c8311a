//! Verdicts of each side on messages that no honest node sends, and the sender's score afterwards.

use crate::go_stranger::GoStranger;
use crate::op_node::{OpNodes, Setup, count};
use crate::ours::{chain_of, config, message, signed, until, verdict};
use crate::stranger::Stranger;
use alloy_primitives::B256;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::ChainConfig;
use opp2p_core::gossip::{Reason, block_topic};
use opp2p_core::payload::{PayloadVersion, snappy};
use opp2p_node::host::{Host, HostConfig};
use opp2p_wire::from_libp2p;
use std::time::Duration;
use tokio::time::sleep;

/// Version of the topic of all messages in this file.
const VERSION: PayloadVersion = PayloadVersion::V4;

/// Returns invalid messages, each with a description and the check of ours that detects the error.
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
        ("forged", snappy::compress(&forged), Reason::SignerInDoubt),
        ("of another version", message(chain, &old_fork), Reason::Payload),
        ("stale", message(chain, &stale), Reason::TooOld),
        ("from the future", message(chain, &future), Reason::TooNew),
        ("with a wrong hash", message(chain, &broken), Reason::BlockHash),
    ]
}

pub(crate) async fn they_refuse_the_messages_that_we_refuse() {
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
        // The reference does not score topics, so refused messages cost nothing there.
        assert_eq!(theirs.scores(&stranger.id).await.total, 0.0, "{what}");
    }
    // The node continues to work.
    let stranger = Stranger::meet(&theirs.address, &topic).await;
    let (mut taken, block) = (theirs.taken(), BlockMaker::new(&chain, 9).next(unix_seconds()));
    stranger.send(message(&chain, &block));
    assert_eq!(taken.next().await.hash, block.payload.block_hash);
}

pub(crate) async fn we_refuse_the_messages_that_they_refuse() {
    let (chain, directory) = (chain_of(VERSION), tempfile::tempdir().unwrap());
    let host = Host::start(config(&directory, &chain)).await.unwrap();
    let nodes = OpNodes::start();
    let mut events = host.events();
    // A block with the current time shows that the clock is right. Until then, blocks with other
    // times are ignored.
    let timely = BlockMaker::new(&chain, 8).next(unix_seconds());
    let honest = Stranger::meet(&host.address(), &block_topic(chain.chain_id, VERSION)).await;
    honest.send(message(&chain, &timely));
    assert_eq!(verdict(&mut events).await.map(|id| id.hash), Ok(timely.payload.block_hash));
    for (what, data, reason) in bad_messages(&chain) {
        let sender = send(&nodes, &chain, &host, &data).await;
        // No peer relays a message that announces too much: it needs no verdict.
        if reason != Reason::AnnouncedTooLong {
            assert_eq!(verdict(&mut events).await, Err(reason), "{what}");
        }
        if reason == Reason::SignerInDoubt {
            // A later block shows that the signer has not changed.
            let later = BlockMaker::new(&chain, 10).next(unix_seconds() + 2);
            honest.send(message(&chain, &later));
            assert!(verdict(&mut events).await.is_ok());
        }
        // One message is enough: no honest node relays a message that it refuses itself.
        let banned = loop {
            let (score, banned) = host.peers(|peers, now| {
                (peers.score(now, &sender), peers.gate().ban_of(&sender).is_some())
            });
            if banned {
                break score;
            }
            sleep(Duration::from_millis(50)).await;
        };
        assert!(banned < 0.0, "{what}: {banned}");
        until(&host, |status| status.peers == 1).await;
        // Others at the same address are not banned: the next stranger has that address.
        let all: Vec<_> = host.peers(|peers, _| peers.gate().blocked_ips().collect());
        assert!(all.is_empty(), "{what}: {all:?}");
    }
    let block = BlockMaker::new(&chain, 9).next(unix_seconds());
    send(&nodes, &chain, &host, &message(&chain, &block)).await;
    assert_eq!(verdict(&mut events).await.map(|id| id.hash), Ok(block.payload.block_hash));
    host.stop().await;
}

/// Makes a go-libp2p stranger send this to our node. Returns the stranger's peer id.
async fn send(
    nodes: &OpNodes,
    chain: &ChainConfig,
    host: &Host,
    data: &[u8],
) -> opp2p_core::peers::PeerId {
    let topic = block_topic(chain.chain_id, VERSION);
    let stranger =
        GoStranger::start(nodes, chain, &["noise"], &["yamux"], std::slice::from_ref(&topic)).await;
    stranger.connect(&host.address()).await.unwrap();
    stranger.send(&topic, data).await;
    from_libp2p(&stranger.id).unwrap()
}

pub(crate) async fn an_oversized_message_ends_only_its_stream() {
    let (chain, directory) = (chain_of(VERSION), tempfile::tempdir().unwrap());
    let topic = block_topic(chain.chain_id, VERSION);
    let nodes = OpNodes::start();
    let theirs = nodes.node(&chain, Setup::default()).await;
    let static_peers = vec![theirs.address.clone()];
    let host =
        Host::start(HostConfig { static_peers, ..config(&directory, &chain) }).await.unwrap();
    until(&host, |status| status.mesh == 1).await;
    // A message of 11 MiB, which exceeds the limit of both.
    let noise: Vec<u8> =
        (0..11_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
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
