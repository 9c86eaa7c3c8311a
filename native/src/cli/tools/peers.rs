//! `opp2p peers`: lists the peers of a running node, and acts on one.

use super::super::values::duration;
use super::super::{Failure, NO, answer, runtime};
use super::{CHANGE, Node, NodeArgs, READ};
use crate::rpc::types::{Bans, PeerDump, PeerInfo};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
use libp2p::PeerId;
use opp2p_core::peers::Subnet;
use opp2p_core::sync::chain_of_protocol;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(in super::super) struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Also list known peers that are not connected.
    #[arg(long)]
    all: bool,
    /// Print the node's answer, one JSON object.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Changes to a peer; the node must permit them (--rpc.enable-admin there, or its token here).
#[derive(Debug, Subcommand)]
enum Command {
    /// Connects the node to a peer.
    Connect {
        /// Multiaddr that ends in /p2p/ID.
        address: String,
    },
    /// Closes the connections to a peer, forgets its addresses, and lifts what keeps it from
    /// connecting.
    Disconnect {
        /// The peer's id.
        peer: String,
    },
    /// Refuses a peer, an IP address or a subnet from now on.
    Block {
        /// Peer id, IP address, or subnet such as 10.0.0.0/8.
        who: String,
    },
    /// Stops refusing it.
    Unblock {
        /// Peer id, IP address, or subnet.
        who: String,
    },
    /// Bans a peer or an IP address for a time.
    Ban {
        /// Peer id or IP address.
        who: String,
        /// For how long.
        #[arg(default_value = "1h", value_parser = duration)]
        time: Duration,
    },
    /// Lifts a ban.
    Unban {
        /// Peer id or IP address.
        who: String,
    },
    /// Never drops a peer or bans it for its score.
    Protect {
        /// The peer's id.
        peer: String,
    },
    /// Stops protecting it.
    Unprotect {
        /// The peer's id.
        peer: String,
    },
    /// Lists banned and blocked peers, addresses and subnets.
    Banned {
        /// Print the node's answer, one JSON object.
        #[arg(id = "banned_json", long = "json")]
        json: bool,
    },
}

/// Runs the command.
pub(in super::super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let is_change = !matches!(&args.command, None | Some(Command::Banned { .. }));
    let node = args.node.node(if is_change { CHANGE } else { READ })?;
    let is_done = runtime()?.block_on(async {
        match &args.command {
            Some(Command::Banned { json }) => {
                banned(&node, args.json || *json).await.map(|()| true)
            }
            Some(command) => carry_out(&node, command).await,
            None => list(&node, args.all, args.json).await.map(|()| true),
        }
    })?;
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Carries out a change and says how things are now. Returns `false` if there was nothing to lift.
async fn carry_out(node: &Node, command: &Command) -> Result<bool, Failure> {
    if let Command::Ban { who, .. } | Command::Unban { who } = command
        && who.contains('/')
    {
        return Err(Failure::new(format!(
            "{who} is a subnet, and a subnet can be blocked, not banned: use opp2p peers block or \
             unblock"
        )));
    }
    let lifts = matches!(command, Command::Unban { .. } | Command::Unblock { .. });
    let before = if lifts { Some(held(node).await?) } else { None };
    let (method, params) = call(command);
    let _: Value = node.call(&format!("opp2p_{method}"), params).await?;
    let (text, was_there) = match command {
        Command::Connect { address } => {
            (format!("connected to {}", printable_to(address, 200)), true)
        }
        Command::Disconnect { peer } => (format!("{peer} is disconnected"), true),
        Command::Block { who } => (format!("{who} is blocked"), true),
        Command::Protect { peer } => (format!("{peer} is protected"), true),
        Command::Unprotect { peer } => (format!("{peer} is not protected any more"), true),
        Command::Ban { who, time } => (banned_for(&held(node).await?, who, *time), true),
        Command::Unban { who } => {
            lifted(before.as_ref().is_some_and(|held| held.end(who).is_some()), who, "banned")
        }
        Command::Unblock { who } => {
            lifted(before.as_ref().is_some_and(|held| held.blocks(who)), who, "blocked")
        }
        Command::Banned { .. } => return Ok(true),
    };
    answer(text)?;
    Ok(was_there)
}

/// Says that something was lifted, or that there was nothing to lift.
fn lifted(was_there: bool, who: &str, what: &str) -> (String, bool) {
    match was_there {
        true => (format!("{who} is not {what} any more"), true),
        false => (format!("{who} was not {what}: nothing is changed"), false),
    }
}

/// Says until when something is banned. An earlier ban may last longer than the new one.
fn banned_for(held: &Held, who: &str, time: Duration) -> String {
    let now = opp2p_node::clock::since_epoch().as_secs();
    let Some(end) = held.end(who) else {
        return format!("{who} is not banned: the node has more bans than it keeps");
    };
    let left = end.saturating_sub(now);
    // The clocks of both machines may differ a little.
    let note = match left > time.as_secs().saturating_add(60) {
        true => ": an earlier ban lasts longer",
        false => "",
    };
    format!("{who} is banned for {}{note}", super::status::time(left))
}

/// Bans and block lists of the node.
struct Held {
    bans: Bans,
    /// Peers, addresses and subnets.
    blocked: [Vec<Value>; 3],
}

impl Held {
    /// Returns the end of a ban.
    fn end(&self, who: &str) -> Option<u64> {
        let ip: Option<IpAddr> = who.parse().ok();
        let of_peer = self.bans.peers.iter().find(|ban| is_peer(&ban.peer_id, who));
        let of_ip = self
            .bans
            .addresses
            .iter()
            .find(|ban| ip.is_some_and(|ip| ban.ip.to_canonical() == ip.to_canonical()));
        of_peer.map(|ban| ban.expiry).or(of_ip.map(|ban| ban.expiry))
    }

    /// Returns `true` if a block list has it. Unblocking a peer also lifts its ban.
    fn blocks(&self, who: &str) -> bool {
        let listed = self.blocked.iter().flatten().filter_map(subnet);
        let wanted = canonical(who);
        listed.into_iter().any(|entry| entry == wanted || is_peer(&entry, who))
            || (!who.contains('/') && who.parse::<IpAddr>().is_err() && self.end(who).is_some())
    }
}

/// Returns `true` if both texts name one peer, which has several forms.
fn is_peer(id: &str, who: &str) -> bool {
    id == who || id.parse::<PeerId>().is_ok_and(|id| who.parse().is_ok_and(|who: PeerId| who == id))
}

/// Returns an address or a subnet in the form of the lists.
fn canonical(who: &str) -> String {
    if let Ok(subnet) = who.parse::<Subnet>() {
        return format!("{}/{}", subnet.network(), subnet.length());
    }
    who.parse::<IpAddr>().map_or_else(|_| who.to_owned(), |ip| ip.to_canonical().to_string())
}

async fn held(node: &Node) -> Result<Held, Failure> {
    let bans: Bans = node.call("opp2p_bans", json!([])).await?;
    let blocked: [Vec<Value>; 3] = [
        node.call("opp2p_listBlockedPeers", json!([])).await?,
        node.call("opp2p_listBlockedAddrs", json!([])).await?,
        node.call("opp2p_listBlockedSubnets", json!([])).await?,
    ];
    Ok(Held { bans, blocked })
}

/// Returns the method and its parameters.
fn call(command: &Command) -> (&'static str, Value) {
    let is_ip = |who: &str| who.parse::<IpAddr>().is_ok();
    match command {
        Command::Connect { address } => ("connectPeer", json!([address])),
        Command::Disconnect { peer } => ("disconnectPeer", json!([peer])),
        Command::Block { who } if who.contains('/') => ("blockSubnet", json!([who])),
        Command::Block { who } if is_ip(who) => ("blockAddr", json!([who])),
        Command::Block { who } => ("blockPeer", json!([who])),
        Command::Unblock { who } if who.contains('/') => ("unblockSubnet", json!([who])),
        Command::Unblock { who } if is_ip(who) => ("unblockAddr", json!([who])),
        Command::Unblock { who } => ("unblockPeer", json!([who])),
        Command::Ban { who, time } if is_ip(who) => ("banAddr", json!([who, time.as_secs()])),
        Command::Ban { who, time } => ("banPeer", json!([who, time.as_secs()])),
        Command::Unban { who } if is_ip(who) => ("unbanAddr", json!([who])),
        Command::Unban { who } => ("unbanPeer", json!([who])),
        Command::Protect { peer } => ("protectPeer", json!([peer])),
        Command::Unprotect { peer } => ("unprotectPeer", json!([peer])),
        Command::Banned { .. } => ("bans", json!([])),
    }
}

async fn list(node: &Node, all: bool, as_json: bool) -> Result<(), Failure> {
    let whole: Value = node.call("opp2p_peers", json!([!all])).await?;
    if as_json {
        return answer(whole).map(drop);
    }
    let dump: PeerDump = serde_json::from_value(whole).map_err(|error| {
        Failure::new(format!("the node's peers have another shape than this program's: {error}"))
    })?;
    let own: PeerInfo = node.call("opp2p_self", json!([])).await?;
    let peers: Vec<&PeerInfo> =
        dump.peers.values().filter(|peer| peer.peer_id != own.peer_id).collect();
    if peers.is_empty() {
        return answer(if all { "no peer is known" } else { "no peer is connected" }).map(drop);
    }
    answer(table(&peers, own.chain_id).trim_end()).map(drop)
}

/// Formats one line per peer of a node on this chain, the best score first.
fn table(peers: &[&PeerInfo], chain: u64) -> String {
    let mut peers = peers.to_vec();
    let score = |peer: &PeerInfo| peer.scores.gossip.total;
    peers.sort_by(|a, b| {
        (b.connectedness, score(b))
            .partial_cmp(&(a.connectedness, score(a)))
            .unwrap_or(a.peer_id.cmp(&b.peer_id))
    });
    let width = peers.iter().map(|peer| peer.peer_id.len()).max().unwrap_or(0);
    let mut text = format!(
        "{:width$}  way  {:>8}  {:>8}  state        agent and address\n",
        "peer", "latency", "score"
    );
    for peer in peers {
        let address = peer
            .addresses
            .as_ref()
            .and_then(|addresses| addresses.first())
            .map_or("", String::as_str);
        let address = address.split("/p2p/").next().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:width$}  {:3}  {:>8}  {:>8.2}  {:11}  {}  {address}",
            peer.peer_id,
            way(peer),
            latency(peer),
            score(peer),
            state(peer, chain),
            printable(&peer.user_agent),
        );
    }
    text
}

/// Returns the direction of the connection.
pub(super) const fn way(peer: &PeerInfo) -> &'static str {
    match peer.direction {
        1 => "in",
        2 => "out",
        _ => "-",
    }
}

/// Formats the round-trip time.
pub(super) fn latency(peer: &PeerInfo) -> String {
    match peer.latency {
        0 => "-".into(),
        nanoseconds => format!("{:.1} ms", nanoseconds as f64 / 1e6),
    }
}

/// Returns the peer's role for a node on this chain.
pub(super) fn state(peer: &PeerInfo, chain: u64) -> &'static str {
    if is_elsewhere(peer, chain) {
        return "other chain";
    }
    match (peer.connectedness, peer.protected, peer.gossip_blocks) {
        (1, true, _) => "protected",
        (1, false, true) => "gossips",
        (1, false, false) => "idle",
        _ => "known",
    }
}

/// Returns `true` if the peer serves blocks of other chains only.
fn is_elsewhere(peer: &PeerInfo, chain: u64) -> bool {
    let protocols = || peer.protocols.iter().flatten();
    let mut chains = protocols().filter_map(|protocol| chain_of_protocol(protocol)).peekable();
    !peer.gossip_blocks && chains.peek().is_some() && chains.all(|other| other != chain)
}

/// Returns the printable part of a peer's program name, up to 40 characters.
pub(super) fn printable(text: &str) -> String {
    printable_to(text, 40)
}

fn printable_to(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

async fn banned(node: &Node, as_json: bool) -> Result<(), Failure> {
    let Held { bans, blocked } = held(node).await?;
    if as_json {
        let [peers, addresses, subnets] = blocked;
        let blocked = json!({ "peers": peers, "addresses": addresses, "subnets": subnets });
        return answer(json!({ "bans": bans, "blocked": blocked })).map(drop);
    }
    let now = opp2p_node::clock::since_epoch().as_secs();
    let left = |expiry: u64| super::status::time(expiry.saturating_sub(now));
    let mut text = String::new();
    for ban in &bans.peers {
        let _ = writeln!(
            text,
            "banned   {}  for {}  score {:.2}",
            ban.peer_id,
            left(ban.expiry),
            ban.score
        );
    }
    for ban in &bans.addresses {
        let _ = writeln!(text, "banned   {}  for {}", ban.ip, left(ban.expiry));
    }
    for entry in blocked.into_iter().flatten() {
        let _ = writeln!(
            text,
            "blocked  {}",
            subnet(&entry).unwrap_or_else(|| printable(&entry.to_string()))
        );
    }
    answer(if text.is_empty() { "nothing is banned or blocked" } else { text.trim_end() }).map(drop)
}

/// Formats an entry of a block list for people; the answer has subnets in Go's form, with a mask in
/// base64.
fn subnet(entry: &Value) -> Option<String> {
    if let Some(text) = entry.as_str() {
        return Some(printable_to(text, 80));
    }
    let mask = BASE64_STANDARD.decode(entry["Mask"].as_str()?).ok()?;
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let ip: IpAddr = entry["IP"].as_str()?.parse().ok()?;
    Some(format!("{ip}/{ones}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_follows_from_the_form_of_the_argument() {
        let block = |who: &str| call(&Command::Block { who: who.into() }).0;
        assert_eq!(block("10.0.0.1"), "blockAddr");
        assert_eq!(block("::1"), "blockAddr");
        assert_eq!(block("10.0.0.0/8"), "blockSubnet");
        assert_eq!(block("16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq"), "blockPeer");
        let ban = Command::Ban { who: "::1".into(), time: Duration::from_secs(90) };
        assert_eq!(call(&ban), ("banAddr", json!(["::1", 90])));
    }

    #[test]
    fn bans_and_blocks_are_found_in_every_form() {
        let peer = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
        let bans = json!({
            "peers": [{ "peerID": peer, "expiry": 90, "score": -1.0 }],
            "addresses": [{ "IP": "10.0.0.1", "expiry": 80 }],
        });
        let held = Held {
            bans: serde_json::from_value(bans).expect("the shape"),
            blocked: [
                vec![json!("16Uiu2HAmOther")],
                vec![json!("1.2.3.4")],
                vec![json!({ "IP": "10.0.0.0", "Mask": "/wAAAA==" })],
            ],
        };
        assert_eq!((held.end(peer), held.end("::ffff:10.0.0.1")), (Some(90), Some(80)));
        assert_eq!((held.end("10.0.0.2"), held.end("nonsense")), (None, None));
        assert!(held.blocks("10.1.2.3/8") && held.blocks("::ffff:1.2.3.4"));
        assert!(held.blocks(peer), "an unblock lifts the ban, too");
        assert!(!held.blocks("10.0.0.1") && !held.blocks("10.0.0.0/9"));
        let (said, was_there) = lifted(false, "1.1.1.1", "banned");
        assert!(!was_there && said.contains("was not banned"), "{said}");
        let now = opp2p_node::clock::since_epoch().as_secs();
        let mut held = held;
        held.bans.peers[0].expiry = now + 3600;
        let said = banned_for(&held, peer, Duration::from_secs(600));
        assert!(said.contains("an earlier ban lasts longer"), "{said}");
        let said = banned_for(&held, peer, Duration::from_secs(3600));
        assert!(said.contains("is banned for") && !said.contains("earlier"), "{said}");
    }

    #[test]
    fn a_peer_of_another_chain_is_labelled() {
        let peer = |protocols: &[&str], gossip_blocks| PeerInfo {
            protocols: Some(protocols.iter().map(|name| (*name).to_owned()).collect()),
            connectedness: 1,
            gossip_blocks,
            ..PeerInfo::default()
        };
        let (ours, other) =
            ("/opstack/req/payload_by_number/10/0", "/opstack/req/payload_by_number/8453/0/");
        assert_eq!(state(&peer(&[other], false), 10), "other chain");
        assert_eq!(state(&peer(&[other, ours], false), 10), "idle");
        assert_eq!(state(&peer(&[other], true), 10), "gossips");
        assert_eq!(state(&peer(&["/meshsub/1.1.0"], false), 10), "idle");
    }

    #[test]
    fn subnets_are_shown_in_cidr_notation() {
        assert_eq!(
            subnet(&json!({ "IP": "10.0.0.0", "Mask": "/wAAAA==" })).as_deref(),
            Some("10.0.0.0/8")
        );
        assert_eq!(subnet(&json!("1.2.3.4")).as_deref(), Some("1.2.3.4"));
        assert_eq!(subnet(&json!({ "IP": "x" })), None);
    }

    #[test]
    fn an_agent_string_cannot_control_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a[2Jb");
        assert_eq!(printable(&"x".repeat(400)).len(), 40);
    }
}
