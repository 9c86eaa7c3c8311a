//! The configuration of gossipsub: the core's numbers in the library's types.

use crate::score::score_peers;
use crate::{BlockTransform, Config, InvalidConfig};
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAuthenticity, TopicHash, ValidationMode,
    WhitelistSubscriptionFilter,
};
use opp2p_core::gossip::{self as rules, MAX_MESSAGE_SIZE, Mesh, block_topic};
use opp2p_core::payload::PayloadVersion;
use std::collections::HashSet;

/// Gossipsub with the block topics' transform and filter.
pub type Gossipsub = gossipsub::Behaviour<BlockTransform, WhitelistSubscriptionFilter>;

/// Creates the gossipsub of one mesh, without subscriptions.
pub(super) fn gossipsub(
    config: &Config,
    mesh: Mesh,
    transform: &BlockTransform,
) -> Result<Gossipsub, InvalidConfig> {
    let names = transform.clone();
    let sizes = mesh.sizes(config.mesh);
    let gossip = ConfigBuilder::default()
        .mesh_n(sizes.d)
        .mesh_n_low(sizes.low)
        .mesh_n_high(sizes.high)
        .mesh_outbound_min(mesh.outbound_min(&sizes))
        .gossip_lazy(sizes.lazy)
        .flood_publish(sizes.flood_publish)
        .heartbeat_interval(rules::HEARTBEAT)
        .heartbeat_initial_delay(rules::HEARTBEAT_INITIAL_DELAY)
        .fanout_ttl(rules::FANOUT_TTL)
        .history_length(rules::HISTORY_LENGTH)
        .history_gossip(rules::HISTORY_GOSSIP)
        .duplicate_cache_time(rules::SEEN_TTL)
        .max_transmit_size(MAX_MESSAGE_SIZE)
        .connection_handler_queue_len(mesh.queue())
        .max_control_messages_sent(rules::MAX_IHAVE_IDS)
        // The library drops messages that wait more than a few seconds for a slow peer; the
        // reference drops only what its queue can't hold. A block is worth sending for as long as
        // it would be accepted.
        .publish_queue_duration(rules::TIMESTAMP_THRESHOLD)
        .forward_queue_duration(rules::TIMESTAMP_THRESHOLD)
        .idontwant_message_size_threshold(rules::IDONTWANT_THRESHOLD)
        // Strict no-sign: a message with author, number, key or signature is invalid.
        .validation_mode(ValidationMode::Anonymous)
        // Nothing is relayed before the core's verdict.
        .validate_messages()
        .message_id_fn(move |message| names.id(message))
        .build()
        .map_err(|error| InvalidConfig(error.to_string()))?;
    let topics = PayloadVersion::ALL
        .map(|version| TopicHash::from_raw(block_topic(config.chain_id, version)));
    let filter = WhitelistSubscriptionFilter(HashSet::from(topics));
    let mut gossipsub = Gossipsub::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Anonymous,
        gossip,
        filter,
        transform.clone(),
    )
    .map_err(|error| InvalidConfig(error.into()))?;
    if let Some(params) = &config.scoring {
        score_peers(&mut gossipsub, config.chain_id, &params.for_mesh(mesh))?;
    }
    Ok(gossipsub)
}

/// Subscribes to all block topics.
pub(super) fn join_all(
    mut gossipsub: Gossipsub,
    chain_id: u64,
) -> Result<Gossipsub, InvalidConfig> {
    for version in PayloadVersion::ALL {
        let topic = IdentTopic::new(block_topic(chain_id, version));
        gossipsub.subscribe(&topic).map_err(|error| InvalidConfig(error.to_string()))?;
    }
    Ok(gossipsub)
}
