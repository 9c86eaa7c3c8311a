//! Report on a run, and the properties that must hold in each run.

use super::net::{Net, peer};
use super::record::percentile;
use super::{MS, SECOND};
use std::fmt;

/// Honest peers that a mesh needs to be healthy: half of its usual size.
const HEALTHY: u32 = 4;

/// A run in figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    nodes: u32,
    sybils: u32,
    blocks: usize,
    expected: u64,
    missing: u64,
    /// Milliseconds from publication to delivery: half of all, 99 %, all.
    p50: f64,
    p99: f64,
    last: f64,
    /// Number of deliveries after each number of hops.
    pub(crate) hops: Vec<u64>,
    /// Number of deliveries with each number of copies.
    pub(crate) copies: Vec<u64>,
    /// Number of deliveries in each twentieth of a second.
    pub(crate) times: Vec<u64>,
    /// Number of nodes with each size of the mesh in the end.
    pub(crate) degrees: Vec<u64>,
    sent: u64,
    /// Seconds from the attack until no sybil was in any mesh, and until each mesh held
    /// [`HEALTHY`] honest peers.
    clean: Option<f64>,
    healthy: Option<f64>,
    /// Part of the meshes' places that sybils held at most, and in the end.
    peak: f64,
    end: f64,
    bans: usize,
    first_ban: Option<f64>,
    /// Large messages that notices held back, those that were spared, and broken notices.
    held: u64,
    spared: u64,
    broken: u64,
    wronged: Vec<String>,
    may_lose: u64,
    within: Option<u64>,
    pub(crate) digest: u64,
}

fn seconds(time: u64) -> f64 {
    time as f64 / SECOND as f64
}

fn average(counts: &[u64]) -> f64 {
    let all: u64 = counts.iter().sum();
    let sum: u64 = counts.iter().enumerate().map(|(value, count)| value as u64 * count).sum();
    sum as f64 / all.max(1) as f64
}

impl Net {
    /// Sums a run up.
    pub(crate) fn report(&self) -> Report {
        let record = &self.record;
        let times = record.times();
        let (expected, missing) = record.missing();
        let attack = self.plan.attack;
        let after = |at: u64| seconds(at.saturating_sub(attack));
        let share = |sample: &super::record::Sample| {
            f64::from(sample.sybils) / f64::from(sample.places.max(1))
        };
        let mut parts = vec![0; times.last().map_or(0, |last| *last as usize / 50_000 + 1)];
        times.iter().for_each(|time| parts[*time as usize / 50_000] += 1);
        let mut degrees = Vec::new();
        for member in self.members.iter().filter(|member| member.since.is_some()) {
            let degree = member.router.nodes_in_mesh(super::net::topic());
            degrees.resize(degrees.len().max(degree + 1), 0);
            degrees[degree] += 1;
        }
        let counts = || self.members.iter().map(|member| member.router.counts());
        Report {
            nodes: self.plan.nodes,
            sybils: self.plan.sybils,
            blocks: record.published.len(),
            expected,
            missing,
            p50: percentile(&times, 50.0),
            p99: percentile(&times, 99.0),
            last: percentile(&times, 100.0),
            hops: record.hops(),
            copies: record.copies(),
            times: parts,
            degrees,
            sent: record.sent,
            clean: record.clean_at().map(after),
            healthy: record.healthy_at(HEALTHY).map(after),
            peak: record.samples.iter().map(share).fold(0.0, f64::max),
            end: record.samples.last().map_or(0.0, share),
            bans: record.bans.len(),
            first_ban: record.bans.first().map(|(at, ..)| after(*at)),
            held: counts().map(|counts| counts.held).sum(),
            spared: counts().map(|counts| counts.spared).sum(),
            broken: counts().map(|counts| counts.broken).sum(),
            wronged: self.wronged(),
            may_lose: self.plan.may_lose,
            within: self.plan.within,
            digest: self.digest,
        }
    }

    /// Returns what honest nodes hold against honest ones.
    fn wronged(&self) -> Vec<String> {
        let mut wronged = Vec::new();
        // A node that restarts has forgotten who pruned it, so its GRAFT may come too early. That
        // is counted, and costs nothing.
        let free = if self.plan.churn.is_some() { 6.0 } else { 0.0 };
        for (at, by, whom) in &self.record.bans {
            if self.is_honest(*whom) {
                wronged.push(format!("{by} bans the honest {whom} after {} ms", at / MS));
            }
        }
        for (at, member) in self.members.iter().enumerate() {
            for other in member.links.iter().filter(|other| self.is_honest(**other)) {
                let score = member.router.score_of(self.clock(), &peer(*other));
                let invalid = score.blocks.invalid_message_deliveries;
                if score.behavioural_penalty > free || invalid > 0.0 || score.total < 0.0 {
                    wronged.push(format!("{at} blames the honest {other}: {score:?}"));
                }
            }
        }
        wronged
    }
}

impl Report {
    /// Panics if the run has shown what no run may.
    pub(crate) fn check(&self) {
        assert!(
            self.wronged.is_empty(),
            "{} wrongs, such as {}",
            self.wronged.len(),
            self.wronged[0]
        );
        let allowed = self.expected * self.may_lose / 10_000;
        assert!(
            self.missing <= allowed,
            "{} of {} deliveries are missing",
            self.missing,
            self.expected
        );
        if let Some(within) = self.within {
            let within = (within / MS) as f64;
            assert!(self.p99 <= within, "99 % of the deliveries took {} ms", self.p99);
        }
    }

    /// Returns the distributions as an SVG picture.
    pub(crate) fn picture(&self) -> String {
        super::plots::picture(self)
    }

    /// Returns the distributions as a table.
    pub(crate) fn distributions(&self) -> String {
        let mut text = String::new();
        for (what, counts) in [
            ("hops", &self.hops),
            ("copies", &self.copies),
            ("twentieths of a second", &self.times),
            ("peers in the mesh", &self.degrees),
        ] {
            let all: u64 = counts.iter().sum();
            text += &format!("  {what}, average {:.2}:", average(counts));
            for (value, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                text += &format!(" {value}: {:.2} %", *count as f64 * 100.0 / all as f64);
            }
            text += "\n";
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = 100.0 - self.missing as f64 * 100.0 / self.expected.max(1) as f64;
        write!(
            f,
            "{} nodes, {} blocks: {part:.3} % delivered ({} missing), p50 {:.0} ms, p99 {:.0} ms, \
             last {:.0} ms; {:.2} copies, {:.2} hops, {:.1} MB sent; {} large ones held back, {} \
             of them spared, {} notices broken",
            self.nodes,
            self.blocks,
            self.missing,
            self.p50,
            self.p99,
            self.last,
            average(&self.copies),
            average(&self.hops),
            self.sent as f64 / 1e6,
            self.held,
            self.spared,
            self.broken,
        )?;
        if self.sybils == 0 {
            return Ok(());
        }
        let after = |time: Option<f64>| time.map_or("never".into(), |time| format!("{time:.0} s"));
        write!(
            f,
            "; {} sybils hold {:.0} % of the places in meshes at most, {:.1} % in the end, none \
             after: {}; each mesh has {HEALTHY} honest peers after: {}; {} bans, the first \
             after: {}",
            self.sybils,
            self.peak * 100.0,
            self.end * 100.0,
            after(self.clean),
            after(self.healthy),
            self.bans,
            after(self.first_ban),
        )
    }
}
