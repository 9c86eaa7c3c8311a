//! What happened lately: the last verdicts, and how much there was of everything in the last minute.
//!
//! # Bounds
//! [`VERDICTS`] verdicts and a sample a second for [`WINDOW`] seconds. Peers cause verdicts; each is of fixed size.

use super::types::{Rates, VerdictInfo};
use crate::clock::since_epoch;
use crate::host::{HostEvent, HostEventKind, HostHandle};
use crate::swarm;
use opp2p_core::gossip::{Acceptance, Reason};
use opp2p_core::node::Verdict;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

/// Verdicts that are kept.
pub const VERDICTS: usize = 256;
/// Seconds that rates are over.
pub const WINDOW: usize = 60;

/// Shared by the task that listens and those who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Oldest first, each with when it was, in unix milliseconds.
    verdicts: VecDeque<(u64, Verdict)>,
    /// Oldest first.
    samples: VecDeque<Sample>,
}

/// Counters as they were at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    head: Option<u64>,
    messages: u64,
    served: u64,
    received: u64,
    sent: u64,
}

impl Sample {
    fn take(host: &HostHandle) -> Self {
        let (received, sent) = host.bandwidth();
        let status = host.status();
        let status = status.borrow();
        Self {
            at: Instant::now(),
            head: status.head.map(|head| head.number),
            messages: status.refused.values().sum::<u64>().saturating_add(status.accepted),
            served: status.served,
            received,
            sent,
        }
    }
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens until the node ends.
    pub(super) async fn listen(self, host: HostHandle, mut events: Receiver<HostEvent>) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(HostEvent { kind: HostEventKind::Verdict(verdict), .. }) => self.judged(verdict),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = second.tick() => self.sample(Sample::take(&host)),
            }
        }
    }

    fn judged(&self, verdict: Verdict) {
        let at = u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        if inner.verdicts.len() >= VERDICTS {
            inner.verdicts.pop_front();
        }
        inner.verdicts.push_back((at, verdict));
    }

    fn sample(&self, sample: Sample) {
        let mut inner = self.lock();
        if inner.samples.len() > WINDOW {
            inner.samples.pop_front();
        }
        inner.samples.push_back(sample);
    }

    /// The last verdicts, newest first.
    pub(super) fn verdicts(&self, most: usize) -> Vec<VerdictInfo> {
        let last: Vec<_> = self.lock().verdicts.iter().rev().take(most).copied().collect();
        last.into_iter().map(|(at, verdict)| verdict_info(at, &verdict)).collect()
    }

    /// Averages over the last minute.
    pub(super) fn rates(&self) -> Rates {
        let inner = self.lock();
        let (Some(first), Some(last)) = (inner.samples.front(), inner.samples.back()) else {
            return Rates::default();
        };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        // A head that was not there a minute ago has not moved from zero.
        let first_head = inner.samples.iter().find_map(|sample| sample.head).unwrap_or_default();
        Rates {
            over: seconds.round() as u64,
            blocks: rate(first_head, last.head.unwrap_or(first_head)),
            messages: rate(first.messages, last.messages),
            served: rate(first.served, last.served),
            bytes_in: rate(first.received, last.received),
            bytes_out: rate(first.sent, last.sent),
        }
    }
}

fn verdict_info(at: u64, verdict: &Verdict) -> VerdictInfo {
    let Verdict { from, topic, result, .. } = verdict;
    let acceptance = result.map_or_else(Reason::acceptance, |_| Acceptance::Accept);
    VerdictInfo {
        at,
        peer_id: swarm::to_libp2p(from).map(|peer| peer.to_string()).unwrap_or_default(),
        topic: u8::try_from(topic.index() + 1).unwrap_or_default(),
        verdict: acceptance.name().into(),
        block: result.ok().map(Into::into),
        reason: result.err().map(|reason| reason.name().into()),
        text: result.err().map(|reason| reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::chain::BlockId;
    use opp2p_core::payload::PayloadVersion;
    use opp2p_core::peers::PeerId;
    use serde_json::json;

    fn verdict(result: Result<BlockId, Reason>) -> Verdict {
        let id: libp2p::PeerId = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq".parse().unwrap();
        let from = PeerId::try_from(id.to_bytes().as_slice()).unwrap();
        Verdict { from, topic: PayloadVersion::V3, id: Default::default(), result }
    }

    #[test]
    fn a_verdict_says_who_what_and_why() {
        let block = BlockId::new(7, [1; 32].into());
        let accepted = serde_json::to_value(verdict_info(5, &verdict(Ok(block)))).unwrap();
        let refused = serde_json::to_value(verdict_info(5, &verdict(Err(Reason::BlockHash)))).unwrap();
        let peer = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
        let hash = format!("0x{}", "01".repeat(32));
        assert_eq!(
            accepted,
            json!({
                "at": 5, "peerID": peer, "topic": 3, "verdict": "accept",
                "block": {"number": 7, "hash": hash}, "reason": null, "text": null,
            })
        );
        assert_eq!(
            refused,
            json!({
                "at": 5, "peerID": peer, "topic": 3, "verdict": "reject", "block": null,
                "reason": "block_hash", "text": "the block hash does not match the contents",
            })
        );
    }

    #[test]
    fn only_the_last_are_kept_and_the_newest_come_first() {
        let recent = Recent::default();
        for number in 0..VERDICTS as u64 + 10 {
            recent.judged(verdict(Ok(BlockId::new(number, [0; 32].into()))));
        }
        let number = |info: &VerdictInfo| info.block.unwrap().number;
        assert_eq!(recent.verdicts(usize::MAX).len(), VERDICTS);
        assert_eq!(recent.verdicts(2).iter().map(number).collect::<Vec<_>>(), [265, 264]);
        assert_eq!(recent.verdicts(0), []);
    }

    #[test]
    fn rates_are_over_a_minute_at_most() {
        let recent = Recent::default();
        assert_eq!(recent.rates(), Rates::default());
        let start = Instant::now();
        for second in 0..200 {
            let head = (second >= 10).then_some(1000 + second);
            let [messages, served, received, sent] = [2, 3, 100, 50].map(|rate| rate * second);
            let at = start + Duration::from_secs(second);
            recent.sample(Sample { at, head, messages, served, received, sent });
            if second == 10 {
                assert_eq!((recent.rates().over, recent.rates().blocks), (10, 0.0));
            }
        }
        let expected =
            Rates { over: 60, blocks: 1.0, messages: 2.0, served: 3.0, bytes_in: 100.0, bytes_out: 50.0 };
        assert_eq!(recent.rates(), expected);
    }
}
