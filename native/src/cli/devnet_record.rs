//! Record of a devnet's run: its report, its newest blocks, its failures, and its end.

use super::Failure;
use crate::devnet::{
    Engines, Member, Network, NetworkConfig, NetworkEvent, News, Publication, Report, Setup,
};
use crate::page::Page;
use opp2p_core::chain::BlockId;
use opp2p_node::host::{HostEvent, HostEventKind};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Time limit for the followers to get the last block.
const LAST_BLOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit while a follower has yet to catch up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of published blocks to look up on the followers' disks at the end: the newest.
const CHECKED: usize = 10_000;

/// Record of the run.
pub(super) struct Record {
    start: Instant,
    pub(super) report: Report,
    /// The newest published blocks, for the check of the disks at the end.
    pub(super) blocks: VecDeque<BlockId>,
    pub(super) failures: Vec<String>,
}

impl Record {
    pub(super) fn open(network: &Network, config: &NetworkConfig, page: Option<&Page>) -> Self {
        let report = Report::new(Setup {
            chain_id: crate::devnet::CHAIN_ID,
            fork: config.fork,
            block_time: config.block_time,
            sequencer: network.sequencer_info(),
            followers: network.follower_infos(),
            web: page.map(Page::url),
        });
        Self { start: Instant::now(), report, blocks: VecDeque::new(), failures: Vec::new() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records the present heights and peers of all nodes.
    pub(super) fn look_at(&mut self, network: &Network) {
        for (member, status) in network.statuses() {
            let status = status.borrow();
            let number = |block: Option<BlockId>| block.map(|block| block.number);
            self.report.peers(member, status.peers);
            self.report.heights(member, number(status.head), number(status.highest));
        }
    }

    /// Returns the maximum time to wait for blocks under way at the end.
    pub(super) fn patience(&self) -> Duration {
        if self.report.is_catching_up() { CATCH_UP_TIMEOUT } else { LAST_BLOCK_TIMEOUT }
    }

    pub(super) fn event(&mut self, member: Member, event: &NetworkEvent) {
        let since_start = |at: Instant| at.saturating_duration_since(self.start);
        match event {
            NetworkEvent::Host(HostEvent { at, kind }) => match kind {
                HostEventKind::Verdict(verdict) => {
                    self.report.verdict(member, verdict.result, since_start(*at));
                }
                HostEventKind::Core(event) => self.report.event(member, event, since_start(*at)),
                HostEventKind::StoreFailed(error) => {
                    self.failures.push(format!("{member}: {error}"));
                }
                _ => {}
            },
            NetworkEvent::Missed => self.failures.push(format!(
                "{member}: events came faster than they were read; its figures are incomplete"
            )),
            NetworkEvent::Killed { at, stored } => {
                self.report.killed(member, *stored, since_start(*at));
            }
            NetworkEvent::Restarted { at } => self.report.restarted(member, since_start(*at)),
        }
        self.failures.truncate(20);
    }

    pub(super) fn news(&mut self, news: &News) {
        let now = self.elapsed();
        match news {
            News::Published(publication) => self.published(publication),
            News::Branched(base) => {
                while self.blocks.back().is_some_and(|block| block.number > *base) {
                    self.blocks.pop_back();
                }
                self.report.branched(*base);
            }
            News::Began(scenario, text) => self.report.began(*scenario, text, now),
            News::Remark(scenario, text) => self.report.remark(*scenario, text, now),
        }
    }

    fn published(&mut self, publication: &Publication) {
        let Publication { block, transactions, bytes, at, result } = publication;
        match result {
            Ok(()) => {
                let at = at.saturating_duration_since(self.start);
                self.report.published(*block, *transactions, *bytes, at);
                if self.blocks.len() == CHECKED {
                    self.blocks.pop_front();
                }
                self.blocks.push_back(*block);
            }
            Err(error) => {
                self.failures.push(format!("block {} was not published: {error}", block.number));
            }
        }
    }

    /// Checks every follower's disk, and returns the problems.
    pub(super) async fn problems(mut self, network: &mut Network) -> Result<Vec<String>, Failure> {
        let last = self.blocks.back().copied();
        for (member, host) in network.hosts() {
            let mut status = host.status();
            let written = status.wait_for(|status| last.is_none() || status.stored == last);
            if tokio::time::timeout(LAST_BLOCK_TIMEOUT, written).await.is_err() {
                self.failures
                    .push(format!("{member}: its last block is not on the disk after 10 s"));
            }
            for block in &self.blocks {
                let stored = host.stored_block(block.number)?.map(|stored| stored.hash());
                if stored != Some(block.hash) {
                    self.failures
                        .push(format!("{member}: block {} is not on its disk", block.number));
                    break;
                }
            }
        }
        Ok(self.failures)
    }
}

/// The end of a run, which waits for the blocks under way.
pub(super) struct Ending<'a> {
    /// The time when the run stopped making blocks and started to wait.
    at: Option<Instant>,
    /// Tells the stage to make no more blocks.
    enough: &'a Notify,
}

impl<'a> Ending<'a> {
    pub(super) const fn new(enough: &'a Notify) -> Self {
        Self { at: None, enough }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.at.is_some()
    }

    /// Lets the run end. Returns `true` if it is ending already.
    pub(super) fn begin(&mut self) -> bool {
        self.enough.notify_one();
        let again = self.has_begun();
        self.at.get_or_insert_with(Instant::now);
        again
    }

    /// Returns why the run has to end: an execution client has ended. `None` if it is ending, since
    /// a signal to all processes of a terminal ends the clients too.
    pub(super) fn failure(&self, engines: Option<&mut Engines>) -> Option<String> {
        engines.filter(|_| !self.has_begun()).and_then(Engines::ended)
    }

    /// Returns `true` if nothing is under way after the last block (`is_drained`), or if the wait
    /// for it has taken too long.
    pub(super) fn is_over(&self, record: &Record, is_drained: bool) -> bool {
        self.at.is_some_and(|at| at.elapsed() > record.patience())
            || (is_drained && record.report.is_settled())
    }
}
