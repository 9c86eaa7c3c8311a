//! The result of a run, as JSON and as a table.

use super::latency::Figures;
use super::outage::Outage;
use super::report::{Member, Played, Report};
use super::tally::Tally;
use crate::text::{count, size};
use opp2p_core::gossip::Acceptance;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Result of a run. `devnet --json` prints its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Whether every follower holds every block, and received them in order, each once; a follower
    /// that was killed must have caught up. Blocks that the sequencer left for others don't count.
    pub ok: bool,
    /// Number of published blocks, without those that the sequencer left for others.
    pub blocks: u64,
    /// The followers' results.
    pub followers: Vec<FollowerSummary>,
    /// The sequencer's result.
    pub sequencer: SequencerSummary,
    /// The devnet's L2 chain id.
    pub chain_id: u64,
    /// The newest active fork, in lower case.
    pub fork: &'static str,
    /// Seconds between two blocks.
    pub block_time: f64,
    /// Duration of the run in seconds.
    pub duration_s: f64,
    /// Number of published transactions.
    pub transactions: u64,
    /// Size of the published blocks in bytes: the encoded envelopes, uncompressed.
    pub bytes: u64,
    /// Number of reorgs of all followers together.
    pub reorgs: u64,
    /// Number of gaps of all followers together; two that merged count as one.
    pub gaps: u64,
    /// Number of equivocations seen by all followers together.
    pub equivocations: u64,
    /// The newest scenarios that were played, oldest first.
    pub scenarios: Vec<ScenarioSummary>,
    /// Address of the observer page; null if it was not served.
    pub web: Option<String>,
}

/// A scenario that was played.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScenarioSummary {
    /// The name, as `--scenario` takes it.
    pub name: &'static str,
    /// Seconds from the start of the run to its beginning.
    pub at_s: f64,
    /// Number of the newest block at its beginning; null if there was none.
    pub block: Option<u64>,
}

/// Result of one follower.
#[derive(Clone, Debug, Serialize)]
pub struct FollowerSummary {
    /// Its peer id.
    pub peer_id: String,
    /// Number of the last block that it delivered; null if it delivered none.
    pub head: Option<u64>,
    /// Number of published blocks that it holds.
    pub received: u64,
    /// Whether it delivered exactly the published blocks, in ascending order and each once.
    pub in_order: bool,
    /// Latencies from publication to acceptance, except for the blocks in
    /// [`caught_up`](Self::caught_up); null if there are no other blocks.
    pub latency_ms: Option<LatencySummary>,
    /// Number of connected peers.
    pub peers: usize,
    /// Its verdicts on gossip messages.
    pub verdicts: Verdicts,
    /// Number of reorgs of its chain.
    pub reorgs: u64,
    /// Number of gaps in its chain; two that merged count as one.
    pub gaps: u64,
    /// Number of equivocations that it saw.
    pub equivocations: u64,
    /// Number of peers that it banned for their scores.
    pub bans: u64,
    /// Number of received blocks that it fetched from peers, or that came while it caught up.
    pub caught_up: u64,
    /// Its outage; null if it was not killed.
    pub outage: Option<OutageSummary>,
}

/// Outage of a follower that was killed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OutageSummary {
    /// Number of published blocks that were not on its disk when it restarted, or until now if it
    /// did not restart.
    pub missed: u64,
    /// Seconds from the kill to the restart; null if it did not restart.
    pub down_s: Option<f64>,
    /// Seconds from the restart until its head was the newest published block, without a missing
    /// block; null if it did not catch up.
    pub catch_up_s: Option<f64>,
}

/// Result of the sequencer.
#[derive(Clone, Debug, Serialize)]
pub struct SequencerSummary {
    /// Its peer id.
    pub peer_id: String,
    /// Number of its last block; null if it published none.
    pub head: Option<u64>,
    /// Number of connected peers.
    pub peers: usize,
    /// Its verdicts on other nodes' gossip messages.
    pub verdicts: Verdicts,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencySummary {
    /// Median (nearest rank) of the newest 10,000 blocks.
    pub p50: f64,
    /// 99th percentile (nearest rank) of the newest 10,000 blocks.
    pub p99: f64,
    /// The maximum of the whole run.
    pub max: f64,
}

/// Counts of gossip messages by verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Verdicts {
    /// Valid.
    pub accept: u64,
    /// Neither relayed nor held against the sender.
    pub ignore: u64,
    /// Invalid.
    pub reject: u64,
    /// Messages that were not accepted, by the name of the reason.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Returns the result of the run so far, `elapsed` after its start.
    pub fn summary(&self, elapsed: Duration) -> Summary {
        let total = |of: fn(&Tally) -> u64| self.followers.iter().map(of).sum();
        let followers = self.setup.followers.iter().zip(&self.followers);
        Summary {
            ok: self.all_in_order() && !self.followers.iter().any(Tally::is_away),
            blocks: self.totals.blocks,
            followers: followers
                .map(|(info, tally)| FollowerSummary {
                    peer_id: info.peer_id.clone(),
                    head: tally.head.map(|head| head.number),
                    received: tally.received,
                    in_order: self.is_in_order(tally),
                    latency_ms: tally.latencies.figures().map(LatencySummary::from),
                    peers: tally.peers,
                    verdicts: Verdicts::of(tally),
                    reorgs: tally.reorgs,
                    gaps: tally.gaps_opened,
                    equivocations: tally.equivocations,
                    bans: tally.bans,
                    caught_up: tally.caught_up,
                    outage: tally.outage.as_ref().map(OutageSummary::from),
                })
                .collect(),
            sequencer: SequencerSummary {
                peer_id: self.setup.sequencer.peer_id.clone(),
                head: self.sequencer.head.map(|head| head.number),
                peers: self.sequencer.peers,
                verdicts: Verdicts::of(&self.sequencer),
            },
            chain_id: self.setup.chain_id,
            fork: self.setup.fork.name(),
            block_time: self.setup.block_time.as_secs_f64(),
            duration_s: elapsed.as_millis() as f64 / 1e3,
            transactions: self.totals.transactions,
            bytes: self.totals.bytes,
            reorgs: total(|tally| tally.reorgs),
            gaps: total(|tally| tally.gaps_opened),
            equivocations: total(|tally| tally.equivocations),
            scenarios: self.scenarios.iter().map(ScenarioSummary::from).collect(),
            web: self.setup.web.clone(),
        }
    }
}

impl From<&Played> for ScenarioSummary {
    fn from(played: &Played) -> Self {
        let Played { scenario, at, block } = *played;
        Self { name: scenario.name(), at_s: at.as_millis() as f64 / 1e3, block }
    }
}

impl Verdicts {
    fn of(tally: &Tally) -> Self {
        Self {
            accept: tally.accepted,
            ignore: tally.refused(Acceptance::Ignore),
            reject: tally.refused(Acceptance::Reject),
            reasons: tally.refused.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
        }
    }
}

impl From<&Outage> for OutageSummary {
    fn from(outage: &Outage) -> Self {
        let seconds = |duration: Duration| duration.as_millis() as f64 / 1e3;
        Self {
            missed: outage.missed(),
            down_s: outage.down().map(seconds),
            catch_up_s: outage.catching_up().map(seconds),
        }
    }
}

impl From<Figures> for LatencySummary {
    fn from(figures: Figures) -> Self {
        // Whole microseconds: more digits would be noise.
        let millis = |figure: Duration| figure.as_micros() as f64 / 1e3;
        Self { p50: millis(figures.p50), p99: millis(figures.p99), max: millis(figures.max) }
    }
}

/// Formats the summary as text: a line about the run, a table with a row per node, and a line with
/// the result.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "devnet, chain {}, {}, block time {} s: {}, {}, {} in {:.1} s",
            self.chain_id,
            self.fork,
            self.block_time,
            count(self.blocks, "block"),
            count(self.transactions, "transaction"),
            size(self.bytes),
            self.duration_s
        )?;
        writeln!(f)?;
        let id_width = self.followers.iter().map(|follower| follower.peer_id.len());
        let id_width = id_width.chain([self.sequencer.peer_id.len(), 7]).max().unwrap_or_default();
        writeln!(
            f,
            "{:<12} {:<id_width$} {:>8} {:>8} {:>8} {:>20} {:>23}",
            "node",
            "peer id",
            "head",
            "received",
            "in order",
            "accept/ignore/reject",
            "latency p50/p99/max, ms"
        )?;
        let number = |number: Option<u64>| {
            number.map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        let SequencerSummary { peer_id, head, verdicts, .. } = &self.sequencer;
        let (name, head) = (Member::Sequencer, number(*head));
        writeln!(
            f,
            "{name:<12} {peer_id:<id_width$} {head:>8} {:>8} {:>8} {verdicts:>20} {:>23}",
            "", "", ""
        )?;
        for (index, follower) in self.followers.iter().enumerate() {
            let FollowerSummary { peer_id, head, received, in_order, latency_ms, verdicts, .. } =
                follower;
            let (name, head) = (Member::Follower(index), number(*head));
            let in_order = if *in_order { "yes" } else { "NO" };
            let latency =
                latency_ms.as_ref().map_or_else(|| "-".to_owned(), LatencySummary::to_string);
            writeln!(
                f,
                "{name:<12} {peer_id:<id_width$} {head:>8} {received:>8} {in_order:>8} \
                 {verdicts:>20} {latency:>23}"
            )?;
        }
        writeln!(f)?;
        if self.reorgs + self.gaps + self.equivocations > 0 {
            let (reorgs, gaps) = (count(self.reorgs, "reorg"), count(self.gaps, "gap"));
            writeln!(f, "{reorgs}, {gaps} and {} seen", count(self.equivocations, "equivocation"))?;
        }
        for (index, follower) in self.followers.iter().enumerate() {
            if let Some(outage) = &follower.outage {
                writeln!(f, "{} {outage}", Member::Follower(index))?;
            }
        }
        let away = |follower: &FollowerSummary| {
            follower.outage.is_some_and(|outage| outage.catch_up_s.is_none())
        };
        let failed =
            self.followers.iter().filter(|follower| !follower.in_order || away(follower)).count();
        if self.ok {
            write!(f, "ok: every follower holds every block, in order")
        } else {
            write!(
                f,
                "not ok: {failed} of {} lack blocks{} or got them out of order",
                count(self.followers.len() as u64, "follower"),
                if self.followers.iter().any(away) { ", have not caught up" } else { "" }
            )
        }
    }
}

impl fmt::Display for OutageSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = count(self.missed, "block");
        let Some(down) = self.down_s else {
            return write!(f, "was killed, missed {missed} and did not start again");
        };
        write!(f, "was killed, started again after {down:.1} s, missed {missed} ")?;
        match self.catch_up_s {
            Some(catch_up) => write!(f, "and caught up {catch_up:.2} s after its start"),
            None => write!(f, "and did not catch up"),
        }
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.accept, self.ignore, self.reject))
    }
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2}/{:.2}/{:.2}", self.p50, self.p99, self.max))
    }
}
