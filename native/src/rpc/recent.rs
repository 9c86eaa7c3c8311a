//! Recent history: the last verdicts, and counters over the last minute.
//!
//! # Bounds
//! [`VERDICTS`] verdicts, and one sample per second for [`WINDOW`] seconds. Peers cause verdicts;
//! each is of fixed size.

use super::types::{Rates, VerdictInfo};
use opp2p_core::gossip::{Acceptance, Reason, Verdict};
use opp2p_node::clock::since_epoch;
use opp2p_node::host::{HostEvent, HostEventKind, HostHandle};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

/// Maximum number of verdicts to keep.
pub const VERDICTS: usize = 256;
/// Length of the rates' window in seconds.
pub const WINDOW: usize = 60;

/// Shared by the listening task and the RPC's methods.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Verdicts with their times in unix milliseconds, oldest first.
    verdicts: VecDeque<(u64, Verdict)>,
    /// Samples, oldest first.
    samples: VecDeque<Sample>,
}

/// Counters at one moment.
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

    /// Records events until the node ends.
    pub(super) async fn listen(self, host: HostHandle, mut events: Receiver<HostEvent>) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(HostEvent { kind: HostEventKind::Verdict(verdict), .. }) => {
                        self.judged(verdict);
                    }
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

    /// Returns the last verdicts, newest first.
    pub(super) fn verdicts(&self, most: usize) -> Vec<VerdictInfo> {
        let last: Vec<_> = self.lock().verdicts.iter().rev().take(most).copied().collect();
        last.into_iter().map(|(at, verdict)| verdict_info(at, &verdict)).collect()
    }

    /// Returns averages over the last minute.
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
        // Without a head a minute ago, the movement counts from the first head, not from zero.
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
    let Verdict { from, topic, result, signer, .. } = verdict;
    let acceptance = result.map_or_else(Reason::acceptance, |_| Acceptance::Accept);
    VerdictInfo {
        at: at / 1000,
        at_ms: at,
        peer_id: opp2p_wire::to_libp2p(from).map(|peer| peer.to_string()).unwrap_or_default(),
        topic: topic.to_string(),
        verdict: acceptance.name().into(),
        block: result.ok().map(Into::into),
        reason: result.err().map(|reason| reason.name().into()),
        text: result.err().map(|reason| reason.to_string()),
        signer: *signer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use opp2p_core::chain::BlockId;
    use opp2p_core::payload::PayloadVersion;
    use opp2p_core::peers::PeerId;
    use serde_json::json;

    fn verdict(result: Result<BlockId, Reason>, signer: Option<Address>) -> Verdict {
        let id: libp2p::PeerId =
            "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq".parse().unwrap();
        let from = PeerId::try_from(id.to_bytes().as_slice()).unwrap();
        Verdict {
            from,
            topic: PayloadVersion::V3,
            id: Default::default(),
            result,
            signer,
            arrived: opp2p_core::time::Instant::default(),
        }
    }

    #[test]
    fn a_verdict_shows_the_sender_the_block_and_the_reason() {
        let block = BlockId::new(7, [1; 32].into());
        let signer = Some(Address::repeat_byte(0xab));
        let info = |verdict| serde_json::to_value(verdict_info(5678, &verdict)).unwrap();
        let accepted = info(verdict(Ok(block), signer));
        let refused = info(verdict(Err(Reason::WrongSigner), signer));
        let unread = info(verdict(Err(Reason::Payload), None));
        let peer = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
        let hash = format!("0x{}", "01".repeat(32));
        let address = format!("0x{}", "ab".repeat(20));
        assert_eq!(
            accepted,
            json!({
                "at": 5, "atMs": 5678, "peerID": peer, "topic": "v3", "verdict": "accept",
                "block": {"number": 7, "hash": hash}, "reason": null, "text": null,
                "signer": address,
            })
        );
        assert_eq!(
            refused,
            json!({
                "at": 5, "atMs": 5678, "peerID": peer, "topic": "v3", "verdict": "reject",
                "block": null,
                "reason": "wrong_signer", "text": Reason::WrongSigner.to_string(),
                "signer": address,
            })
        );
        assert_eq!(unread["signer"], json!(null));
    }

    #[test]
    fn only_the_newest_verdicts_are_kept_newest_first() {
        let recent = Recent::default();
        for number in 0..VERDICTS as u64 + 10 {
            recent.judged(verdict(Ok(BlockId::new(number, [0; 32].into())), None));
        }
        let number = |info: &VerdictInfo| info.block.unwrap().number;
        assert_eq!(recent.verdicts(usize::MAX).len(), VERDICTS);
        assert_eq!(recent.verdicts(2).iter().map(number).collect::<Vec<_>>(), [265, 264]);
        assert_eq!(recent.verdicts(0), []);
    }

    #[test]
    fn rates_cover_at_most_a_minute() {
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
        let expected = Rates {
            over: 60,
            blocks: 1.0,
            messages: 2.0,
            served: 3.0,
            bytes_in: 100.0,
            bytes_out: 50.0,
        };
        assert_eq!(recent.rates(), expected);
    }
}
