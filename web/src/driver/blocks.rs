//! Messages and blocks: verdicts, arrivals of blocks, and the reports about them to the page.

use super::Driver;
use super::wanted::{Found, Wanted};
use crate::options::{Code, Refusal};
use crate::tell::{Arrival, BlockJs, HeadJs, RejectedJs, Told};
use futures::channel::oneshot;
use opp2p_core::gossip::{Acceptance, Reason, Verdict};
use opp2p_core::node::{Input, StoreChange, StoreId};
use opp2p_core::payload::Block;
use opp2p_wire::to_libp2p;

impl Driver {
    /// Replaces the store on disk: keeps only blocks that do not link yet, as long as there is
    /// room.
    pub(super) fn store(&mut self, id: StoreId, change: StoreChange) {
        let is_stored = match change {
            StoreChange::Hold(block) => self.pending.hold(&block),
            StoreChange::Promote(id) => {
                self.pending.release(&id);
                true
            }
            StoreChange::Release(ids) => {
                ids.iter().for_each(|id| self.pending.release(id));
                true
            }
            StoreChange::Extend(_) | StoreChange::Rewind(_) | StoreChange::Detach => true,
            // An observer fetches no history.
            StoreChange::Prepend(_) => false,
        };
        self.feed(Input::Stored { id, is_stored });
    }

    /// Counts a verdict and reports it to the page.
    pub(super) fn on_verdict(&mut self, verdict: &Verdict) {
        self.status_changed = true;
        let now = self.core.clock.unix_millis();
        let took = self.core.clock.now().monotonic.since(verdict.arrived);
        let received_at = now - took.as_secs_f64() * 1000.0;
        let from = to_libp2p(&verdict.from);
        let name = || from.map(|peer| peer.to_string());
        match verdict.result {
            Ok(block) => {
                self.counters.accepted += 1;
                if let Some(known) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                    known.delivered += 1;
                }
                let validation = Some(now - received_at);
                let arrival = Arrival { is_gossip: true, peer: name(), received_at, validation };
                self.arrivals.insert(block.hash, arrival);
            }
            Err(reason) => self.refused(verdict, reason, received_at),
        }
    }

    fn refused(&mut self, verdict: &Verdict, reason: Reason, at: f64) {
        let from = to_libp2p(&verdict.from);
        let rules = match reason.acceptance() {
            Acceptance::Reject => {
                if let Some(known) = from.and_then(|peer| self.peers.get_mut(&peer)) {
                    known.rejected += 1;
                }
                &mut self.counters.rejected
            }
            _ => &mut self.counters.ignored,
        };
        let count = rules.entry(reason.name()).or_default();
        *count += 1;
        // One liar among honest peers needs no report. While no block has been accepted, the
        // configured signer is the likely cause. A page that can read it does so.
        let all_by_another = matches!(reason, Reason::WrongSigner | Reason::SignerInDoubt)
            && !self.reads_signer
            && *count == 1
            && self.counters.accepted == 0;
        let name = from.map(|peer| peer.to_string()).unwrap_or_default();
        self.tell(&Told::Rejected(RejectedJs::new(reason, name, verdict.topic, at)));
        if all_by_another {
            let signer = self.core.lock().signers().current.unwrap_or_default();
            let message = format!(
                "no block was signed by {signer} so far, and the first one was signed by somebody \
                 else: check the network and `signer`, unless it is this one peer that lies"
            );
            self.tell(&Told::Error(Refusal { code: Code::WrongSigner, message }));
        }
    }

    /// Hands the chain's next block on to the page.
    pub(super) fn hand_on(&mut self, block: &Block) {
        self.lead_reads(block);
        let clock = &self.core.clock;
        let arrival = self.arrivals.hand_on(block.hash(), || unknown(block, clock.unix_millis()));
        self.counters.blocks += 1;
        let told = Told::Block(Box::new(BlockJs::new(block, arrival)));
        (self.tell)(&told, Some(payload(block)));
    }

    /// Answers the page's question for a block with its report and its payload; with nothing if the
    /// core does not hold it, or does not know it to be on the chain.
    pub(super) fn answer(&self, wanted: Wanted, answer: oneshot::Sender<Option<Found>>) {
        let core = self.core.lock();
        let view = core.view();
        let block = match wanted {
            Wanted::Hash(hash) => view.get(&hash),
            Wanted::Number(number) => view.canonical(number).or_else(|| {
                let head = view.highest().filter(|head| head.number == number)?;
                view.get(&head.hash)
            }),
        };
        let found = block.map(|block| {
            let arrival = self.arrivals.get(&block.hash()).cloned();
            let arrival = arrival.unwrap_or_else(|| unknown(block, self.core.clock.unix_millis()));
            let told = Told::Block(Box::new(BlockJs::new(block, arrival)));
            Found { told, payload: payload(block).to_vec() }
        });
        // The page may be gone.
        let _ = answer.send(found);
    }

    /// Reports the newest block that was verified, if it is another one now. It may be above a gap.
    pub(super) fn follow_head(&mut self) {
        let (id, head, newest) = {
            let core = self.core.lock();
            let view = core.view();
            let Some(id) = view.highest() else { return };
            if self.head.as_ref().is_some_and(|(known, _)| *known == id) {
                return;
            }
            // A block that is only known by its id is not verified.
            let Some(block) = view.get(&id.hash) else { return };
            let arrival = self.arrivals.get(&id.hash).map(|arrival| arrival.received_at);
            let head = HeadJs {
                id: id.into(),
                timestamp: block.timestamp(),
                timestamp_ms: block.timestamp_ms(),
                received_at: arrival.unwrap_or_else(|| self.core.clock.unix_millis()),
            };
            (id, head, self.reads.is_some().then(|| block.clone()))
        };
        if let Some(block) = newest {
            self.jump_reads(&block);
        }
        self.tell(&Told::Head(head.clone()));
        self.head = Some((id, head));
        self.status_changed = true;
    }
}

/// Returns the bytes of the payload, without the parent beacon block root.
fn payload(block: &Block) -> &[u8] {
    let root = if block.parent_beacon_block_root().is_some() { 32 } else { 0 };
    &block.body()[root..]
}

/// Returns the arrival of a block whose sender is no longer known.
fn unknown(block: &Block, received_at: f64) -> Arrival {
    Arrival { is_gossip: block.signature().is_some(), peer: None, received_at, validation: None }
}
