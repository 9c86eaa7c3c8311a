//! What a page asks for, read and checked before anything starts.
//!
//! # Bounds
//! The page's own list of peers: [`MAX_PEERS`]. A rollup configuration: the core's limit.

use alloy_primitives::Address;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::{ChainConfig, networks};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Peers that a page may name.
pub(crate) const MAX_PEERS: usize = 64;
/// Least memory for filling gaps: less could not hold two of the largest blocks.
pub(crate) const MIN_GAP_MEMORY: u64 = 24 << 20;
/// Most of it: WebAssembly has 4 GiB for everything.
const MAX_GAP_MEMORY: u64 = 2 << 30;
const DEFAULT_GAP_MEMORY: u64 = 64 << 20;
/// As long as gossip could still bring the blocks of a gap.
const DEFAULT_GAP_PATIENCE: f64 = 60.0;

/// What is wrong, as a page may act on it. The names are part of the package's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// The network is none.
    Network,
    /// A peer's address can't be dialled from a browser.
    Address,
    /// The signer is no address, or nobody is known.
    Signer,
    /// Another option makes no sense.
    Option,
    /// A page over https can't dial this.
    Insecure,
    /// A peer is on another chain.
    WrongNetwork,
    /// All blocks are signed by somebody else.
    WrongSigner,
}

/// Why the options are refused, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

/// The options as the package's script hands them over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Options {
    /// Name, slug, chain id, or the text of a `rollup.json`.
    pub(crate) network: String,
    pub(crate) peers: Vec<String>,
    pub(crate) signer: Option<String>,
    #[serde(default)]
    pub(crate) from_genesis: bool,
    /// In bytes.
    pub(crate) gap_memory: Option<f64>,
    /// In seconds.
    pub(crate) gap_patience: Option<f64>,
    /// Whether the page came over https, so that the browser forbids it to dial `ws`.
    #[serde(default)]
    pub(crate) is_secure_page: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) chain: ChainConfig,
    pub(crate) signer: Address,
    /// Where each peer is dialled, each address complete.
    pub(crate) peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    pub(crate) from_genesis: bool,
    /// In bytes.
    pub(crate) gap_memory: u64,
    pub(crate) gap_patience: Duration,
}

/// The chain that a text stands for.
pub(crate) fn chain(network: &str) -> Result<ChainConfig, Refusal> {
    let found = if network.trim_start().starts_with('{') {
        ChainConfig::from_rollup_json(network).map_err(|error| error.to_string())
    } else {
        networks::find(network).map(networks::Network::config).map_err(|error| error.to_string())
    };
    found.or_else(|message| refuse(Code::Network, message))
}

/// The signer that was given, or the chain's own.
pub(crate) fn signer(chain: &ChainConfig, given: Option<&str>) -> Result<Option<Address>, Refusal> {
    let given = match given.map(str::parse) {
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => {
            return refuse(Code::Signer, format!("{:?} is no address", given.unwrap_or_default()));
        }
        None => None,
    };
    Ok(given.or(chain.unsafe_block_signer).filter(|signer: &Address| !signer.is_zero()))
}

impl Options {
    /// Reads the options.
    pub(crate) fn read(json: &str) -> Result<Self, Refusal> {
        serde_json::from_str(json)
            .or_else(|error| refuse(Code::Option, format!("the options can't be read: {error}")))
    }

    /// Checks them all.
    pub(crate) fn plan(&self) -> Result<Plan, Refusal> {
        let chain = chain(&self.network)?;
        let Some(signer) = signer(&chain, self.signer.as_deref())? else {
            let name = &chain.name;
            return refuse(
                Code::Signer,
                format!("nobody is known to sign the blocks of {name}: give `signer`"),
            );
        };
        let gap_memory = self.gap_memory.map_or(DEFAULT_GAP_MEMORY, |bytes| bytes as u64);
        if !(MIN_GAP_MEMORY..=MAX_GAP_MEMORY).contains(&gap_memory) {
            return refuse(
                Code::Option,
                format!("`gapMemory` is {gap_memory}: give {MIN_GAP_MEMORY} to {MAX_GAP_MEMORY} bytes"),
            );
        }
        let patience = self.gap_patience.unwrap_or(DEFAULT_GAP_PATIENCE);
        let Ok(gap_patience) = Duration::try_from_secs_f64(patience) else {
            return refuse(Code::Option, format!("`gapPatience` is {patience}: give seconds"));
        };
        let peers = self.dialled()?;
        Ok(Plan { chain, signer, peers, from_genesis: self.from_genesis, gap_memory, gap_patience })
    }

    fn dialled(&self) -> Result<BTreeMap<PeerId, Vec<Multiaddr>>, Refusal> {
        if self.peers.is_empty() || self.peers.len() > MAX_PEERS {
            let count = self.peers.len();
            return refuse(Code::Address, format!("`peers` has {count} addresses: give 1 to {MAX_PEERS}"));
        }
        let mut peers: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for text in &self.peers {
            let (peer, address) = address(text, self.is_secure_page)?;
            let known = peers.entry(peer).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
        Ok(peers)
    }
}

/// A peer and where a browser dials it.
fn address(text: &str, is_secure_page: bool) -> Result<(PeerId, Multiaddr), Refusal> {
    const FORM: &str =
        "an address is /dns4/<name>/tcp/<port>/wss/p2p/<peer id>, or /ip4/<ip>/tcp/<port>/ws/p2p/<peer id>";
    let address: Multiaddr = match text.trim().parse() {
        Ok(address) => address,
        Err(error) => return refuse(Code::Address, format!("{text:?} is no multiaddr ({error}): {FORM}")),
    };
    let parts: Vec<_> = address.iter().collect();
    let (is_local, tail) = match &parts[..] {
        [host, Protocol::Tcp(_), tail @ ..] => match host {
            Protocol::Ip4(ip) => (ip.is_loopback(), tail),
            Protocol::Ip6(ip) => (is_loopback(ip), tail),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
                (name == "localhost" || name.ends_with(".localhost"), tail)
            }
            _ => return refuse(Code::Address, format!("{text}: a browser can't dial that; {FORM}")),
        },
        _ => return refuse(Code::Address, format!("{text}: a browser can't dial that; {FORM}")),
    };
    let (is_secure, tail) = match tail {
        [Protocol::Tls, Protocol::Ws(_), tail @ ..] | [Protocol::Wss(_), tail @ ..] => (true, tail),
        [Protocol::Ws(_), tail @ ..] => (false, tail),
        _ => {
            return refuse(
                Code::Address,
                format!("{text} is no WebSocket, and browsers dial nothing else; {FORM}"),
            );
        }
    };
    let [Protocol::P2p(peer)] = tail else {
        return refuse(Code::Address, format!("{text} does not end in /p2p/<peer id>; add the peer's id"));
    };
    if is_secure_page && !is_secure && !is_local {
        return refuse(
            Code::Insecure,
            format!(
                "{text} is not encrypted (ws), and a page over https may dial only wss; ask the gateway for its wss address"
            ),
        );
    }
    Ok((*peer, address))
}

fn is_loopback(ip: &Ipv6Addr) -> bool {
    ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip: Ipv4Addr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY";

    fn options(peers: &[&str]) -> Options {
        Options {
            network: "op-mainnet".into(),
            peers: peers.iter().map(|text| format!("{text}/p2p/{PEER}")).collect(),
            ..Options::default()
        }
    }

    fn code(options: &Options) -> Code {
        options.plan().expect_err("it makes no sense").code
    }

    #[test]
    fn a_plan_has_the_networks_signer_and_every_way_to_each_peer() {
        let ways =
            ["/dns4/a.example/tcp/443/wss", "/dns4/a.example/tcp/443/tls/ws", "/ip4/10.0.0.1/tcp/9223/ws"];
        let plan = options(&[ways[0], ways[1], ways[2], ways[0]]).plan().unwrap();
        assert_eq!((plan.chain.chain_id, plan.peers.len()), (10, 1));
        assert_eq!(plan.peers.values().next().map(Vec::len), Some(3));
        assert_eq!(Some(plan.signer), plan.chain.unsafe_block_signer);
    }

    #[test]
    fn each_mistake_has_its_code_and_a_sentence() {
        let good = options(&["/ip4/10.0.0.1/tcp/9223/ws"]);
        assert!(good.plan().is_ok());
        let network = |text: &str| Options { network: text.into(), ..good.clone() };
        for (wrong, expected) in [
            (network("no such chain"), Code::Network),
            (network("{}"), Code::Network),
            (network("999999"), Code::Network),
            (Options { peers: Vec::new(), ..good.clone() }, Code::Address),
            (Options { peers: vec!["x".into(); MAX_PEERS + 1], ..good.clone() }, Code::Address),
            (Options { peers: vec!["http://gateway".into()], ..good.clone() }, Code::Address),
            (Options { peers: vec!["/ip4/10.0.0.1/tcp/1/ws".into()], ..good.clone() }, Code::Address),
            (options(&["/ip4/10.0.0.1/tcp/1"]), Code::Address),
            (options(&["/ip4/10.0.0.1/udp/1/quic-v1"]), Code::Address),
            (options(&["/dnsaddr/a.example/tcp/1/ws"]), Code::Address),
            (options(&["/ip4/10.0.0.1/tcp/1/ws/p2p-circuit"]), Code::Address),
            (Options { signer: Some("0x12".into()), ..good.clone() }, Code::Signer),
            (Options { signer: Some(Address::ZERO.to_string()), ..good.clone() }, Code::Signer),
            (Options { gap_memory: Some(1.0), ..good.clone() }, Code::Option),
            (Options { gap_memory: Some(1e18), ..good.clone() }, Code::Option),
            (Options { gap_memory: Some(f64::NAN), ..good.clone() }, Code::Option),
            (Options { gap_patience: Some(-1.0), ..good.clone() }, Code::Option),
            (Options { is_secure_page: true, ..good.clone() }, Code::Insecure),
        ] {
            let refusal = wrong.plan().expect_err("it makes no sense");
            assert_eq!(refusal.code, expected, "{}", refusal.message);
            assert!(refusal.message.len() > 15 && !refusal.message.contains('\n'), "{}", refusal.message);
        }
    }

    #[test]
    fn a_secure_page_may_dial_loopback_and_wss() {
        for way in [
            "/ip4/127.0.0.1/tcp/1/ws",
            "/ip6/::1/tcp/1/ws",
            "/dns4/localhost/tcp/1/ws",
            "/dns4/a.example/tcp/1/wss",
        ] {
            assert!(Options { is_secure_page: true, ..options(&[way]) }.plan().is_ok(), "{way}");
        }
        assert_eq!(
            code(&Options { is_secure_page: true, ..options(&["/dns4/localhost.example/tcp/1/ws"]) }),
            Code::Insecure
        );
    }

    #[test]
    fn options_are_read_as_the_script_writes_them() {
        let json = r#"{"network":"10","peers":[],"signer":null,"fromGenesis":true,"gapMemory":null,"gapPatience":3,"isSecurePage":false}"#;
        let read = Options::read(json).unwrap();
        assert!(read.from_genesis && read.gap_patience == Some(3.0));
        for wrong in ["", "{}", r#"{"network":"10","peers":[],"typo":1}"#] {
            assert_eq!(Options::read(wrong).expect_err("wrong").code, Code::Option);
        }
    }
}
