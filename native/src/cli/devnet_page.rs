//! The devnet's observer page: its configuration, which depends on the age of the chain.

use crate::devnet::Network;
use crate::page::{PageStart, Refresh};
use std::sync::Arc;
use std::time::Duration;

/// Age and number of blocks up to which the page follows the chain from its genesis. A follower
/// sends a browser some four blocks a second: the page of an older chain begins at its newest
/// block.
const YOUNG: Duration = Duration::from_secs(60);
const FEW: u64 = 120;

/// Returns the page's configuration: the devnet's chain from its beginning, and the addresses for
/// browsers.
pub(super) fn start(network: &Network) -> PageStart {
    PageStart {
        chain: network.chain().clone(),
        signer: None,
        peers: network.browser_addresses().iter().map(ToString::to_string).collect(),
        from_genesis: true,
        name: "opp2p devnet".into(),
    }
}

/// Returns the update of the page's configuration: an old chain is followed from its newest block.
pub(super) fn refresh(network: &Network, block_time: Duration) -> Refresh {
    let genesis = network.chain().genesis.number;
    // The sequencer comes first, and has every block.
    let status = network.statuses().into_iter().map(|(_, status)| status).next();
    Arc::new(move |start| {
        let head = status.as_ref().and_then(|status| status.borrow().head);
        let blocks = head.map_or(0, |head| head.number.saturating_sub(genesis));
        start.from_genesis = is_young(blocks, block_time);
    })
}

/// Returns `true` if a page can catch up with a chain of so many blocks within seconds.
fn is_young(blocks: u64, block_time: Duration) -> bool {
    let age = block_time.checked_mul(u32::try_from(blocks).unwrap_or(u32::MAX));
    blocks <= FEW && age.is_some_and(|age| age < YOUNG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_follows_only_a_young_and_short_chain_from_genesis() {
        let [second, tenth] = [Duration::from_secs(1), Duration::from_millis(100)];
        assert!(is_young(0, second) && is_young(59, second) && is_young(120, tenth));
        assert!(!is_young(60, second) && !is_young(121, tenth));
        assert!(!is_young(1, Duration::from_secs(3600)) && !is_young(u64::MAX, Duration::MAX));
    }
}
