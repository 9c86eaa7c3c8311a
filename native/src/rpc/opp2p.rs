//! The `opp2p` namespace, and the few methods that belong to no other table.

use super::admin::reload;
use super::context::Rpc;
use super::error::{BUSY, CallError, FAILED};
use super::method::{Limit, Method, Parameter, Work};
use super::params::{Answer, Arguments, failed, raw};
use super::recent::VERDICTS;
use super::{blocks, peers, status};
use futures::FutureExt;
use futures::future::BoxFuture;
use opp2p_core::peers::{BlockEntry, PeerCommand};
use opp2p_node::host::ConnectError;
use serde::Serialize;

const PEER: Parameter = Parameter::new("peer", "a peer id, in base58 or as a CID");
const IP: Parameter = Parameter::new("address", "an IP address");
const SUBNET: Parameter = Parameter::new(
    "subnet",
    "a network: `{\"IP\": \"10.0.0.0\", \"Mask\": \"/wAAAA==\"}` with the mask in base64, or \
     `\"10.0.0.0/8\"`",
);
const SECONDS: Parameter = Parameter::new("seconds", "a duration in seconds");
const BLOCK: Parameter = Parameter::new(
    "block",
    "a block: `{\"parentBeaconBlockRoot\", \"executionPayload\"}`, as `engine_getPayload` returns \
     it",
);
const NULL: &str = "`null`";

const DUMPED: &[(i32, &str)] = &[(BUSY, "too many calls with large answers wait already")];

/// The methods.
pub(super) const METHODS: [Method; 31] = [
    Method::new(
        "opp2p_self",
        &[],
        "Describes this node as it appears to others.",
        "a peer, as in `opp2p_peers`",
        Work::Look(|rpc, _| raw(&peers::own(&rpc.host))),
    ),
    Method::new(
        "opp2p_peers",
        &[Parameter::new("connected", "`true` for the connected peers only")],
        "Lists the connected peers, or all peers that the node knows, itself included. Peers that \
         are not connected are left out if the answer would be too long.",
        "`{totalConnected, peers, bannedPeers, bannedIPS, bannedSubnets}`; the last three are the \
         operator's block lists, and `peers` is an object by peer id",
        Work::Large(|rpc, given| raw(&peers::dump(&rpc.host, given.bool(0)?))),
    )
    .fails(DUMPED),
    Method::new(
        "opp2p_peerStats",
        &[],
        "Counts the peers.",
        "`{connected, table, blocksTopic, blocksTopicV2, blocksTopicV3, blocksTopicV4, banned, \
         known}`",
        Work::Look(|rpc, _| raw(&peers::stats(&rpc.host))),
    ),
    Method::new(
        "opp2p_peerCount",
        &[],
        "Counts the peers, in kona's format.",
        "`{connectedDiscovery, connectedGossip}`",
        Work::Look(|rpc, _| raw(&peers::peer_count(&rpc.host))),
    ),
    Method::new(
        "opp2p_discoveryTable",
        &[],
        "Lists the node records in the discovery table.",
        "a list of node records",
        Work::Look(discovery_table),
    )
    .fails(&[(FAILED, "discovery is off")]),
    Method::new(
        "opp2p_listBlockedPeers",
        &[],
        "Lists the peers that the operator has blocked.",
        "a list of peer ids",
        Work::Look(|rpc, _| raw(&peers::Blocked::look(&rpc.host).peer_names())),
    ),
    Method::new(
        "opp2p_listBlockedAddrs",
        &[],
        "Lists the addresses that the operator has blocked.",
        "a list of IP addresses",
        Work::Look(|rpc, _| raw(&peers::Blocked::look(&rpc.host).ips)),
    ),
    Method::new(
        "opp2p_listBlockedSubnets",
        &[],
        "Lists the networks that the operator has blocked.",
        "a list of `{IP, Mask}`",
        Work::Look(|rpc, _| raw(&peers::Blocked::look(&rpc.host).subnets)),
    ),
    Method::new(
        "opp2p_blockPeer",
        &[PEER],
        "Blocks a peer until it is unblocked, and closes its connection.",
        NULL,
        Work::Change(|rpc, given| {
            command(rpc, given.peer(0).map(|peer| PeerCommand::Block(BlockEntry::Peer(peer))))
        }),
    ),
    Method::new(
        "opp2p_unblockPeer",
        &[PEER],
        "Unblocks a peer, and lifts its ban.",
        NULL,
        Work::Change(|rpc, given| {
            command(rpc, given.peer(0).map(|peer| PeerCommand::Unblock(BlockEntry::Peer(peer))))
        }),
    ),
    Method::new(
        "opp2p_blockAddr",
        &[IP],
        "Blocks an address, and closes its connections.",
        NULL,
        Work::Change(|rpc, given| {
            command(rpc, given.ip(0).map(|ip| PeerCommand::Block(BlockEntry::Ip(ip))))
        }),
    ),
    Method::new(
        "opp2p_unblockAddr",
        &[IP],
        "Unblocks an address.",
        NULL,
        Work::Change(|rpc, given| {
            command(rpc, given.ip(0).map(|ip| PeerCommand::Unblock(BlockEntry::Ip(ip))))
        }),
    ),
    Method::new(
        "opp2p_blockSubnet",
        &[SUBNET],
        "Blocks a network, and closes its connections.",
        NULL,
        Work::Change(|rpc, given| {
            let entry = given.subnet(0).map(BlockEntry::Subnet);
            command(rpc, entry.map(PeerCommand::Block))
        }),
    ),
    Method::new(
        "opp2p_unblockSubnet",
        &[SUBNET],
        "Unblocks a network.",
        NULL,
        Work::Change(|rpc, given| {
            let entry = given.subnet(0).map(BlockEntry::Subnet);
            command(rpc, entry.map(PeerCommand::Unblock))
        }),
    ),
    Method::new(
        "opp2p_protectPeer",
        &[PEER],
        "Exempts a peer from being dropped when there are too many.",
        NULL,
        Work::Change(|rpc, given| {
            command(rpc, given.peer(0).map(|peer| PeerCommand::Protect(peer, true)))
        }),
    ),
    Method::new(
        "opp2p_unprotectPeer",
        &[PEER],
        "Ends that exemption.",
        NULL,
        Work::Change(|rpc, given| {
            command(rpc, given.peer(0).map(|peer| PeerCommand::Protect(peer, false)))
        }),
    ),
    Method::new(
        "opp2p_publishPayload",
        &[BLOCK],
        "Signs a block and gossips it. The call is answered once the block is on its way to a \
         peer. It is tried until the network would refuse the block as too old, and then the \
         error names the last obstacle.",
        "the block's hash",
        Work::Change(blocks::publish),
    )
    .fails(&[(
        FAILED,
        "the block is invalid, the node has no signer, or the block became too old: the message \
         says why (`the signer failed: …`, `no peer is subscribed to the topic`, …)",
    )])
    .within(Limit::Block),
    Method::new(
        "admin_postUnsafePayload",
        &[BLOCK],
        "Inserts a block into this node's own chain, as if the sequencer had signed it. The block \
         is not gossiped.",
        NULL,
        Work::Change(blocks::post_unsafe),
    )
    .fails(&[(FAILED, "the block is invalid")]),
    Method::new(
        "opp2p_connectPeer",
        &[Parameter::new("address", "a multiaddr that ends in `/p2p/PEER`")],
        "Connects to a peer. A peer that the node knows needs no more than `/p2p/PEER`.",
        NULL,
        Work::Change(connect),
    )
    .fails(&[(FAILED, "`bad peer address: …`, or `failed to dial: …` after at most 30 s")]),
    Method::new(
        "opp2p_disconnectPeer",
        &[PEER],
        "Closes the connection to a peer. The call is answered once the peer is gone.",
        NULL,
        Work::Change(|rpc, given| command(rpc, given.peer(0).map(PeerCommand::Disconnect))),
    ),
    Method::new(
        "opp2p_banPeer",
        &[PEER, SECONDS],
        "Bans a peer for a time, and closes its connection.",
        NULL,
        Work::Change(|rpc, given| {
            let ban =
                given.peer(0).and_then(|peer| Ok(PeerCommand::BanPeer(peer, given.seconds(1)?)));
            command(rpc, ban)
        }),
    ),
    Method::new(
        "opp2p_unbanPeer",
        &[PEER],
        "Lifts a peer's ban.",
        NULL,
        Work::Change(|rpc, given| command(rpc, given.peer(0).map(PeerCommand::UnbanPeer))),
    ),
    Method::new(
        "opp2p_banAddr",
        &[IP, SECONDS],
        "Bans an address for a time, and closes its connections.",
        NULL,
        Work::Change(|rpc, given| {
            let ban = given.ip(0).and_then(|ip| Ok(PeerCommand::BanIp(ip, given.seconds(1)?)));
            command(rpc, ban)
        }),
    ),
    Method::new(
        "opp2p_unbanAddr",
        &[IP],
        "Lifts an address's ban.",
        NULL,
        Work::Change(|rpc, given| command(rpc, given.ip(0).map(PeerCommand::UnbanIp))),
    ),
    Method::new(
        "opp2p_bans",
        &[],
        "Lists the bans in force, by score or by the operator.",
        "`{peers: [{peerID, expiry, score}], addresses: [{IP, expiry}]}`; `expiry` is in unix \
         seconds",
        Work::Large(|rpc, _| raw(&peers::bans(&rpc.host))),
    )
    .fails(DUMPED),
    Method::new(
        "opp2p_scoreBook",
        &[],
        "Lists the remembered scores of peers.",
        "an object by peer id: `{lastUpdate, peerScores}`; `lastUpdate` is in unix seconds",
        Work::Large(|rpc, _| raw(&peers::score_book(&rpc.host))),
    )
    .fails(DUMPED),
    Method::new(
        "opp2p_nodeStatus",
        &[],
        "Describes the state of the node: head, gaps, peers, messages, problems, readiness.",
        "an object; the documentation of `opp2p::rpc::types::NodeStatus` describes its fields",
        Work::Look(|rpc, _| raw(&status::status(&rpc.host, &rpc.recent))),
    ),
    Method::new(
        "opp2p_recentVerdicts",
        &[Parameter::optional("most", "how many verdicts; all that are kept by default")],
        "Lists the last 256 verdicts on gossip messages, newest first.",
        "a list of `{at, atMs, peerID, topic, verdict, block, reason, text, signer}`: `at` is in \
         unix seconds and `atMs` in unix milliseconds; `topic` is `v1` to `v4`; \
         `verdict` is `accept`, `ignore` or `reject`; `signer` is the address that signed the \
         message, or `null` if the checks did not come that far",
        Work::Look(|rpc, given| {
            let most =
                given.number(0)?.map_or(VERDICTS, |most| usize::try_from(most).unwrap_or(VERDICTS));
            raw(&rpc.recent.verdicts(most))
        }),
    ),
    Method::new(
        "opp2p_reload",
        &[],
        "Reloads log level, static peers, block lists and certificates from the configuration, as \
         SIGHUP does. A wrong configuration changes nothing.",
        "what changed: `{summary, logLevel, staticPeersAdded, staticPeersRemoved, blockedAdded, \
         blockedRemoved, certificate, needRestart}`",
        Work::Change(reload),
    )
    .fails(&[(FAILED, "the configuration is wrong, or the process can't reload it")]),
    Method::new(
        "health_status",
        &[],
        "Returns the version of this program.",
        "a text",
        Work::Look(|_, _| raw(&env!("CARGO_PKG_VERSION"))),
    ),
    Method::new(
        "rpc_modules",
        &[],
        "Lists the namespaces.",
        "an object: namespace to version",
        Work::Look(|_, _| raw(&MODULES)),
    ),
];

/// Namespaces and versions for `rpc_modules`, which JSON-RPC clients may call first.
const MODULES: Modules = Modules {
    admin: "1.0",
    eth: "1.0",
    health: "1.0",
    net: "1.0",
    opp2p: "1.0",
    optimism: "1.0",
    rpc: "1.0",
    web3: "1.0",
};

#[derive(Serialize)]
struct Modules {
    admin: &'static str,
    eth: &'static str,
    health: &'static str,
    net: &'static str,
    opp2p: &'static str,
    optimism: &'static str,
    rpc: &'static str,
    web3: &'static str,
}

fn discovery_table(rpc: &Rpc, _: &Arguments) -> Answer {
    match rpc.host.discovery_table() {
        Some(table) => raw(&table),
        None => Err(failed("discovery disabled")),
    }
}

fn command(rpc: Rpc, command: Result<PeerCommand, CallError>) -> BoxFuture<'static, Answer> {
    async move {
        rpc.host.command(command?).await.map_err(failed)?.map_err(failed)?;
        raw(&())
    }
    .boxed()
}

fn connect(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let connected = rpc.host.connect(given.address(0)?).await.map_err(failed)?;
        connected.map_err(|error| match error {
            ConnectError::NoPeerId(_) => failed(format_args!("bad peer address: {error}")),
            ConnectError::Failed(_) | ConnectError::Timeout => {
                failed(format_args!("failed to dial: {error}"))
            }
        })?;
        raw(&())
    }
    .boxed()
}
