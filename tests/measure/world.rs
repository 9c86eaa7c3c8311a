//! Nodes and blocks for the measurements.

pub(crate) use crate::kit::{PATIENCE, config, fill, signed, signer, sized, until};

use alloy_primitives::B256;
use opp2p::devnet::unix_seconds;
use opp2p_core::chain::{BlockId, ChainConfig, Fork};
use opp2p_core::peers::Scoring;
use opp2p_node::host::{Host, HostEvent, HostEventKind, WsConfig};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Returns a chain of the newest fork, whose existing blocks are at most `age` old.
pub(crate) fn chain(age: Duration) -> ChainConfig {
    let start = unix_seconds() - age.as_secs();
    let genesis = B256::repeat_byte(9);
    let chain = ChainConfig::development(901, genesis, start, 1, Fork::Jovian, signer().address());
    ChainConfig { block_time: 1, ..chain }
}

/// Returns the next block that the node accepts, and its time.
pub(crate) async fn accepted(events: &mut broadcast::Receiver<HostEvent>) -> (BlockId, Instant) {
    let next = async {
        loop {
            let event = events.recv().await.expect("the listener keeps up");
            if let HostEventKind::Verdict(verdict) = event.kind {
                break (verdict.result.expect("all blocks are good"), event.at);
            }
        }
    };
    timeout(PATIENCE, next).await.expect("a node accepts a block in time")
}

/// Returns the value at the share `part` (0 to 1) of the sorted values.
pub(crate) fn at(values: &[f64], part: f64) -> f64 {
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// Argument that makes this program one node, to be measured from outside.
pub(crate) const NODE: &str = "--node";

/// Runs a node until standard input ends. Its first two lines of output are its addresses, for TCP
/// and for browsers.
pub(crate) async fn run_node() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), &chain(Duration::ZERO));
    config.ws = Some(WsConfig::default());
    // All peers come from one address, which scores would penalise.
    config.peers.scoring = Scoring::None;
    (config.peers.connections.low, config.peers.connections.high) = (10, 1000);
    config.peers.limits.tcp.inbound = 1000;
    config.peers.limits.tcp.half_open = 1000;
    config.peers.limits.browser.half_open = 1000;
    let host = Host::start(config).await.unwrap();
    println!("{}", host.address());
    println!("{}", host.browser_addresses().first().expect("there is a door for browsers"));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {}
    host.stop().await;
}
