//! The search for nodes of the chain: when to walk through the network, when to ask the boot nodes,
//! when to keep the table, and which of the found nodes the peer manager is told about.
//!
//! The driver runs discv5 and carries out the [`SearchStep`]s:
//!
//! 1. It reports what happens: [`found`](Search::found), [`walked`](Search::walked),
//!    [`asked_bootnodes`](Search::asked_bootnodes), [`pinged`](Search::pinged),
//!    [`lost`](Search::lost), [`restored`](Search::restored).
//! 2. It carries out all steps that [`poll`](Search::poll) returns.
//! 3. It calls [`wake`](Search::wake) at the time of [`next_wakeup`](Search::next_wakeup).
//!
//! # Randomness
//! All random choices follow from [`SearchConfig::seed`], which must be secret: a stranger who can
//! predict the targets of the walks can place nodes there, and fill our view of the network. The
//! node's own seed follows from its peer id, which peers know, so it is not used here.
//!
//! # Bounds
//! One walk at a time, one round of requests to the boot nodes, and [`PINGED`] pings. Strangers
//! fill [`Candidates`] and [`Prediction`]; each documents its limits. A call returns at most
//! [`FEED_FAST`](super::FEED_FAST) found peers and a few other steps.

use super::{Advertised, Candidate, Candidates, Filter, Pace, PaceConfig, Prediction, Record};
use crate::peers::{PeerId, PeerMetadata, PeerNews};
use crate::time::Instant;
use alloy_primitives::{B256, keccak256};
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum time of one walk, or of one request to a node. Nodes that are found before that count:
/// they are reported one by one.
pub const WALK_TIME: Duration = Duration::from_secs(15);
/// Number of nodes that are asked for our address after each walk, while it is not known.
pub const PINGED: usize = 4;
/// Interval between two writes of the table.
pub const KEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Interval at which the number of missing peers is looked at: if a peer leaves while none was
/// missing, the next walk is due sooner.
pub const RECHECK: Duration = Duration::from_secs(1);

/// Configuration of a [`Search`].
#[derive(Clone, Debug)]
pub struct SearchConfig {
    /// Our own peer id, which is not a candidate.
    pub own: PeerId,
    /// Criteria for records.
    pub filter: Filter,
    /// Endpoint in our own record at the start.
    pub advertised: Advertised,
    /// Pace of the walks.
    pub pace: PaceConfig,
    /// 32 secret random bytes.
    pub seed: B256,
}

/// A record that discovery found. The driver has verified its signature.
#[derive(Clone, Copy, Debug)]
pub struct FoundNode<'a> {
    /// Peer id of the record's key.
    pub peer: PeerId,
    /// Sequence number of the record.
    pub sequence: u64,
    /// The fields that decide.
    pub record: Record<'a>,
}

/// The present state of the search as the driver sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchView {
    /// Number of peers that are missing below the low mark:
    /// [`PeerManager::missing`](crate::peers::PeerManager::missing).
    pub missing: usize,
    /// Number of nodes in the table.
    pub known: usize,
    /// Number of nodes in the table that answered recently.
    pub answering: usize,
}

/// A step that the driver must carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum SearchStep {
    /// Look for the nodes closest to this id, for at most [`WALK_TIME`]; then call
    /// [`Search::walked`].
    Walk(B256),
    /// Add the boot nodes whose records are known, and ask each other one for its record, for at
    /// most [`WALK_TIME`]; then call [`Search::asked_bootnodes`].
    AskBootnodes,
    /// Ask these nodes for our address as they see it, for at most [`WALK_TIME`]; then call
    /// [`Search::pinged`] for each. The numbers are positions in the table.
    Ping(Vec<usize>),
    /// Our own record has this endpoint from now on.
    Advertise(Advertised),
    /// Write the table and our own record to the disk.
    Keep,
    /// Tell the peer manager about this peer.
    Tell(PeerId, PeerNews),
}

/// The search: see the module's documentation.
#[derive(Debug)]
pub struct Search {
    own: PeerId,
    filter: Filter,
    advertised: Advertised,
    pace: Pace,
    seed: B256,
    /// Number of random values drawn so far.
    draws: u64,
    candidates: Candidates,
    prediction: Prediction,
    is_walking: bool,
    is_asking: bool,
    /// Number of nodes that were pinged and have not answered.
    pings: usize,
    next_keep: Instant,
    steps: VecDeque<SearchStep>,
}

impl Search {
    /// Creates a search that has sent no request yet. The driver passes the nodes that it remembers
    /// to [`Self::found`], and then calls [`Self::restored`].
    pub fn new(now: Instant, config: SearchConfig) -> Self {
        Self {
            own: config.own,
            filter: config.filter,
            advertised: config.advertised,
            pace: Pace::new(config.pace),
            seed: config.seed,
            draws: 0,
            candidates: Candidates::new(),
            prediction: Prediction::new(),
            is_walking: false,
            is_asking: false,
            pings: 0,
            next_keep: now + KEEP_INTERVAL,
            steps: VecDeque::new(),
        }
    }

    /// Returns `true` if a node that is queried at this address may be added to the table.
    pub fn may_contact(&self, address: IpAddr) -> bool {
        self.filter.contact(address).is_ok()
    }

    /// Takes a node that was found or that answered. `text` returns its record as text; it is
    /// called only if the node is useful.
    pub fn found(&mut self, now: Instant, node: &FoundNode<'_>, text: impl FnOnce() -> String) {
        if node.peer == self.own {
            return;
        }
        let Ok(addresses) = self.filter.admit(&node.record) else { return };
        let metadata = PeerMetadata { enr: text(), chain_id: self.filter.chain_id };
        let candidate = Candidate { metadata, sequence: node.sequence, addresses };
        self.candidates.found(now, node.peer, candidate);
    }

    /// Handles the end of a walk, whose nodes have been [`found`](Self::found). The table now has
    /// this many nodes.
    pub fn walked(&mut self, known: usize) {
        self.is_walking = false;
        if !self.advertised.is_predicted || self.pings > 0 || known == 0 {
            return;
        }
        let start = self.draw().as_slice()[24..].iter().fold(0_usize, |number, byte| {
            // Reduced at each step, so that it can't overflow.
            (number * 256 + usize::from(*byte)) % known
        });
        let nodes: Vec<usize> = (0..PINGED.min(known)).map(|at| (start + at) % known).collect();
        self.pings = nodes.len();
        self.steps.push_back(SearchStep::Ping(nodes));
    }

    /// Handles the end of a round of requests to the boot nodes.
    pub const fn asked_bootnodes(&mut self) {
        self.is_asking = false;
    }

    /// Handles the end of a ping: the address of the node, and ours as it sees it. `None` if it did
    /// not answer.
    pub fn pinged(&mut self, now: Instant, answer: Option<(IpAddr, SocketAddr)>) {
        self.pings = self.pings.saturating_sub(1);
        let Some((from, seen)) = answer else { return };
        self.prediction.stated(now, from, seen);
        let seen = self.prediction.endpoint(now);
        let policy = &self.filter.policy;
        if let Some(advertised) = seen.and_then(|seen| self.advertised.seen(seen, policy)) {
            self.advertised = advertised;
            self.steps.push_back(SearchStep::Advertise(advertised));
            // After a crash, the record's sequence number must not be lower than one that others
            // have already seen.
            self.keep(now);
        }
    }

    /// Handles the end of the driver's library: what it was asked for does not come.
    pub const fn lost(&mut self) {
        (self.is_walking, self.is_asking, self.pings) = (false, false, 0);
    }

    /// Handles the start of the driver's library, the first or a later one, whose table has the
    /// remembered nodes again.
    pub fn restored(&mut self, now: Instant, missing: usize) {
        self.pass_on(now, missing);
        self.ask_bootnodes();
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Instant, around: SearchView) {
        if self.next_keep <= now {
            self.keep(now);
        }
        if !self.pace.poll(now, around.missing) {
            return;
        }
        // Independent of the last walk, which may still be waiting for nodes that are gone.
        self.pass_on(now, around.missing);
        if around.answering == 0 {
            self.ask_bootnodes();
        }
        // Without a node to query, a walk would fail at once.
        if !self.is_walking && around.known > 0 {
            self.is_walking = true;
            let target = self.draw();
            self.steps.push_back(SearchStep::Walk(target));
        }
    }

    /// Returns the next step, or `None` if nothing is left to do for now.
    pub fn poll(&mut self) -> Option<SearchStep> {
        self.steps.pop_front()
    }

    /// Returns the time of the next [`Self::wake`], given that `missing` peers are missing: at the
    /// latest [`RECHECK`] after `now`.
    pub fn next_wakeup(&self, now: Instant, missing: usize) -> Instant {
        self.pace.next(missing).min(self.next_keep).min(now + RECHECK)
    }

    fn keep(&mut self, now: Instant) {
        self.next_keep = now + KEEP_INTERVAL;
        self.steps.push_back(SearchStep::Keep);
    }

    fn pass_on(&mut self, now: Instant, missing: usize) {
        let next = self.candidates.take(now, missing);
        self.steps.extend(next.into_iter().map(|(peer, news)| SearchStep::Tell(peer, news)));
    }

    fn ask_bootnodes(&mut self) {
        if !self.is_asking {
            self.is_asking = true;
            self.steps.push_back(SearchStep::AskBootnodes);
        }
    }

    /// Returns the next random value.
    fn draw(&mut self) -> B256 {
        self.draws += 1;
        keccak256([self.seed.as_slice(), &self.draws.to_be_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AddressPolicy, FEED_FAST, LocalConfig, MIN_STATEMENTS, Restriction};
    use super::*;
    use std::collections::BTreeSet;

    const OP_MAINNET: &[u8] = &[0x82, 0x0a, 0x00];
    const ALONE: SearchView = SearchView { missing: 5, known: 0, answering: 0 };
    const BUSY: SearchView = SearchView { missing: 5, known: 9, answering: 3 };
    const CONTENT: SearchView = SearchView { missing: 0, ..BUSY };

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn peer(number: u32) -> PeerId {
        PeerId::try_from(&number.to_be_bytes()[..]).expect("4 bytes")
    }

    fn search_of(seed: u8) -> Search {
        let listen = IpAddr::from([0, 0, 0, 0]);
        let policy = AddressPolicy::new(listen, []);
        let local = LocalConfig {
            listen,
            bound_tcp: 9222,
            bound_udp: 9222,
            advertise_ip: None,
            advertise_tcp: 0,
            advertise_udp: 0,
        };
        let config = SearchConfig {
            own: peer(0),
            filter: Filter { chain_id: 10, policy, restriction: Restriction::default() },
            advertised: Advertised::new(&local).expect("nothing is given"),
            pace: PaceConfig::default(),
            seed: B256::repeat_byte(seed),
        };
        Search::new(at(0), config)
    }

    fn search() -> Search {
        search_of(1)
    }

    fn record(ip: [u8; 4]) -> Record<'static> {
        Record { entry: Some(OP_MAINNET), ip4: Some(ip.into()), tcp4: Some(9), ..Record::default() }
    }

    fn find(search: &mut Search, now: Instant, number: u32) {
        let [_, _, high, low] = number.to_be_bytes();
        let record = record([50, high, low, 1]);
        let node = FoundNode { peer: peer(number), sequence: 1, record };
        search.found(now, &node, || "enr:".into());
    }

    fn steps(search: &mut Search) -> Vec<SearchStep> {
        std::iter::from_fn(|| search.poll()).collect()
    }

    fn is_walk(step: &SearchStep) -> bool {
        matches!(step, SearchStep::Walk(_))
    }

    #[test]
    fn at_the_start_the_remembered_nodes_are_told_and_the_boot_nodes_asked() {
        let mut search = search();
        (1..10).for_each(|number| find(&mut search, at(0), number));
        search.restored(at(0), 5);
        let steps = steps(&mut search);
        let told = steps.iter().filter(|step| matches!(step, SearchStep::Tell(..))).count();
        assert_eq!((told, steps.last()), (FEED_FAST, Some(&SearchStep::AskBootnodes)));
    }

    #[test]
    fn walks_follow_the_pace_and_never_overlap() {
        let mut search = search();
        search.wake(at(0), BUSY);
        assert!(matches!(steps(&mut search)[..], [SearchStep::Walk(_)]));
        search.wake(at(5), BUSY);
        assert_eq!(steps(&mut search), [], "the first one is not over");
        search.walked(0);
        search.wake(at(6), BUSY);
        assert_eq!(steps(&mut search), []);
        search.wake(at(10), BUSY);
        assert!(steps(&mut search).iter().any(is_walk));
        search.walked(0);
        search.wake(at(15), CONTENT);
        assert_eq!(steps(&mut search), [], "slower while no peer is missing");
        search.wake(at(30), CONTENT);
        assert!(steps(&mut search).iter().any(is_walk));
    }

    #[test]
    fn without_a_node_that_answers_the_boot_nodes_are_asked_one_round_at_a_time() {
        let mut search = search();
        search.wake(at(0), ALONE);
        assert_eq!(steps(&mut search), [SearchStep::AskBootnodes]);
        search.wake(at(5), ALONE);
        assert_eq!(steps(&mut search), []);
        search.asked_bootnodes();
        search.wake(at(10), ALONE);
        assert_eq!(steps(&mut search), [SearchStep::AskBootnodes]);
        search.asked_bootnodes();
        search.wake(at(15), BUSY);
        assert!(matches!(steps(&mut search)[..], [SearchStep::Walk(_)]), "others answer now");
    }

    #[test]
    fn the_targets_differ_and_follow_from_the_seed() {
        let targets = |seed| {
            let mut search = search_of(seed);
            let mut targets = Vec::new();
            for round in 0..20 {
                search.wake(at(5 * round), BUSY);
                targets.extend(steps(&mut search).into_iter().filter_map(|step| match step {
                    SearchStep::Walk(target) => Some(target),
                    _ => None,
                }));
                search.walked(0);
            }
            targets
        };
        let first = targets(1);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 20);
        assert_eq!(first, targets(1));
        assert!(first.iter().zip(targets(2)).all(|(one, other)| *one != other));
    }

    #[test]
    fn other_chains_and_ourselves_are_no_candidates() {
        let mut search = search();
        let of = |peer, record| FoundNode { peer, sequence: 1, record };
        let foreign = Record { entry: Some(&[0x82, 0x01, 0x00]), ..record([1, 2, 3, 4]) };
        for node in [
            of(peer(0), record([1, 2, 3, 4])),
            of(peer(1), foreign),
            of(peer(2), record([10, 0, 0, 1])),
            of(peer(3), Record::default()),
        ] {
            search.found(at(0), &node, || panic!("its text is not needed"));
        }
        search.wake(at(0), BUSY);
        assert!(steps(&mut search).iter().all(is_walk));
    }

    #[test]
    fn after_a_walk_some_nodes_are_asked_where_we_are_until_enough_agree() {
        let mut search = search();
        let mut asked = BTreeSet::new();
        let mut advertised = None;
        let seen = SocketAddr::from(([1, 2, 3, 4], 30));
        for round in 0..2 * MIN_STATEMENTS as u64 {
            search.wake(at(round * 5), SearchView { known: 100, ..BUSY });
            search.walked(100);
            let pinged = steps(&mut search).into_iter().find_map(|step| match step {
                SearchStep::Ping(nodes) => Some(nodes),
                _ => None,
            });
            let Some(nodes) = pinged else { break };
            assert_eq!(nodes.len(), PINGED);
            search.walked(100);
            assert_eq!(steps(&mut search), [], "one round at a time");
            for node in nodes {
                assert!(node < 100);
                asked.insert(node);
                let from = IpAddr::from([50, 0, node as u8, 1]);
                search.pinged(at(round * 5), Some((from, seen)));
            }
            let said = steps(&mut search);
            if let [SearchStep::Advertise(new), SearchStep::Keep] = &said[..] {
                advertised = Some(*new);
            }
        }
        assert!(asked.len() >= MIN_STATEMENTS, "others each time: {asked:?}");
        let advertised = advertised.expect("ten agree");
        assert_eq!((advertised.ip, advertised.udp), (Some(seen.ip()), 30));
    }

    #[test]
    fn few_nodes_are_pinged_once_each_and_a_lost_library_answers_nothing() {
        let mut search = search();
        search.walked(2);
        let asked = steps(&mut search);
        assert!(
            asked == [SearchStep::Ping(vec![0, 1])] || asked == [SearchStep::Ping(vec![1, 0])],
            "{asked:?}"
        );
        search.wake(at(0), ALONE);
        steps(&mut search);
        search.lost();
        search.restored(at(1), 5);
        assert_eq!(steps(&mut search), [SearchStep::AskBootnodes]);
        search.walked(1);
        assert_eq!(steps(&mut search), [SearchStep::Ping(vec![0])]);
        search.pinged(at(1), None);
        search.walked(0);
        assert_eq!(steps(&mut search), []);
    }

    #[test]
    fn the_table_is_kept_every_five_minutes() {
        let mut search = search();
        let mut kept = 0;
        let mut now = at(0);
        while now < at(1000) {
            search.wake(now, CONTENT);
            kept += steps(&mut search).iter().filter(|step| **step == SearchStep::Keep).count();
            search.walked(0);
            let next = search.next_wakeup(now, 0);
            assert!(next > now && next <= now + RECHECK);
            now = next;
        }
        assert_eq!(kept, 3);
    }

    #[test]
    fn a_peer_that_leaves_is_missed_within_a_second() {
        let mut search = search();
        search.wake(at(100), CONTENT);
        assert_eq!(search.next_wakeup(at(100), 0), at(101));
        steps(&mut search);
        search.walked(0);
        search.wake(at(106), BUSY);
        assert!(steps(&mut search).iter().any(is_walk));
    }
}
