//! Information about peers, in the reference's shapes.

use super::types::{
    AddressBan, Bans, PeerBan, PeerCount, PeerDump, PeerInfo, PeerStats, ScoreEntry,
};
use alloy_primitives::{hex, keccak256};
use libp2p::identity::PublicKey;
use opp2p_core::payload::PayloadVersion;
use opp2p_core::peers::{Gate, PeerId, PeerManager, PeerRecord, PeerScores};
use opp2p_node::host::HostHandle;
use std::collections::BTreeMap;

/// Maximum size of an answer about peers in bytes, by a rough count: peers choose the lengths of
/// their own texts. Peers that are not connected are left out first.
const DUMP_BYTES: usize = 6 << 20;

/// Snapshot of a peer, taken while the node waits; the conversion to an answer happens afterwards.
struct Known {
    peer: PeerId,
    record: PeerRecord,
    scores: PeerScores,
    is_connected: bool,
    is_inbound: Option<bool>,
    is_spared: bool,
    gossips: bool,
}

impl Known {
    fn look(peers: &PeerManager, peer: &PeerId, scores: PeerScores, is_connected: bool) -> Self {
        let any = |is: fn(&PeerManager, &PeerId, PayloadVersion) -> bool| {
            PayloadVersion::ALL.into_iter().any(|topic| is(peers, peer, topic))
        };
        Self {
            peer: *peer,
            record: peers.book().get(peer).cloned().unwrap_or_default(),
            scores,
            is_connected,
            is_inbound: peers.is_inbound(peer),
            is_spared: peers.is_protected(peer) || any(PeerManager::is_in_mesh),
            gossips: any(PeerManager::is_subscribed),
        }
    }

    /// Returns the approximate number of bytes in an answer.
    fn size(&self) -> usize {
        let PeerRecord { addresses, protocols, agent, protocol_version, metadata, .. } =
            &self.record;
        let addresses = addresses.iter().map(|known| known.address.len() + 64);
        let protocols = protocols.iter().map(|protocol| protocol.len() + 3);
        let texts = agent.len() + protocol_version.len() + metadata.enr.len();
        1024 + texts + addresses.sum::<usize>() + protocols.sum::<usize>()
    }

    fn info(self) -> Option<(String, PeerInfo)> {
        let id = opp2p_wire::to_libp2p(&self.peer)?;
        let record = self.record;
        let suffix = format!("/p2p/{id}");
        let addresses =
            record.addresses.into_iter().map(|known| with_suffix(known.address, &suffix));
        let info = PeerInfo {
            peer_id: id.to_string(),
            node_id: node_id(&id),
            user_agent: record.agent,
            protocol_version: record.protocol_version,
            enr: record.metadata.enr,
            addresses: unless_empty(addresses.collect()),
            protocols: unless_empty(record.protocols),
            connectedness: self.is_connected.into(),
            direction: self.is_inbound.map_or(0, |is_inbound| if is_inbound { 1 } else { 2 }),
            protected: self.is_spared,
            chain_id: record.metadata.chain_id,
            latency: record
                .latency
                .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            gossip_blocks: self.gossips,
            scores: self.scores,
        };
        Some((id.to_string(), info))
    }
}

/// Converts an empty list to `None`, since Go writes a list without elements as `null`.
fn unless_empty(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

fn with_suffix(address: String, suffix: &str) -> String {
    if address.ends_with(suffix) { address } else { address + suffix }
}

/// Returns the discovery id of a peer whose id holds its secp256k1 key; zeros for other peers.
fn node_id(peer: &libp2p::PeerId) -> String {
    // An identity multihash: its code, the length, and the key in libp2p's protobuf.
    let bytes = peer.to_bytes();
    let key = match bytes.as_slice() {
        [0, _, key @ ..] => PublicKey::try_decode_protobuf(key).ok(),
        _ => None,
    };
    let point =
        key.and_then(|key| key.try_into_secp256k1().ok()).map(|key| key.to_bytes_uncompressed());
    match point {
        Some([_, point @ ..]) => hex::encode(keccak256(point)),
        None => "0".repeat(64),
    }
}

fn name(peer: &PeerId) -> Option<String> {
    opp2p_wire::to_libp2p(peer).map(|peer| peer.to_string())
}

/// Answers `opp2p_self`.
pub(super) fn own(host: &HostHandle) -> PeerInfo {
    let peer = host.peer_id();
    let chain_id = host.core(|node, _| node.chain().chain_id);
    let addresses = host.addresses().iter().map(ToString::to_string).collect();
    PeerInfo {
        peer_id: peer.to_string(),
        node_id: node_id(&peer),
        user_agent: host.agent().to_owned(),
        enr: host.local_enr().unwrap_or_default(),
        addresses: unless_empty(addresses),
        protocols: unless_empty(host.protocols().to_vec()),
        chain_id,
        gossip_blocks: true,
        ..PeerInfo::default()
    }
}

/// Answers `opp2p_peers`: the connected peers, or all peers with a record, including this node.
pub(super) fn dump(host: &HostHandle, connected_only: bool) -> PeerDump {
    let (known, blocked) = host.peers(|peers, now| {
        let mut room = DUMP_BYTES;
        let mut known = Vec::new();
        let mut take = |peer: Known| {
            let size = peer.size();
            if size <= room {
                room -= size;
                known.push(peer);
            }
        };
        for peer in peers.connected_peers() {
            take(Known::look(peers, peer, peers.scores(now, peer), true));
        }
        if !connected_only {
            for (peer, _) in
                peers.book().iter().filter(|(peer, _)| peers.is_inbound(peer).is_none())
            {
                take(Known::look(peers, peer, peers.scores(now, peer), false));
            }
        }
        (known, Blocked::of(peers.gate()))
    });
    let mut dump = PeerDump {
        total_connected: count(known.iter().filter(|known| known.is_connected).count()),
        peers: known.into_iter().filter_map(Known::info).collect(),
        banned_peers: blocked.peers.iter().filter_map(name).collect(),
        banned_ips: blocked.ips,
        banned_subnets: blocked.subnets,
    };
    if !connected_only {
        // The reference also lists itself among the known peers, as one that is not in its own
        // gossip.
        let own = PeerInfo { gossip_blocks: false, ..own(host) };
        dump.peers.insert(own.peer_id.clone(), own);
    }
    dump
}

/// The operator's block lists.
pub(super) struct Blocked {
    pub(super) peers: Vec<PeerId>,
    pub(super) ips: Vec<std::net::IpAddr>,
    pub(super) subnets: Vec<super::types::IpNet>,
}

impl Blocked {
    fn of(gate: &Gate) -> Self {
        Self {
            peers: gate.blocked_peers().collect(),
            ips: gate.blocked_ips().collect(),
            subnets: gate.blocked_subnets().map(Into::into).collect(),
        }
    }

    pub(super) fn look(host: &HostHandle) -> Self {
        host.peers(|peers, _| Self::of(peers.gate()))
    }

    pub(super) fn peer_names(&self) -> Vec<String> {
        self.peers.iter().filter_map(name).collect()
    }
}

/// Answers `opp2p_peerStats`.
pub(super) fn stats(host: &HostHandle) -> PeerStats {
    let table = host.discovery_table().map_or(0, |table| count(table.len()));
    host.peers(|peers, _| {
        let on =
            |topic| peers.connected_peers().filter(|peer| peers.is_subscribed(peer, topic)).count();
        let [v1, v2, v3, v4] = PayloadVersion::ALL.map(on).map(count);
        PeerStats {
            connected: count(peers.connected_peers().len()),
            table,
            blocks_topic: v1,
            blocks_topic_v2: v2,
            blocks_topic_v3: v3,
            blocks_topic_v4: v4,
            banned: count(peers.gate().blocked_peers().count()),
            known: count(peers.book().len().saturating_add(1)),
        }
    })
}

/// Answers `opp2p_peerCount`.
pub(super) fn peer_count(host: &HostHandle) -> PeerCount {
    PeerCount {
        connected_discovery: host.discovery_table().map(|table| count(table.len())),
        connected_gossip: host.peers(|peers, _| count(peers.connected_peers().len())),
    }
}

/// Answers `opp2p_scoreBook`: all peers with remembered scores, by id. Connected peers have their
/// current scores.
pub(super) fn score_book(host: &HostHandle) -> BTreeMap<String, ScoreEntry> {
    let entries: Vec<(PeerId, ScoreEntry)> = host.peers(|peers, now| {
        let each = peers.book().iter().map(|(peer, record)| {
            let peer_scores = peers.scores(now, peer);
            (*peer, ScoreEntry { last_update: record.scored_at, peer_scores })
        });
        let zero = PeerScores::default();
        each.filter(|(_, entry)| entry.last_update > 0 || entry.peer_scores != zero).collect()
    });
    entries.into_iter().filter_map(|(peer, entry)| Some((name(&peer)?, entry))).collect()
}

/// Answers `opp2p_bans`: the bans that have not ended.
pub(super) fn bans(host: &HostHandle) -> Bans {
    let (peers, addresses) = host.peers(|peers, now| {
        let (gate, unix) = (peers.gate(), now.unix_seconds());
        let of_peers = gate.peer_bans().filter(|(_, expiry)| *expiry > unix);
        let of_peers = of_peers.map(|(peer, expiry)| (peer, expiry, peers.score(now, &peer)));
        let of_ips = gate.ip_bans().filter(|(_, expiry)| *expiry > unix);
        let of_ips = of_ips.map(|(ip, expiry)| AddressBan { ip, expiry });
        (of_peers.collect::<Vec<_>>(), of_ips.collect())
    });
    let peers = peers
        .into_iter()
        .filter_map(|(peer, expiry, score)| Some(PeerBan { peer_id: name(&peer)?, expiry, score }));
    Bans { peers: peers.collect(), addresses }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_node::key::SecretKey;

    #[test]
    fn the_node_id_follows_from_a_peer_id_with_a_secp256k1_key() {
        let key = SecretKey::generate().unwrap();
        assert_eq!(node_id(&key.peer_id()), hex::encode(key.node_id()));
        let other = libp2p::identity::Keypair::ed25519_from_bytes([7; 32]).unwrap();
        assert_eq!(node_id(&other.public().to_peer_id()), "0".repeat(64));
        let hashed = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert_eq!(node_id(&hashed), "0".repeat(64));
    }

    #[test]
    fn an_address_contains_the_peer_id_once() {
        assert_eq!(with_suffix("/ip4/1.2.3.4/tcp/9".into(), "/p2p/x"), "/ip4/1.2.3.4/tcp/9/p2p/x");
        assert_eq!(
            with_suffix("/ip4/1.2.3.4/tcp/9/p2p/x".into(), "/p2p/x"),
            "/ip4/1.2.3.4/tcp/9/p2p/x"
        );
    }
}
