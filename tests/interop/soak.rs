//! Half an hour of a mixed network in which nodes stop and restart: `cargo all-tests -- soak`.
//!
//! Four of our nodes and four of the reference's follow a chain with a block every two seconds,
//! published in turns by one node of each kind. Every half minute a follower stops, and restarts a
//! while later: ours with its store, the reference's without one. No node may give another a bad
//! score, and at the end all of ours must have the whole chain.

use crate::foreign;
use crate::op_node::{OpNode, OpNodes, Setup};
use crate::ours::{self, chain_of, config, until};
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{BlockId, ChainConfig};
use opp2p_core::payload::PayloadVersion;
use opp2p_node::host::{Host, HostConfig};
use opp2p_node::key::SecretKey;
use std::process::ExitCode;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

/// Number of nodes of each kind. The first of each kind publishes, and is never stopped.
const EACH: usize = 4;
/// Number of blocks between two restarts, and number of blocks for which a node is down.
const RESTART_EVERY: u64 = 15;
const AWAY: u64 = 8;

/// Runs the network for this many minutes.
pub(crate) fn run(minutes: u64) -> ExitCode {
    if foreign::programs().is_none() {
        eprintln!(
            "This needs the reference's programs; `cargo all-tests -- soak` builds and runs it."
        );
        return ExitCode::FAILURE;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(soak(minutes));
    ExitCode::SUCCESS
}

struct Network {
    chain: ChainConfig,
    directory: TempDir,
    keys: Vec<[u8; 32]>,
    nodes: OpNodes,
    ours: Vec<Option<Host>>,
    theirs: Vec<Option<OpNode>>,
}

impl Network {
    /// Returns the addresses of the running nodes.
    fn addresses(&self) -> Vec<Multiaddr> {
        let ours = self.ours.iter().flatten().map(|host| host.address());
        ours.chain(self.theirs.iter().flatten().map(|node| node.address.clone())).collect()
    }

    /// Starts our node of this number, with its key and store.
    async fn start_ours(&mut self, at: usize) {
        let config = HostConfig {
            key: SecretKey::from_bytes(&self.keys[at]).unwrap(),
            store: self.directory.path().join(at.to_string()),
            static_peers: self.addresses(),
            sequencer: (at == 0).then(|| ours::signer().into()),
            from_genesis: true,
            ..config(&self.directory, &self.chain)
        };
        self.ours[at] = Some(Host::start(config).await.unwrap());
    }

    async fn start_theirs(&mut self, at: usize) {
        let node =
            self.nodes.node(&self.chain, Setup { sequencer: at == 0, ..Setup::default() }).await;
        for address in self.addresses() {
            node.connect(&address).await;
        }
        self.theirs[at] = Some(node);
    }

    /// Returns the lowest score that any node has given another.
    async fn lowest_score(&self) -> f64 {
        let mut lowest = f64::INFINITY;
        for host in self.ours.iter().flatten() {
            let score = host.peers(|peers, now| {
                peers
                    .connected_peers()
                    .map(|peer| peers.score(now, peer))
                    .fold(f64::INFINITY, f64::min)
            });
            lowest = lowest.min(score);
            for node in self.theirs.iter().flatten() {
                lowest = lowest.min(node.scores(&host.peer_id()).await.total);
            }
        }
        lowest
    }
}

async fn soak(minutes: u64) {
    let mut chain = chain_of(PayloadVersion::V4);
    chain.genesis.time = unix_seconds();
    let mut network = Network {
        directory: tempfile::tempdir().unwrap(),
        keys: (1..=EACH as u8).map(|at| [at; 32]).collect(),
        nodes: OpNodes::start(),
        ours: (0..EACH).map(|_| None).collect(),
        theirs: vec![None; EACH],
        chain,
    };
    for at in 0..EACH {
        network.start_ours(at).await;
        network.start_theirs(at).await;
    }
    let first = network.ours[0].as_ref().unwrap();
    until(first, |status| status.mesh >= EACH).await;

    let mut maker = BlockMaker::new(&network.chain, 1);
    let mut head = BlockId::new(0, network.chain.genesis.hash);
    let (mut restarts, mut lowest) = (0, f64::INFINITY);
    for number in 1..=minutes * 60 / network.chain.block_time {
        let timestamp = network.chain.timestamp_of(number).unwrap();
        sleep(Duration::from_secs(timestamp.saturating_sub(unix_seconds()))).await;
        let block = maker.next(timestamp);
        head = BlockId::new(number, block.payload.block_hash);
        if number.is_multiple_of(2) {
            network.ours[0].as_ref().unwrap().publish(block).await.unwrap().unwrap();
        } else {
            network.theirs[0].as_ref().unwrap().publish(&block).await;
        }
        // The followers of both kinds in turn.
        let turn = (number / RESTART_EVERY) as usize;
        let (is_ours, at) = (turn.is_multiple_of(2), 1 + turn / 2 % (EACH - 1));
        match (number % RESTART_EVERY, is_ours) {
            (0, true) => network.ours[at].take().unwrap().stop().await,
            (0, false) => network.theirs[at].take().unwrap().stop().await,
            (AWAY, true) if network.ours[at].is_none() => network.start_ours(at).await,
            (AWAY, false) if network.theirs[at].is_none() => network.start_theirs(at).await,
            _ => {}
        }
        restarts += u64::from(number.is_multiple_of(RESTART_EVERY));
        lowest = lowest.min(network.lowest_score().await);
        assert!(lowest >= 0.0, "block {number}: somebody has a score of {lowest}");
        if number.is_multiple_of(30) {
            println!("block {number}: {restarts} nodes ended so far, lowest score {lowest:.2}");
        }
    }
    for at in 1..EACH {
        if network.ours[at].is_none() {
            network.start_ours(at).await;
        }
    }
    for (at, host) in network.ours.iter().enumerate() {
        let host = host.as_ref().unwrap();
        until(host, |status| status.stored.is_some_and(|stored| stored == head)).await;
        let missing =
            (1..=head.number).find(|number| host.stored_block(*number).unwrap().is_none());
        assert_eq!(missing, None, "our node {at}");
        // A publisher's own blocks are not validated by gossip.
        let refused = host.status().borrow().refused.clone();
        println!("our node {at} has all {} blocks; refused: {refused:?}", head.number);
    }
    println!(
        "{} minutes, {} blocks, {restarts} restarts, lowest score {lowest:.2}",
        minutes, head.number
    );
}
