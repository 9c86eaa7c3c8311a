//! `opp2p peers`: who the peers of a running node are, and what is to be done about one.

use super::super::values::duration;
use super::super::{Failure, answer, runtime};
use super::{Node, NodeArgs};
use crate::rpc::types::{Bans, PeerDump, PeerInfo};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
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
    /// Also those that are known and not connected.
    #[arg(long)]
    all: bool,
    /// Print the node's answer, one JSON object.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is to be done; the node must let whoever asks (--rpc.enable-admin there, or its token here).
#[derive(Debug, Subcommand)]
enum Command {
    /// Connects the node to a peer.
    Connect {
        /// Multiaddr that ends in /p2p/ID.
        address: String,
    },
    /// Closes the connections to a peer, forgets its addresses, and lifts what keeps it from connecting.
    Disconnect {
        /// The peer's id.
        peer: String,
    },
    /// Refuses a peer, an IP address or a subnet from now on.
    Block {
        /// Peer id, IP address, or subnet such as 10.0.0.0/8.
        who: String,
    },
    /// Refuses it no more.
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
    /// Never drops a peer, nor bans it by its score.
    Protect {
        /// The peer's id.
        peer: String,
    },
    /// Protects it no more.
    Unprotect {
        /// The peer's id.
        peer: String,
    },
    /// Lists who is banned and who is blocked.
    Banned,
}

/// Does it.
pub(in super::super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let node = args.node.node()?;
    runtime()?.block_on(async {
        match &args.command {
            Some(Command::Banned) => banned(&node, args.json).await,
            Some(command) => carry_out(&node, command).await,
            None => list(&node, args.all, args.json).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(node: &Node, command: &Command) -> Result<(), Failure> {
    let (method, params) = call(command);
    let _: Value = node.call(&format!("opp2p_{method}"), params).await?;
    answer("done").map(drop)
}

/// The method and its parameters.
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
        Command::Banned => ("bans", json!([])),
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
    let peers: Vec<&PeerInfo> = dump.peers.values().filter(|peer| peer.peer_id != own.peer_id).collect();
    if peers.is_empty() {
        return answer(if all { "no peer is known" } else { "no peer is connected" }).map(drop);
    }
    answer(table(&peers).trim_end()).map(drop)
}

/// One line a peer, the best score first.
pub(super) fn table(peers: &[&PeerInfo]) -> String {
    let mut peers = peers.to_vec();
    let score = |peer: &PeerInfo| peer.scores.gossip.total;
    peers.sort_by(|a, b| {
        (b.connectedness, score(b))
            .partial_cmp(&(a.connectedness, score(a)))
            .unwrap_or(a.peer_id.cmp(&b.peer_id))
    });
    let width = peers.iter().map(|peer| peer.peer_id.len()).max().unwrap_or(0);
    let mut text =
        format!("{:width$}  way  {:>8}  {:>8}  state      agent and address\n", "peer", "latency", "score");
    for peer in peers {
        let address =
            peer.addresses.as_ref().and_then(|addresses| addresses.first()).map_or("", String::as_str);
        let address = address.split("/p2p/").next().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:width$}  {:3}  {:>8}  {:>8.2}  {:9}  {}  {address}",
            peer.peer_id,
            way(peer),
            latency(peer),
            score(peer),
            state(peer),
            printable(&peer.user_agent),
        );
    }
    text
}

/// Who dialled.
pub(super) const fn way(peer: &PeerInfo) -> &'static str {
    match peer.direction {
        1 => "in",
        2 => "out",
        _ => "-",
    }
}

/// Round-trip time.
pub(super) fn latency(peer: &PeerInfo) -> String {
    match peer.latency {
        0 => "-".into(),
        nanoseconds => format!("{:.1} ms", nanoseconds as f64 / 1e6),
    }
}

/// What it is to the node.
pub(super) const fn state(peer: &PeerInfo) -> &'static str {
    match (peer.connectedness, peer.protected, peer.gossip_blocks) {
        (1, true, _) => "protected",
        (1, false, true) => "gossips",
        (1, false, false) => "idle",
        _ => "known",
    }
}

/// What a peer calls itself, as far as a terminal may show it.
pub(super) fn printable(text: &str) -> String {
    printable_to(text, 40)
}

fn printable_to(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

async fn banned(node: &Node, as_json: bool) -> Result<(), Failure> {
    let bans: Bans = node.call("opp2p_bans", json!([])).await?;
    let blocked: [Vec<Value>; 3] = [
        node.call("opp2p_listBlockedPeers", json!([])).await?,
        node.call("opp2p_listBlockedAddrs", json!([])).await?,
        node.call("opp2p_listBlockedSubnets", json!([])).await?,
    ];
    if as_json {
        let [peers, addresses, subnets] = blocked;
        let blocked = json!({ "peers": peers, "addresses": addresses, "subnets": subnets });
        return answer(json!({ "bans": bans, "blocked": blocked })).map(drop);
    }
    let now = crate::clock::since_epoch().as_secs();
    let left = |expiry: u64| super::status::time(expiry.saturating_sub(now));
    let mut text = String::new();
    for ban in &bans.peers {
        let _ = writeln!(text, "banned   {}  for {}  score {:.2}", ban.peer_id, left(ban.expiry), ban.score);
    }
    for ban in &bans.addresses {
        let _ = writeln!(text, "banned   {}  for {}", ban.ip, left(ban.expiry));
    }
    for entry in blocked.into_iter().flatten() {
        let _ =
            writeln!(text, "blocked  {}", subnet(&entry).unwrap_or_else(|| printable(&entry.to_string())));
    }
    answer(if text.is_empty() { "nobody is banned or blocked" } else { text.trim_end() }).map(drop)
}

/// An entry of a block list as people write it; a subnet is shown as Go writes it, with a mask in base64.
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
    fn who_is_meant_follows_from_the_form() {
        let block = |who: &str| call(&Command::Block { who: who.into() }).0;
        assert_eq!(block("10.0.0.1"), "blockAddr");
        assert_eq!(block("::1"), "blockAddr");
        assert_eq!(block("10.0.0.0/8"), "blockSubnet");
        assert_eq!(block("16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq"), "blockPeer");
        let ban = Command::Ban { who: "::1".into(), time: Duration::from_secs(90) };
        assert_eq!(call(&ban), ("banAddr", json!(["::1", 90])));
    }

    #[test]
    fn a_subnet_is_shown_as_people_write_it() {
        assert_eq!(subnet(&json!({ "IP": "10.0.0.0", "Mask": "/wAAAA==" })).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(subnet(&json!("1.2.3.4")).as_deref(), Some("1.2.3.4"));
        assert_eq!(subnet(&json!({ "IP": "x" })), None);
    }

    #[test]
    fn an_agent_can_not_write_on_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a[2Jb");
        assert_eq!(printable(&"x".repeat(400)).len(), 40);
    }
}
