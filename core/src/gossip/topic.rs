//! Block topics: one for each payload version (`op-node/p2p/gossip.go`).

use crate::payload::PayloadVersion;

/// Returns the name of the topic that carries blocks of `version` on chain `chain_id`:
/// `/optimism/<chain id, decimal>/<version - 1>/blocks`.
pub fn block_topic(chain_id: u64, version: PayloadVersion) -> String {
    format!("/optimism/{chain_id}/{}/blocks", version.number() - 1)
}

/// Returns the version that `topic` carries on chain `chain_id`, or `None` for any other topic.
pub fn version_of_topic(chain_id: u64, topic: &str) -> Option<PayloadVersion> {
    PayloadVersion::ALL.into_iter().find(|version| block_topic(chain_id, *version) == topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_match_the_reference() {
        let names = PayloadVersion::ALL.map(|version| block_topic(10, version));
        assert_eq!(
            names,
            [
                "/optimism/10/0/blocks",
                "/optimism/10/1/blocks",
                "/optimism/10/2/blocks",
                "/optimism/10/3/blocks"
            ]
        );
    }

    #[test]
    fn only_exact_topics_of_the_chain_have_a_version() {
        assert_eq!(version_of_topic(10, "/optimism/10/3/blocks"), Some(PayloadVersion::V4));
        for other in
            ["/optimism/10/4/blocks", "/optimism/100/3/blocks", "/optimism/10/3/blocks/", ""]
        {
            assert_eq!(version_of_topic(10, other), None);
        }
    }
}
