//! Writes a trace of a run, to be played in a browser.
//!
//! # Bounds
//! [`MAX_EVENTS`] events; later ones are counted and left out.

use super::net::Net;
use super::{MS, SECOND};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Maximum number of events in a page.
pub(crate) const MAX_EVENTS: usize = 120_000;
/// Maximum number of honest nodes, sybils and blocks in a run that is traced.
pub(crate) const MAX_NODES: u32 = 60;
pub(crate) const MAX_BLOCKS: u32 = 40;

/// The page, with a mark where the run goes.
const PAGE: &str = include_str!("trace.html");
const MARK: &str = "/*RUN*/null";

/// An event: its time in tenths of a millisecond, its kind, and what it is about.
type Noted = [i64; 6];

const PUBLISHED: i64 = 0;
const ARRIVED: i64 = 1;
const DELIVERED: i64 = 2;
const JOINED: i64 = 3;
const LEFT: i64 = 4;
const BANNED: i64 = 5;
const SCORED: i64 = 6;

#[derive(Debug, Default)]
pub(super) struct Trace {
    events: Vec<Noted>,
    left_out: u64,
    /// The last score of each peer at each node, in tenths, that was written down.
    scores: BTreeMap<(u32, u32), i64>,
}

impl Trace {
    fn note(&mut self, at: u64, kind: i64, what: [u32; 3]) {
        self.note_long(at, kind, [i64::from(what[0]), i64::from(what[1]), i64::from(what[2]), 0]);
    }

    fn note_long(&mut self, at: u64, kind: i64, [a, b, c, d]: [i64; 4]) {
        if self.events.len() < MAX_EVENTS {
            self.events.push([tenths(at), kind, a, b, c, d]);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn published(&mut self, at: u64, block: u32, bytes: usize) {
        self.note(at, PUBLISHED, [block, bytes as u32, 0]);
    }

    /// A copy arrived that was on the line for `took`.
    pub(super) fn arrived(&mut self, at: u64, block: u32, (from, to): (u32, u32), took: u64) {
        let what = [block.into(), from.into(), to.into(), tenths(took)];
        self.note_long(at, ARRIVED, what);
    }

    pub(super) fn delivered(&mut self, at: u64, block: u32, node: u32, from: u32) {
        self.note(at, DELIVERED, [block, node, from]);
    }

    pub(super) fn meshed(&mut self, at: u64, node: u32, peer: u32, is_member: bool) {
        self.note(at, if is_member { JOINED } else { LEFT }, [node, peer, 0]);
    }

    pub(super) fn banned(&mut self, at: u64, node: u32, peer: u32) {
        self.note(at, BANNED, [node, peer, 0]);
    }

    /// A node holds this score of a peer, which is written down if it has changed by a tenth.
    pub(super) fn scored(&mut self, at: u64, node: u32, peer: u32, score: f64) {
        let score = (score * 10.0).round() as i64;
        if self.scores.insert((node, peer), score).unwrap_or_default() != score {
            self.note_long(at, SCORED, [node.into(), peer.into(), score, 0]);
        }
    }
}

const fn tenths(time: u64) -> i64 {
    (time / (MS / 10)) as i64
}

impl Net {
    /// Writes all that happens down from now on.
    pub(crate) fn start_trace(&mut self) {
        self.trace = Some(Trace::default());
    }

    /// Notes the scores of all peers at all nodes.
    pub(super) fn trace_scores(&mut self) {
        let (now, clock) = (self.now, self.clock());
        let Some(trace) = &mut self.trace else { return };
        for (at, member) in self.members.iter().enumerate() {
            for peer in &member.links {
                let score = member.router.score_of(clock, &super::net::peer(*peer)).total;
                trace.scored(now, at as u32, *peer, score);
            }
        }
    }

    /// Returns the page that plays the run.
    pub(crate) fn page(&self, name: &str, seed: u64) -> String {
        let Some(trace) = &self.trace else { return String::new() };
        let mut run = String::new();
        let places: Vec<[u64; 2]> = self.places.iter().map(|place| [place.x, place.y]).collect();
        let _ = write!(
            run,
            "{{\"name\":{name:?},\"seed\":{seed},\"honest\":{},\"first\":{},\"end\":{},\
             \"leftOut\":{},\"places\":{places:?},\"events\":{:?}}}",
            self.plan.nodes,
            tenths(self.plan.first.min(self.plan.attack).saturating_sub(SECOND)),
            tenths(self.now),
            trace.left_out,
            trace.events,
        );
        PAGE.replace(MARK, &run.replace(", ", ","))
    }
}
