//! Finding peers: discv5 around the core's decisions (`op-node/p2p/discovery.go`).
//!
//! The library speaks the protocol and keeps the table of nodes; [`opp2p_core::discovery`] decides whose record is of use,
//! what our own says, and how fast to look. A task of its own carries that out; what it finds goes to the driver as
//! [`PeerNews::Discovered`](opp2p_core::peers::PeerNews), and whom to dial of them is the core's to decide.
//!
//! The table is kept in a file and read at the next start, so that a node finds the others again without a bootnode. The
//! sequence number of our record is kept there too, and grows over restarts when the record changes.
//!
//! `--p2p.netrestrict` holds for whose records are taken and who is dialled because of them; the library may still ask nodes
//! elsewhere that others name to it. As in the reference, it says nothing of static peers
//! and of those that dial us.
//!
//! # Bounds
//! * The table: the library's 17 × 16 nodes at most, nearly all of them far away in its sense. The
//!   file: 1024 records.
//! * Found and not handed on yet: see [`Candidates`].
//! * Packets: the library drops those of an address that sends more than it asked for.

mod bootnode;
mod table;

pub use bootnode::{BadBootnode, Bootnode};

use crate::host::Finder;
use crate::panics::guard;
use discv5::{ConfigBuilder, Discv5, Enr, Event, ListenConfig};
use enr::{CombinedKey, CombinedPublicKey, NodeId};
use futures::FutureExt;
use libp2p::PeerId;
use libp2p::identity::{PublicKey, secp256k1};
use opp2p_core::chain::ChainConfig;
use opp2p_core::discovery::{
    AddressKind, AddressPolicy, Advertised, Candidate, Candidates, ENTRY_KEY, Filter, InvalidAdvertisement,
    LocalConfig, OpStackEntry, Pace, PaceConfig, Prediction, Record, Restriction, bootnodes, sequence,
};
use opp2p_core::peers::{PeerMetadata, Subnet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval_at, sleep_until, timeout};

/// Between two times that the table is written.
const KEEPING: Duration = Duration::from_secs(5 * 60);
/// Time for one walk, or one question. What was found until then counts all the same: it comes as events.
const WALK_TIME: Duration = Duration::from_secs(15);
/// Nodes that are asked after each walk where they see us, while that is not known.
const ASKED: usize = 4;

/// How peers are found.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// UDP port; 0 for the number of the TCP port, or any that is free if somebody has that.
    pub listen_udp: u16,
    /// Address in our record, in place of what others see.
    pub advertise_ip: Option<IpAddr>,
    /// TCP port in our record, in place of the one that is listened on; 0 for none.
    pub advertise_tcp: u16,
    /// UDP port in our record, in place of the one that is listened on; 0 for none.
    pub advertise_udp: u16,
    /// Whom to ask first; `None`: the bootnodes of the chain's L1.
    pub bootnodes: Option<Vec<Bootnode>>,
    /// File in which the table is kept; `None`: it is forgotten.
    pub table: Option<PathBuf>,
    /// Networks to keep to; none: all.
    pub restriction: Vec<Subnet>,
    /// How fast to look.
    pub pace: PaceConfig,
}

/// Why peers can't be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The UDP port can't be had.
    #[error("can't listen on UDP port {port} of {ip}: {source}; choose another with --p2p.listen.udp")]
    Bind {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// What is to be advertised is nowhere.
    #[error(transparent)]
    Advertise(#[from] InvalidAdvertisement),
    /// What is where the table should be kept is none of ours.
    #[error("{} {why}, so discovery's table can't be kept there; name another file with --p2p.discovery.path", file.display())]
    Table {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The library refuses.
    #[error("discovery can't start: {0}")]
    Library(String),
}

/// What is known of the network, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Our own record.
    pub local: String,
    /// The records in the table.
    pub table: Vec<String>,
}

/// What the task needs of the node.
pub(crate) struct Surroundings {
    /// 32 secret bytes of the node's key.
    pub(crate) secret: zeroize::Zeroizing<[u8; 32]>,
    pub(crate) listen: IpAddr,
    pub(crate) bound_tcp: u16,
    pub(crate) finder: Finder,
}

/// A running discovery. It ends when this is dropped or stopped.
#[derive(Debug)]
pub(crate) struct Discovery {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Ends it at once; the table is as it was written last.
    pub(crate) fn abort(self) {
        self.task.abort();
    }

    /// Waits until the table is written.
    pub(crate) async fn stop(self) {
        drop(self.end);
        // Nobody depends on its result.
        let _ = self.task.await;
    }

    /// Opens the socket and begins to look.
    pub(crate) async fn start(
        config: DiscoveryConfig,
        chain: &ChainConfig,
        mut around: Surroundings,
    ) -> Result<(Self, watch::Receiver<Known>), DiscoveryError> {
        let library = |error: &dyn std::fmt::Display| DiscoveryError::Library(error.to_string());
        let socket = bind(around.listen, config.listen_udp, around.bound_tcp).await?;
        let bound_udp = socket.local_addr().map_err(|error| library(&error))?.port();
        let local = LocalConfig {
            listen: around.listen,
            bound_tcp: around.bound_tcp,
            bound_udp,
            advertise_ip: config.advertise_ip,
            advertise_tcp: config.advertise_tcp,
            advertise_udp: config.advertise_udp,
        };
        let advertised = Advertised::new(&local)?;
        let key = CombinedKey::secp256k1_from_bytes(around.secret.as_mut_slice())
            .map_err(|error| library(&error))?;
        let kept = config.table.as_ref().map(|path| Table::read(path)).transpose()?.unwrap_or_default();
        let entry = OpStackEntry::new(chain.chain_id);
        let now = around.finder.now();
        let draft = record(&key, &advertised, &entry, 1).map_err(|error| library(&error))?;
        let previous = kept.local.as_ref().filter(|last| last.node_id() == draft.node_id());
        let previous = previous.map(|last| (last.seq(), says_the_same(last, &draft)));
        let own =
            record(&key, &advertised, &entry, sequence(now, previous)).map_err(|error| library(&error))?;

        let bootnodes = match config.bootnodes {
            Some(given) => given,
            None => bootnodes::of_l1(chain.l1_chain_id).iter().filter_map(|text| text.parse().ok()).collect(),
        };
        let named = config.restriction.iter().map(Subnet::network);
        let named = named.chain(config.advertise_ip).chain(bootnodes.iter().filter_map(Bootnode::ip));
        let policy = AddressPolicy::new(around.listen, named);
        let filter =
            Filter { chain_id: entry.chain_id, policy, restriction: Restriction::to(config.restriction) };
        let sockets = Arc::new(socket);
        let listen = match around.listen {
            IpAddr::V4(_) => ListenConfig::FromSockets { ipv4: Some(sockets), ipv6: None },
            IpAddr::V6(_) => ListenConfig::FromSockets { ipv4: None, ipv6: Some(sockets) },
        };
        let mut settings = ConfigBuilder::new(listen);
        // What our record says is the core's to decide.
        settings.disable_enr_update().enable_packet_filter().table_filter(askable(&policy));
        if policy.is_global() {
            settings.ip_limit();
        } else {
            // Where many nodes share one address, as on one machine, its limits would shut them out.
            settings.filter_rate_limiter(None).filter_max_nodes_per_ip(None);
        }
        let mut discv5 = Discv5::new(own, key, settings.build()).map_err(|error| library(&error))?;
        discv5.start().await.map_err(|error| library(&error))?;
        let events = discv5.event_stream().await.map_err(|error| library(&error))?;
        let (known, view) =
            watch::channel(Known { local: discv5.local_enr().to_base64(), table: Vec::new() });
        let (end, ended) = oneshot::channel();
        let looking = Looking {
            discv5: Arc::new(discv5),
            finder: around.finder,
            filter,
            advertised,
            candidates: Candidates::new(),
            pace: Pace::new(config.pace),
            prediction: Prediction::new(),
            bootnodes,
            asked: JoinSet::new(),
            stated: JoinSet::new(),
            path: config.table,
            known,
        };
        let task = tokio::spawn(guard("search for peers", looking.run(kept, events, ended)).map(drop));
        Ok((Self { end, task }, view))
    }
}

/// The port that is asked for; for 0 the TCP port's number, as the reference's help says, or any that is free.
async fn bind(ip: IpAddr, port: u16, tcp: u16) -> Result<UdpSocket, DiscoveryError> {
    if port == 0
        && tcp != 0
        && let Ok(socket) = UdpSocket::bind((ip, tcp)).await
    {
        return Ok(socket);
    }
    UdpSocket::bind((ip, port)).await.map_err(|source| DiscoveryError::Bind { ip, port, source })
}

fn record(
    key: &CombinedKey,
    advertised: &Advertised,
    entry: &OpStackEntry,
    sequence: u64,
) -> Result<Enr, enr::Error> {
    let mut builder = Enr::builder();
    builder.seq(sequence).add_value_rlp(ENTRY_KEY, entry.encode().into());
    // Whatever the address: the reference always says these, and its readers take them for IPv6 too (EIP-778).
    builder.tcp4(advertised.tcp).udp4(advertised.udp);
    match advertised.ip {
        Some(IpAddr::V6(ip)) => {
            builder.ip6(ip).tcp6(advertised.tcp).udp6(advertised.udp);
        }
        Some(IpAddr::V4(ip)) => {
            builder.ip4(ip);
        }
        None => {}
    }
    builder.build(key)
}

/// Whether the library may ask a node: those at addresses of a kind that is not for us are a stranger's word. It takes a
/// bare function, so there is one for each policy.
fn askable(policy: &AddressPolicy) -> fn(&Enr) -> bool {
    let allows = |ip: [u8; 4]| policy.allows(IpAddr::from(ip));
    match (allows([8, 8, 8, 8]), allows([10, 0, 0, 1]), allows([127, 0, 0, 1])) {
        (true, true, true) => is_askable::<true, true, true>,
        (true, true, false) => is_askable::<true, true, false>,
        (true, false, true) => is_askable::<true, false, true>,
        (true, false, false) => is_askable::<true, false, false>,
        (false, true, true) => is_askable::<false, true, true>,
        (false, true, false) => is_askable::<false, true, false>,
        (false, false, true) => is_askable::<false, false, true>,
        (false, false, false) => is_askable::<false, false, false>,
    }
}

fn is_askable<const GLOBAL: bool, const PRIVATE: bool, const LOOPBACK: bool>(enr: &Enr) -> bool {
    let addresses = [enr.ip4().map(IpAddr::from), enr.ip6().map(IpAddr::from)];
    addresses.into_iter().flatten().all(|ip| match AddressKind::of(ip) {
        AddressKind::Global => GLOBAL,
        AddressKind::Private => PRIVATE,
        AddressKind::Loopback => LOOPBACK,
        AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Reserved => false,
    })
}

/// Whether two records differ in nothing but their sequence number.
fn says_the_same(one: &Enr, other: &Enr) -> bool {
    one.iter().eq(other.iter())
}

/// The peer that has a record; `None` if its key is none that a node of the OP Stack can have.
fn peer_of(enr: &Enr) -> Option<PeerId> {
    let CombinedPublicKey::Secp256k1(key) = enr.public_key() else { return None };
    let key = secp256k1::PublicKey::try_from_bytes(&key.to_sec1_point(true).to_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// Where a node is asked.
fn asked_at(enr: &Enr) -> Option<IpAddr> {
    let v4 = enr.udp4_socket().map(|at| IpAddr::from(*at.ip()));
    v4.or_else(|| enr.udp6_socket().map(|at| IpAddr::from(*at.ip())))
}

/// What matters of a record.
fn fields(enr: &Enr) -> Record<'_> {
    Record {
        entry: enr.get_raw_rlp(ENTRY_KEY),
        ip4: enr.ip4(),
        tcp4: enr.tcp4(),
        ip6: enr.ip6(),
        tcp6: enr.tcp6(),
    }
}

/// The task.
struct Looking {
    discv5: Arc<Discv5>,
    finder: Finder,
    filter: Filter,
    advertised: Advertised,
    candidates: Candidates,
    pace: Pace,
    prediction: Prediction,
    bootnodes: Vec<Bootnode>,
    /// Bootnodes that are asked for their records.
    asked: JoinSet<Option<Enr>>,
    /// Nodes that are asked where they see us.
    stated: JoinSet<Option<(IpAddr, SocketAddr)>>,
    path: Option<PathBuf>,
    known: watch::Sender<Known>,
}

impl Looking {
    async fn run(mut self, kept: Table, mut events: mpsc::Receiver<Event>, mut ended: oneshot::Receiver<()>) {
        for enr in kept.nodes {
            self.meet(enr);
        }
        self.hand_on().await;
        self.ask_bootnodes();
        let mut keeping = interval_at(Instant::now() + KEEPING, KEEPING);
        let mut walks = JoinSet::new();
        loop {
            let due = self.finder.instant(self.pace.next(self.finder.missing()));
            // A peer that leaves while none were missing makes the next walk due sooner: look again soon.
            let due = due.min(Instant::now() + Duration::from_secs(1));
            tokio::select! {
                _ = &mut ended => break,
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => {
                        tracing::error!("discovery ended unexpectedly; no more peers are looked for until a restart");
                        break;
                    }
                },
                Some(found) = self.asked.join_next(), if !self.asked.is_empty() => {
                    if let Ok(Some(enr)) = found {
                        self.meet(enr);
                    }
                }
                Some(stated) = self.stated.join_next(), if !self.stated.is_empty() => {
                    if let Ok(Some((from, seen))) = stated {
                        self.on_statement(from, seen);
                    }
                }
                Some(found) = walks.join_next(), if !walks.is_empty() => {
                    let found: Vec<Enr> = found.unwrap_or_default();
                    found.iter().for_each(|enr| self.consider(enr));
                    self.ask_where_we_are();
                    self.tell();
                }
                () = sleep_until(due) => {
                    let missing = self.finder.missing();
                    if self.pace.poll(self.finder.now().monotonic, missing) {
                        // Whether or not the last walk, which may wait for nodes that are gone, is over.
                        self.hand_on().await;
                        if self.discv5.connected_peers() == 0 {
                            self.ask_bootnodes();
                        }
                        // Without anybody to ask the library only complains.
                        if walks.is_empty() && !self.discv5.table_entries_id().is_empty() {
                            let walk = self.discv5.find_node(NodeId::random());
                            walks.spawn(async move {
                                let walked = timeout(WALK_TIME, walk).await;
                                walked.ok().and_then(Result::ok).unwrap_or_default()
                            });
                        }
                    }
                    self.tell();
                }
                _ = keeping.tick() => self.keep(),
            }
        }
        self.keep();
    }

    /// Takes a record into the table, if it is of any use there, and as a candidate.
    fn meet(&mut self, enr: Enr) {
        if asked_at(&enr).is_some_and(|ip| self.filter.contact(ip).is_ok()) {
            self.consider(&enr);
            // A full bucket is no harm: there are others.
            let _ = self.discv5.add_enr(enr);
        }
    }

    fn consider(&mut self, enr: &Enr) {
        let Ok(addresses) = self.filter.admit(&fields(enr)) else { return };
        let Some(peer) = peer_of(enr).and_then(|peer| crate::swarm::from_libp2p(&peer)) else { return };
        if enr.node_id() == self.discv5.local_enr().node_id() {
            return;
        }
        let metadata = PeerMetadata { enr: enr.to_base64(), chain_id: self.filter.chain_id };
        let candidate = Candidate { metadata, sequence: enr.seq(), addresses };
        self.candidates.found(self.finder.now().monotonic, peer, candidate);
    }

    /// Hands some candidates on to the peers.
    async fn hand_on(&mut self) {
        let (now, missing) = (self.finder.now().monotonic, self.finder.missing());
        for (peer, news) in self.candidates.take(now, missing) {
            self.finder.found(peer, news).await;
        }
    }

    fn ask_bootnodes(&mut self) {
        if !self.asked.is_empty() {
            return;
        }
        for bootnode in self.bootnodes.clone() {
            match bootnode {
                Bootnode::Record(enr) => self.meet(*enr),
                Bootnode::Url(url) => {
                    let discv5 = Arc::clone(&self.discv5);
                    self.asked.spawn(async move {
                        let way = url.resolve().await?;
                        timeout(WALK_TIME, discv5.request_enr(way)).await.ok()?.ok()
                    });
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Discovered(enr) | Event::SessionEstablished(enr, _) => {
                self.consider(&enr);
            }
            // Nobody here speaks any protocol over these; saying nothing is an answer.
            Event::TalkRequest(_) => {}
            _ => {}
        }
    }

    /// Asks some nodes of the table where they see us, while that is to be found out.
    fn ask_where_we_are(&mut self) {
        if !self.advertised.is_predicted || !self.stated.is_empty() {
            return;
        }
        let mut nodes = self.discv5.table_entries_enr();
        let start = usize::from(self.finder.now().unix_seconds() as u16) % nodes.len().max(1);
        nodes.rotate_left(start);
        for enr in nodes.into_iter().take(ASKED) {
            let Some(from) = asked_at(&enr) else { continue };
            let pinging = self.discv5.send_ping(enr);
            self.stated.spawn(async move {
                let pong = timeout(WALK_TIME, pinging).await.ok()?.ok()?;
                Some((from, SocketAddr::new(pong.ip, pong.port)))
            });
        }
    }

    fn on_statement(&mut self, from: IpAddr, seen: SocketAddr) {
        let now = self.finder.now().monotonic;
        self.prediction.stated(now, from, seen);
        let Some(seen) = self.prediction.endpoint(now) else { return };
        if let Some(advertised) = self.advertised.seen(seen, &self.filter.policy)
            && self.discv5.update_local_enr_socket(seen, false)
        {
            let tcp = SocketAddr::new(seen.ip(), advertised.tcp);
            self.discv5.update_local_enr_socket(tcp, true);
            self.advertised = advertised;
            // After a crash the record must not have an older number than the one that others have seen.
            self.keep();
            tracing::info!(address = %seen, "peers see this node here, and its record says so");
            self.tell();
        }
    }

    /// Tells whoever looks.
    fn tell(&self) {
        let local = self.discv5.local_enr().to_base64();
        let table = self.discv5.table_entries_enr().iter().map(Enr::to_base64).collect();
        let now = Known { local, table };
        self.known.send_if_modified(|known| {
            let is_new = *known != now;
            *known = now;
            is_new
        });
    }

    fn keep(&self) {
        let Some(path) = &self.path else { return };
        let table = Table { local: Some(self.discv5.local_enr()), nodes: self.discv5.table_entries_enr() };
        if let Err(error) = table.write(path) {
            tracing::warn!(file = %path.display(), %error, "discovery's table is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_at_an_address_of_a_kind_that_is_not_for_the_node() {
        let key = CombinedKey::generate_secp256k1();
        let at = |ip: [u8; 4]| Enr::builder().ip4(ip.into()).udp4(9).build(&key).expect("a record");
        let [global, private, loopback, nobody] =
            [[1, 2, 3, 4], [10, 1, 2, 3], [127, 0, 0, 1], [0, 0, 0, 0]].map(at);
        let asked = |listen: [u8; 4], named: Option<IpAddr>| {
            let is_askable = askable(&AddressPolicy::new(listen.into(), named));
            [&global, &private, &loopback, &nobody].map(is_askable)
        };
        assert_eq!(asked([0, 0, 0, 0], None), [true, false, false, false]);
        assert_eq!(asked([127, 0, 0, 1], None), [false, false, true, false]);
        assert_eq!(asked([0, 0, 0, 0], Some([10, 0, 0, 9].into())), [true, true, false, false]);
    }
}
