//! The options of a page, read and checked before anything starts.
//!
//! # Bounds
//! The page's list of peers: [`MAX_PEERS`]. Its list of endpoints: [`MAX_ENDPOINTS`]. Its list of
//! methods: [`MAX_UNVERIFIED`]. A rollup configuration: the core's limit.

use alloy_primitives::{Address, Bytes};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use opp2p_core::chain::{ChainConfig, networks};
use opp2p_core::payload::Block;
use opp2p_core::proof::call::RuleSchedule;
use opp2p_core::proof::reader::{LAG_WAIT, LagPolicy, ReaderConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Maximum number of peer addresses that a page may give.
pub(crate) const MAX_PEERS: usize = 64;
/// Maximum number of JSON-RPC endpoints that a page may give.
const MAX_ENDPOINTS: usize = 8;
/// Maximum number of unverified methods.
const MAX_UNVERIFIED: usize = 64;
/// Maximum time in seconds that a read waits for lagging endpoints.
const MAX_LAG_WAIT: f64 = 20.0;
/// Maximum number of blocks below the head: execution clients keep the state of 128 blocks.
const MAX_LAG_BLOCKS: f64 = 128.0;
/// Time for which a read waits for the first head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(25);
/// Minimum memory for filling gaps, in bytes: less could not hold two of the largest blocks.
pub(crate) const MIN_GAP_MEMORY: u64 = 24 << 20;
/// Maximum memory for filling gaps, in bytes: WebAssembly has 4 GiB for everything.
const MAX_GAP_MEMORY: u64 = 2 << 30;
const DEFAULT_GAP_MEMORY: u64 = 64 << 20;
/// In seconds, as for the native node: a page needs the live head more than an old block.
const DEFAULT_GAP_PATIENCE: f64 = 10.0;
/// In blocks: two minutes of fetching, since a gateway gives four blocks a second.
const DEFAULT_MAX_GAP: f64 = 512.0;

/// Kind of error, for programs to act on. The names are part of the package's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// The network is unknown or its configuration invalid.
    Network,
    /// A peer's address can't be dialled from a browser.
    Address,
    /// The signer is not an address, or no signer is known.
    Signer,
    /// Another option is invalid.
    Option,
    /// A page over https can't dial or ask this.
    Insecure,
    /// A peer is on another chain.
    WrongNetwork,
    /// All blocks so far are signed by another key.
    WrongSigner,
    /// Another peer is at a peer's address.
    WrongPeer,
    /// A gateway has no room for another browser.
    Full,
    /// No WebSocket to a gateway could ever be opened.
    Unreachable,
    /// Another observer has the same identity, and a gateway serves one of them.
    Replaced,
    /// Peers are connected, but no block arrives.
    NoBlocks,
    /// The observer ended before it could answer.
    Stopped,
    /// This environment has no WebSocket, or none that the module can use.
    Environment,
}

/// Reason why the options are refused, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

/// The options as the package's script passes them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Options {
    /// Name, slug, chain id, or the text of a `rollup.json`.
    pub(crate) network: String,
    pub(crate) peers: Vec<String>,
    pub(crate) signer: Option<String>,
    /// Whether the page can read the signer again, see [`Told::ReadSigner`](crate::tell::Told).
    #[serde(default)]
    pub(crate) reads_signer: bool,
    #[serde(default)]
    pub(crate) from_genesis: bool,
    /// URLs of JSON-RPC endpoints. No displayed text has them, since they can hold keys.
    #[serde(default)]
    pub(crate) rpc: Vec<String>,
    /// In bytes.
    pub(crate) gap_memory: Option<f64>,
    /// In seconds.
    pub(crate) gap_patience: Option<f64>,
    /// What becomes of missing blocks: `fill`, the default, or `skip`.
    pub(crate) on_gap: Option<String>,
    /// Maximum number of missing blocks that are fetched.
    pub(crate) max_gap: Option<f64>,
    /// Time of arrival of the newest block of an earlier visit, in milliseconds since 1970.
    pub(crate) kept_at: Option<f64>,
    /// Knowledge of peers from an earlier visit as keys and values, if the page stores it.
    pub(crate) memory: Option<Vec<(Bytes, Bytes)>>,
    /// Options of wallets' reads, if the page enabled them.
    pub(crate) reads: Option<ReadOptions>,
    /// Whether the page was loaded over https, so that the browser forbids it to dial `ws`.
    #[serde(default)]
    pub(crate) is_secure_page: bool,
}

/// Options of wallets' reads.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ReadOptions {
    /// Names of the methods to pass to an endpoint without verification.
    unverified: Vec<String>,
    /// Seconds for which a read waits for lagging endpoints. Excludes `newest`.
    wait: Option<f64>,
    /// Maximum number of blocks below the head at which a read is answered.
    newest: Option<f64>,
}

/// The checked options, ready to start with.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) chain: ChainConfig,
    /// `None` only if the page can read it.
    pub(crate) signer: Option<Address>,
    pub(crate) reads_signer: bool,
    /// Addresses at which each peer is dialled, each complete.
    pub(crate) peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    pub(crate) from_genesis: bool,
    /// The newest block of an earlier visit.
    pub(crate) kept: Option<Block>,
    /// Its time of arrival, in milliseconds since 1970.
    pub(crate) kept_at: Option<f64>,
    /// Knowledge of peers from an earlier visit, if the page stores it.
    pub(crate) memory: Option<Vec<(Bytes, Bytes)>>,
    /// Endpoints to ask for blocks that no peer delivers.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) reads: Option<ReaderConfig>,
    /// In bytes.
    pub(crate) gap_memory: u64,
    pub(crate) gap_patience: Duration,
    /// Maximum number of missing blocks that hold back the blocks above them.
    pub(crate) max_gap: u64,
}

/// A JSON-RPC endpoint. Only its host is shown, since a URL can hold a key.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: String,
    host: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Returns the URL to post to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the host, with the port if the URL has one.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Reads a URL. The browser parses it again: this only checks that a page can post to it.
    ///
    /// # Errors
    /// One sentence, without the URL.
    pub(crate) fn read(url: &str, is_secure_page: bool) -> Result<Self, Refusal> {
        const FORM: &str = "give https://<host>, or http://<host>";
        let url = url.trim();
        let scheme = |name: &str| {
            let (start, rest) = url.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then_some(rest)
        };
        let (is_secure, rest) = match (scheme("https://"), scheme("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => {
                let message = format!(
                    "an endpoint of `rpc` has neither https:// nor http:// in front: {FORM}"
                );
                return refuse(Code::Option, message);
            }
        };
        // Browsers treat a backslash as a slash.
        let host = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return refuse(
                Code::Option,
                "an endpoint of `rpc` has a user name in front of its host, and a page can't send \
                 that: give a URL without it",
            );
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() || !byte.is_ascii();
        if host.is_empty() || host.starts_with(':') || !url.bytes().all(is_plain) {
            return refuse(Code::Option, format!("an endpoint of `rpc` is not a URL: {FORM}"));
        }
        if is_secure_page && !is_secure && !is_local_host(host) {
            return refuse(
                Code::Insecure,
                format!(
                    "the endpoint {host} of `rpc` is not encrypted (http), and a page over https \
                     may ask only https: give its https URL"
                ),
            );
        }
        Ok(Self { url: url.to_owned(), host: host.to_owned() })
    }
}

/// Returns `true` if a URL's host, with or without a port, is this machine.
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(ip) => ip.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|ip| is_loopback(&ip))
}

/// Returns the configuration of a chain that is given by name, slug, chain id or the text of a
/// `rollup.json`.
pub(crate) fn chain(network: &str) -> Result<ChainConfig, Refusal> {
    // A file can begin with a byte order mark.
    let network = network.trim_start_matches('\u{feff}').trim();
    let found = if network.starts_with('{') {
        ChainConfig::from_rollup_json(network).map_err(|error| error.to_string())
    } else {
        networks::find(network).map(networks::Network::config).map_err(|error| error.to_string())
    };
    found.or_else(|message| refuse(Code::Network, message))
}

/// Reads a signer's address. Letters of both cases are a checksum (EIP-55), which has to be right.
pub(crate) fn signer_address(text: &str) -> Result<Address, Refusal> {
    let has = |case: fn(&u8) -> bool| text.bytes().skip(2).any(|byte| case(&byte));
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    if is_mixed && text.parse::<Address>().is_ok() {
        return Address::parse_checksummed(text, None).or_else(|_| {
            refuse(
                Code::Signer,
                format!("{text:?} has a wrong checksum: check each character, or give lower case"),
            )
        });
    }
    text.parse().or_else(|_| refuse(Code::Signer, format!("{text:?} is not an address")))
}

/// Returns the given signer, or else the chain's own. `None` if there is neither, or it is zero.
pub(crate) fn signer(chain: &ChainConfig, given: Option<&str>) -> Result<Option<Address>, Refusal> {
    let given = given.map(signer_address).transpose()?;
    Ok(given.or(chain.unsafe_block_signer).filter(|signer: &Address| !signer.is_zero()))
}

impl Options {
    /// Reads the options.
    pub(crate) fn read(json: &str) -> Result<Self, Refusal> {
        serde_json::from_str(json)
            .or_else(|error| refuse(Code::Option, format!("the options can't be read: {error}")))
    }

    /// Checks all options.
    pub(crate) fn plan(&self) -> Result<Plan, Refusal> {
        let chain = chain(&self.network)?;
        let signer = signer(&chain, self.signer.as_deref())?;
        if signer.is_none() && !self.reads_signer {
            let name = &chain.name;
            return refuse(
                Code::Signer,
                format!("the signer of {name} is not known: give `signer`"),
            );
        }
        let gap_memory = self.gap_memory.map_or(DEFAULT_GAP_MEMORY, |bytes| bytes as u64);
        if !(MIN_GAP_MEMORY..=MAX_GAP_MEMORY).contains(&gap_memory) {
            return refuse(
                Code::Option,
                format!(
                    "`gapMemory` is {gap_memory}: give {MIN_GAP_MEMORY} to {MAX_GAP_MEMORY} bytes"
                ),
            );
        }
        let patience = self.gap_patience.unwrap_or(DEFAULT_GAP_PATIENCE);
        let Ok(gap_patience) = Duration::try_from_secs_f64(patience) else {
            return refuse(Code::Option, format!("`gapPatience` is {patience}: give seconds"));
        };
        let max_gap = self.max_gap()?;
        let peers = self.dialled()?;
        let reads = self.reads(&chain)?;
        Ok(Plan {
            chain,
            signer,
            reads_signer: self.reads_signer,
            peers,
            from_genesis: self.from_genesis,
            kept: None,
            kept_at: self.kept_at,
            memory: self.memory.clone(),
            endpoints: self.endpoints()?,
            reads,
            gap_memory,
            gap_patience,
            max_gap,
        })
    }

    fn max_gap(&self) -> Result<u64, Refusal> {
        let most = self.max_gap.unwrap_or(DEFAULT_MAX_GAP);
        // Up to here, each whole number is exact.
        if !(0.0..=9_007_199_254_740_991.0).contains(&most) || most.fract() != 0.0 {
            return refuse(Code::Option, format!("`maxGap` is {most}: give a number of blocks"));
        }
        match self.on_gap.as_deref() {
            None | Some("fill") => Ok(most as u64),
            Some("skip") => Ok(0),
            Some(_) => refuse(Code::Option, "`onGap` is neither \"fill\" nor \"skip\""),
        }
    }

    fn reads(&self, chain: &ChainConfig) -> Result<Option<ReaderConfig>, Refusal> {
        let Some(options) = &self.reads else { return Ok(None) };
        if self.rpc.is_empty() {
            let message = "`rpc` has no endpoint: give at least one to read from";
            return refuse(Code::Option, message);
        }
        let count = options.unverified.len();
        if count > MAX_UNVERIFIED {
            let message =
                format!("`unverified` has {count} methods: give at most {MAX_UNVERIFIED}");
            return refuse(Code::Option, message);
        }
        let lag = match (options.wait, options.newest) {
            (None, None) => LagPolicy::Wait(LAG_WAIT),
            (Some(seconds), None) if (0.0..=MAX_LAG_WAIT).contains(&seconds) => {
                LagPolicy::Wait(Duration::from_secs_f64(seconds))
            }
            (None, Some(blocks)) if (0.0..=MAX_LAG_BLOCKS).contains(&blocks) => {
                LagPolicy::Newest { max_blocks: blocks as u64 }
            }
            _ => {
                return refuse(
                    Code::Option,
                    format!(
                        "`lag` is neither {{ wait: 0 to {MAX_LAG_WAIT} seconds }} nor \
                         {{ newest: 0 to {MAX_LAG_BLOCKS} blocks }}"
                    ),
                );
            }
        };
        Ok(Some(ReaderConfig {
            forks: Some(chain.forks),
            lag,
            unverified: options.unverified.clone(),
            // The first connection may take several dials.
            head_timeout: HEAD_TIMEOUT,
            calls: Some(RuleSchedule::of(chain)),
            ..ReaderConfig::new(chain.chain_id, self.rpc.len())
        }))
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, Refusal> {
        if self.rpc.len() > MAX_ENDPOINTS {
            let count = self.rpc.len();
            return refuse(
                Code::Option,
                format!("`rpc` has {count} endpoints: give at most {MAX_ENDPOINTS}"),
            );
        }
        self.rpc.iter().map(|url| Endpoint::read(url, self.is_secure_page)).collect()
    }

    fn dialled(&self) -> Result<BTreeMap<PeerId, Vec<Multiaddr>>, Refusal> {
        if self.peers.is_empty() || self.peers.len() > MAX_PEERS {
            let count = self.peers.len();
            return refuse(
                Code::Address,
                format!("`peers` has {count} addresses: give 1 to {MAX_PEERS}"),
            );
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

/// Reads a multiaddr: returns the peer and the address at which a browser dials it.
fn address(text: &str, is_secure_page: bool) -> Result<(PeerId, Multiaddr), Refusal> {
    const FORM: &str = "an address is /dns4/<name>/tcp/<port>/wss/p2p/<peer id>, or \
         /ip4/<ip>/tcp/<port>/ws/p2p/<peer id>";
    let address: Multiaddr = match text.trim().parse() {
        Ok(address) => address,
        Err(error) => {
            return refuse(Code::Address, format!("{text:?} is not a multiaddr ({error}): {FORM}"));
        }
    };
    let not_dialled = || format!("{text}: a browser can't dial that; {FORM}");
    let parts: Vec<_> = address.iter().collect();
    let [host, port @ Protocol::Tcp(_), tail @ ..] = &parts[..] else {
        return refuse(Code::Address, not_dialled());
    };
    let is_local = match host {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => is_loopback(ip),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            name == "localhost" || name.ends_with(".localhost")
        }
        _ => return refuse(Code::Address, not_dialled()),
    };
    let mut sni = None;
    let (is_secure, path, tail) = match tail {
        [Protocol::Tls, Protocol::Ws(path), tail @ ..] | [Protocol::Wss(path), tail @ ..] => {
            (true, path, tail)
        }
        [Protocol::Tls, Protocol::Sni(name), Protocol::Ws(path), tail @ ..] => {
            sni = Some(name);
            (true, path, tail)
        }
        [Protocol::Ws(path), tail @ ..] => (false, path, tail),
        _ => {
            return refuse(
                Code::Address,
                format!("{text} is not a WebSocket, and browsers dial nothing else; {FORM}"),
            );
        }
    };
    let (has_path, path, tail) = match tail {
        [Protocol::HttpPath(path), tail @ ..] => {
            (true, format!("/{}", path.trim_start_matches('/')), tail)
        }
        _ => (false, path.to_string(), tail),
    };
    let [Protocol::P2p(peer)] = tail else {
        return refuse(
            Code::Address,
            format!("{text} does not end in /p2p/<peer id>; add the peer's id"),
        );
    };
    if is_secure_page && !is_secure && !is_local {
        return refuse(
            Code::Insecure,
            format!(
                "{text} is not encrypted (ws), and a page over https may dial only wss; ask the \
                 gateway for its wss address"
            ),
        );
    }
    if sni.is_none() && !has_path {
        return Ok((*peer, address));
    }
    // A browser names the host of the URL to the server, and no other name.
    let host = sni.map_or_else(|| host.clone(), |name| Protocol::Dns(name.clone()));
    let socket = if is_secure { Protocol::Wss(path.into()) } else { Protocol::Ws(path.into()) };
    let parts = [host, port.clone(), socket, Protocol::P2p(*peer)];
    Ok((*peer, parts.into_iter().collect()))
}

fn is_loopback(ip: &Ipv6Addr) -> bool {
    ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip: Ipv4Addr| ip.is_loopback())
}

#[cfg(test)]
mod tests;
