//! Peer discovery: discv5 around the core's decisions (`op-node/p2p/discovery.go`).
//!
//! The library implements the protocol and keeps the table of nodes. [`opp2p_core::discovery`]
//! decides when to search and for what, which records are useful, and what our own record contains.
//! A task carries that out. It passes the peers it finds to the driver as
//! [`PeerNews::Discovered`](opp2p_core::peers::PeerNews), and the core decides which of them to
//! dial.
//!
//! The table is saved to a file and read at the next start, so that a node finds its peers again
//! without a bootnode. The file also has the sequence number of our record, which must grow over
//! restarts when the record changes.
//!
//! If the library's own task ends, the library is started again with the same table and socket,
//! after growing pauses. Until then the health check reports the search as lost.
//!
//! `--p2p.netrestrict` applies to records that are accepted, and to remembered peers that are
//! dialled again. The library may still query other nodes that it learns about. As in the
//! reference, the restriction does not apply to static peers and to peers that dial us.
//!
//! # Bounds
//! * The table: at most the library's 17 × 16 nodes, nearly all of them far away by its metric. The
//!   file: 1024 records.
//! * Candidates that have not been passed on yet: see
//!   [`Candidates`](opp2p_core::discovery::Candidates).
//! * Packets of strangers: see `packets.rs`.

mod bootnode;
mod error;
mod finder;
mod library;
mod packets;
mod record;
mod table;

pub use bootnode::{BadBootnode, Bootnode, Obstacle};
pub use error::DiscoveryError;
pub(crate) use finder::{Finder, Seeker};

use crate::panics::{guard, lose, regain};
use alloy_primitives::B256;
use discv5::{Discv5, Enr, Event};
use enr::NodeId;
use futures::FutureExt;
use library::{Library, Restarts};
use opp2p_core::chain::ChainConfig;
use opp2p_core::discovery::{
    AddressPolicy, Advertised, Filter, FoundNode, LocalConfig, OpStackEntry, PaceConfig,
    Restriction, Search, SearchConfig, SearchStep, SearchView, WALK_TIME, bootnodes, sequence,
};
use opp2p_core::peers::Subnet;
use record::{asked_at, fields, key, peer_of, record, says_the_same};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use zeroize::Zeroizing;

/// Timeout of the last writes of the table, when the node stops.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// Name of the task in messages.
const SEARCH: &str = "search for peers";

/// Configuration of discovery.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// UDP port; 0 for the number of the TCP port, or any free port if that one is taken.
    pub listen_udp: u16,
    /// Address in our record, instead of the one that peers report.
    pub advertise_ip: Option<IpAddr>,
    /// TCP port in our record, instead of the bound one; 0 for the bound one.
    pub advertise_tcp: u16,
    /// UDP port in our record, instead of the bound one; 0 for the bound one.
    pub advertise_udp: u16,
    /// Nodes to ask first; `None` for the bootnodes of the chain's L1.
    pub bootnodes: Option<Vec<Bootnode>>,
    /// File of the table; `None` to keep none.
    pub table: Option<PathBuf>,
    /// Networks that peers must belong to; empty for any.
    pub restriction: Vec<Subnet>,
    /// Pace of the search.
    pub pace: PaceConfig,
}

/// Our own record and those of the table, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Our own record.
    pub local: String,
    /// Records in the table.
    pub table: Vec<String>,
}

/// Inputs that the task needs from the node.
pub(crate) struct DiscoveryInputs {
    /// The node's secret key, 32 bytes.
    pub(crate) secret: Zeroizing<[u8; 32]>,
    pub(crate) listen: IpAddr,
    pub(crate) bound_tcp: u16,
    pub(crate) finder: Finder,
}

/// A running discovery. It ends when this is dropped or stopped.
#[derive(Debug)]
pub(crate) struct Discovery {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// Ends the library's stream of events, as a panic in the library would.
    #[cfg(test)]
    break_library: mpsc::Sender<()>,
}

impl Discovery {
    /// Aborts the task at once; the file keeps the table that was last written.
    pub(crate) fn abort(self) {
        self.task.abort();
    }

    /// Stops the task and waits until the table is written.
    pub(crate) async fn stop(self) {
        drop(self.end);
        // Its result does not matter.
        let _ = self.task.await;
    }

    /// Opens the socket and starts the search.
    pub(crate) async fn start(
        config: DiscoveryConfig,
        chain: &ChainConfig,
        around: DiscoveryInputs,
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
        let key = key(&around.secret).map_err(|error| library(&error))?;
        let kept =
            config.table.as_ref().map(|path| Table::read(path)).transpose()?.unwrap_or_default();
        let now = around.finder.now();
        let own = renewed(&key, &advertised, chain.chain_id, kept.local.as_ref(), now)
            .map_err(|error| library(&error))?;

        let bootnodes = config.bootnodes.unwrap_or_else(|| {
            let known = bootnodes::of_chain(chain.chain_id, chain.l1_chain_id);
            known.filter_map(|text| text.parse().ok()).collect()
        });
        let named = config.restriction.iter().map(Subnet::network);
        let named =
            named.chain(config.advertise_ip).chain(bootnodes.iter().filter_map(Bootnode::ip));
        let policy = AddressPolicy::new(around.listen, named);
        let filter = Filter {
            chain_id: chain.chain_id,
            policy,
            restriction: Restriction::to(config.restriction),
        };
        let own_id = peer_of(&own).and_then(|peer| opp2p_wire::from_libp2p(&peer));
        let own_id = own_id.ok_or_else(|| library(&"the key has no peer id"))?;
        let search = SearchConfig {
            own: own_id,
            filter,
            advertised,
            pace: config.pace,
            seed: seed().map_err(|error| library(&error))?,
        };
        let source = Library {
            socket: Arc::new(socket),
            listen: around.listen,
            secret: around.secret,
            policy,
        };
        let (discv5, events) = source.start(own).await?;
        let (known, view) =
            watch::channel(Known { local: discv5.local_enr().to_base64(), table: Vec::new() });
        let (end, ended) = oneshot::channel();
        let looking = Looking {
            discv5: Arc::new(discv5),
            library: source,
            restarts: Restarts::new(Instant::now()),
            search: Search::new(now.monotonic, search),
            finder: around.finder,
            listen: around.listen,
            bootnodes,
            asked: JoinSet::new(),
            stated: JoinSet::new(),
            walks: JoinSet::new(),
            path: config.table,
            writes: JoinSet::new(),
            is_stale: false,
            known,
        };
        #[cfg(test)]
        let (break_library, events) = library::breakable(events);
        let task = tokio::spawn(guard(SEARCH, looking.run(kept, events, ended)).map(drop));
        #[cfg(test)]
        return Ok((Self { end, task, break_library }, view));
        #[cfg(not(test))]
        Ok((Self { end, task }, view))
    }
}

fn seed() -> Result<B256, getrandom::Error> {
    let mut seed = B256::ZERO;
    getrandom::fill(seed.as_mut_slice())?;
    Ok(seed)
}

/// Returns our record, with a sequence number that follows that of the last run's record.
fn renewed(
    key: &enr::CombinedKey,
    advertised: &Advertised,
    chain_id: u64,
    last: Option<&Enr>,
    now: opp2p_core::time::Now,
) -> Result<Enr, enr::Error> {
    let entry = OpStackEntry::new(chain_id);
    let draft = record(key, advertised, &entry, 1)?;
    let last = last.filter(|last| last.node_id() == draft.node_id());
    let previous = last.map(|last| (last.seq(), says_the_same(last, &draft)));
    record(key, advertised, &entry, sequence(now, previous))
}

/// Binds the requested port; for 0 the TCP port's number, as the reference's help says, or any free
/// port.
async fn bind(ip: IpAddr, port: u16, tcp: u16) -> Result<UdpSocket, DiscoveryError> {
    if port == 0
        && tcp != 0
        && let Ok(socket) = UdpSocket::bind((ip, tcp)).await
    {
        return Ok(socket);
    }
    UdpSocket::bind((ip, port)).await.map_err(|source| DiscoveryError::Bind { ip, port, source })
}

/// State of the discovery task.
struct Looking {
    discv5: Arc<Discv5>,
    /// Restarts the library.
    library: Library,
    restarts: Restarts,
    search: Search,
    finder: Finder,
    /// Address of the socket, which supports one version of IP.
    listen: IpAddr,
    bootnodes: Vec<Bootnode>,
    /// Requests to bootnodes for their records.
    asked: JoinSet<Option<Enr>>,
    /// Requests to nodes for our address as they see it.
    stated: JoinSet<Option<(IpAddr, SocketAddr)>>,
    /// The walk in progress.
    walks: JoinSet<Vec<Enr>>,
    path: Option<PathBuf>,
    /// The write of the table in progress, on a thread that may wait for the disk.
    writes: JoinSet<()>,
    /// Whether the table must be written again after that.
    is_stale: bool,
    known: watch::Sender<Known>,
}

impl Looking {
    async fn run(
        mut self,
        kept: Table,
        mut events: mpsc::Receiver<Event>,
        mut ended: oneshot::Receiver<()>,
    ) {
        kept.nodes.into_iter().for_each(|enr| self.meet(enr));
        self.search.restored(self.now(), self.finder.missing());
        loop {
            self.carry_out().await;
            let due = self.search.next_wakeup(self.now(), self.finder.missing());
            let due = self.finder.instant(due);
            tokio::select! {
                _ = &mut ended => break,
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    // The library's own task has ended, which happens only by a panic.
                    None => match self.start_again(&mut ended).await {
                        Some(again) => events = again,
                        None => break,
                    },
                },
                Some(found) = self.asked.join_next(), if !self.asked.is_empty() => {
                    if let Ok(Some(enr)) = found {
                        self.meet(enr);
                    }
                    if self.asked.is_empty() {
                        self.search.asked_bootnodes();
                    }
                }
                Some(stated) = self.stated.join_next(), if !self.stated.is_empty() => {
                    self.search.pinged(self.now(), stated.ok().flatten());
                }
                Some(found) = self.walks.join_next(), if !self.walks.is_empty() => {
                    found.unwrap_or_default().iter().for_each(|enr| self.consider(enr));
                    self.search.walked(self.discv5.table_entries_id().len());
                    self.tell();
                }
                () = sleep_until(due) => {
                    let around = SearchView {
                        missing: self.finder.missing(),
                        known: self.discv5.table_entries_id().len(),
                        answering: self.discv5.connected_peers(),
                    };
                    self.search.wake(self.now(), around);
                    self.tell();
                }
                Some(_) = self.writes.join_next(), if !self.writes.is_empty() => {
                    if std::mem::take(&mut self.is_stale) {
                        self.keep();
                    }
                }
            }
        }
        // A disk that hangs must not delay the shutdown for long.
        let _ = timeout(LAST_WRITES, async {
            while self.writes.join_next().await.is_some() {}
            self.keep();
            while self.writes.join_next().await.is_some() {}
        })
        .await;
    }

    fn now(&self) -> opp2p_core::time::Instant {
        self.finder.now().monotonic
    }

    /// Carries out all steps of the search.
    async fn carry_out(&mut self) {
        while let Some(step) = self.search.poll() {
            match step {
                SearchStep::Walk(target) => {
                    let walk = self.discv5.find_node(NodeId::new(&target.0));
                    self.walks.spawn(async move {
                        let walked = timeout(WALK_TIME, walk).await;
                        walked.ok().and_then(Result::ok).unwrap_or_default()
                    });
                }
                SearchStep::AskBootnodes => self.ask_bootnodes(),
                SearchStep::Ping(nodes) => self.ping(&nodes),
                SearchStep::Advertise(advertised) => self.advertise(advertised),
                SearchStep::Keep => self.keep(),
                SearchStep::Tell(peer, news) => self.finder.found(peer, news).await,
            }
        }
    }

    /// Starts the library again with our record and its table, after a pause. Returns `None` if
    /// `ended` comes first.
    async fn start_again(
        &mut self,
        ended: &mut oneshot::Receiver<()>,
    ) -> Option<mpsc::Receiver<Event>> {
        lose(SEARCH);
        // These requests wait for a task that has ended.
        (self.asked, self.stated, self.walks) = Default::default();
        self.search.lost();
        let (own, nodes) = (self.discv5.local_enr(), self.discv5.table_entries_enr());
        loop {
            let at = self.restarts.next(Instant::now());
            tokio::select! {
                _ = &mut *ended => return None,
                () = sleep_until(at) => {}
            }
            match self.library.start(own.clone()).await {
                Ok((discv5, events)) => {
                    self.discv5 = Arc::new(discv5);
                    nodes.into_iter().for_each(|enr| self.meet(enr));
                    self.search.restored(self.now(), self.finder.missing());
                    self.tell();
                    regain(SEARCH);
                    return Some(events);
                }
                Err(error) => {
                    tracing::warn!(%error, "the search for peers is not started again yet");
                }
            }
        }
    }

    /// Adds a record to the table, if it is useful there, and as a candidate.
    fn meet(&mut self, enr: Enr) {
        if asked_at(&enr).is_some_and(|ip| self.search.may_contact(ip)) {
            self.consider(&enr);
            // A full bucket is harmless: there are others.
            let _ = self.discv5.add_enr(enr);
        }
    }

    fn consider(&mut self, enr: &Enr) {
        let peer = peer_of(enr).and_then(|peer| opp2p_wire::from_libp2p(&peer));
        let Some(peer) = peer else { return };
        let node = FoundNode { peer, sequence: enr.seq(), record: fields(enr) };
        self.search.found(self.finder.now().monotonic, &node, || enr.to_base64());
    }

    fn ask_bootnodes(&mut self) {
        for bootnode in self.bootnodes.clone() {
            match bootnode {
                Bootnode::Record(enr) => self.meet(*enr),
                Bootnode::Url(url) => {
                    let (discv5, listen) = (Arc::clone(&self.discv5), self.listen);
                    self.asked.spawn(async move {
                        let way = match url.resolve(listen).await {
                            Ok(way) => way,
                            Err(error) => {
                                tracing::warn!(
                                    bootnode = %url, %error,
                                    "a bootnode can't be asked"
                                );
                                return None;
                            }
                        };
                        let answer = timeout(WALK_TIME, discv5.request_enr(way)).await;
                        let found = answer.ok().and_then(Result::ok);
                        if found.is_none() {
                            tracing::debug!(bootnode = %url, "a bootnode does not answer");
                        }
                        found
                    });
                }
            }
        }
        if self.asked.is_empty() {
            self.search.asked_bootnodes();
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Discovered(enr) | Event::SessionEstablished(enr, _) => {
                self.consider(&enr);
            }
            // No protocol uses these requests, and discv5 requires no answer.
            Event::TalkRequest(_) => {}
            _ => {}
        }
    }

    /// Asks these nodes of the table for our address as they see it.
    fn ping(&mut self, nodes: &[usize]) {
        let table = self.discv5.table_entries_enr();
        for node in nodes {
            let enr = table.get(*node).cloned();
            let asked = enr.and_then(|enr| Some((asked_at(&enr)?, enr)));
            let pinging = asked.map(|(from, enr)| (from, self.discv5.send_ping(enr)));
            self.stated.spawn(async move {
                let (from, pinging) = pinging?;
                let pong = timeout(WALK_TIME, pinging).await.ok()?.ok()?;
                Some((from, SocketAddr::new(pong.ip, pong.port)))
            });
        }
    }

    /// Puts this endpoint into our record.
    fn advertise(&self, advertised: Advertised) {
        let Some(ip) = advertised.ip else { return };
        let seen = SocketAddr::new(ip, advertised.udp);
        if self.discv5.update_local_enr_socket(seen, false) {
            self.discv5.update_local_enr_socket(SocketAddr::new(ip, advertised.tcp), true);
            tracing::info!(address = %seen, "peers see this node here, and its record says so");
            self.tell();
        }
    }

    /// Publishes our record and the table to watchers, if they changed.
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

    /// Writes the table, or marks it to be written once the write in progress has ended. A disk
    /// that hangs blocks one thread for blocking work, and none that the network needs.
    fn keep(&mut self) {
        let Some(path) = self.path.clone() else { return };
        if !self.writes.is_empty() {
            self.is_stale = true;
            return;
        }
        let table =
            Table { local: Some(self.discv5.local_enr()), nodes: self.discv5.table_entries_enr() };
        self.writes.spawn_blocking(move || {
            if let Err(error) = table.write(&path) {
                tracing::warn!(file = %path.display(), %error, "discovery's table is not kept");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::secp256k1;
    use opp2p_core::chain::Fork;

    /// Waits for the condition.
    async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !is_so().await {
            assert!(Instant::now() < deadline, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts discovery on loopback.
    async fn start(bootnodes: Vec<Bootnode>) -> (Discovery, watch::Receiver<Known>, Bootnode) {
        let chain = ChainConfig::development(
            901,
            Default::default(),
            0,
            2,
            Fork::Canyon,
            alloy_primitives::Address::repeat_byte(1),
        );
        let config = DiscoveryConfig { bootnodes: Some(bootnodes), ..DiscoveryConfig::default() };
        let secret = crate::key::SecretKey::generate().expect("a key");
        let secret = Zeroizing::new(*secret.secret_bytes());
        let public = secp256k1::SecretKey::try_from_bytes(&mut { *secret }).expect("a key");
        let public = secp256k1::Keypair::from(public).public().to_bytes_uncompressed();
        let around = DiscoveryInputs {
            secret,
            listen: [127, 0, 0, 1].into(),
            bound_tcp: 0,
            finder: Finder::of_chain(&chain),
        };
        let (discovery, known) = Discovery::start(config, &chain, around).await.expect("starts");
        let own: Enr = known.borrow().local.parse().expect("a record");
        let (key, port) =
            (alloy_primitives::hex::encode(&public[1..]), own.udp4().expect("a port"));
        let url = format!("enode://{key}@127.0.0.1:{port}").parse().expect("a bootnode");
        (discovery, known, url)
    }

    #[tokio::test]
    async fn a_library_that_ends_is_restarted_with_its_table_and_reported_lost() {
        let (first, _, url) = start(Vec::new()).await;
        let (second, mut known, second_url) = start(vec![url]).await;
        known.wait_for(|known| known.table.len() == 1).await.expect("it runs");
        let own = known.borrow().local.clone();
        let is_lost = || crate::panics::lost().iter().any(|part| part.contains(SEARCH));
        second.break_library.send(()).await.expect("it runs");
        until("it is lost", async || is_lost()).await;
        until("it is started again", async || !is_lost()).await;
        let after = known.borrow().clone();
        assert_eq!((after.local, after.table.len()), (own.clone(), 1));
        // It answers others again: they learn its record from it.
        let (third, third_known, _) = start(vec![second_url]).await;
        until("it is found", async || third_known.borrow().table.contains(&own)).await;
        for discovery in [first, second, third] {
            discovery.stop().await;
        }
    }
}
