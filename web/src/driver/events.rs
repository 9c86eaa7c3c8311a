//! Events of the core, and the reports about them and the node's state to the page.

use super::Driver;
use super::timing::STATUS_INTERVAL;
use crate::options::{Code, Refusal};
use crate::tell::{self, Arrival, GapJs, SignerJs, StatusJs, Told};
use crate::trouble::TroubleJs;
use alloy_primitives::Address;
use opp2p_core::chain::ChainEvent;
use opp2p_core::node::{Event, Input};
use opp2p_core::sync::SyncEvent;
use opp2p_core::trouble::TroubleKind;
use opp2p_wire::to_libp2p;
use std::time::Duration;
use web_time::Instant;

/// Maximum age of the signer that a page reads: the node that tells it reads L1 at least once a
/// minute while blocks of an unknown signer arrive, some confirmations deep.
const SIGNER_AGE: Duration = Duration::from_secs(120);

impl Driver {
    /// Handles an event of the core.
    pub(super) fn on_core(&mut self, event: Event) {
        self.status_changed = true;
        match event {
            Event::Chain(ChainEvent::Extended(block)) => self.hand_on(&block),
            Event::Chain(event) => {
                if matches!(event, ChainEvent::Reorg { .. }) {
                    self.turn_reads(&event);
                }
                // What is known of a gap now is newer than its progress.
                self.progress = None;
                if let Some(told) = tell::chain_event(&event) {
                    self.tell(&told);
                }
            }
            Event::Sync(SyncEvent::Refused { gap, error }) => {
                self.tell(&Told::Gap(GapJs::refused(gap, error)));
            }
            Event::Sync(SyncEvent::Found { gap, lowest, missing }) => {
                let after = self.core.lock().view().head();
                self.progress = Some(GapJs::filling(gap, after, lowest, missing));
            }
            Event::Sync(SyncEvent::Answered(answered)) => {
                if let Ok(block) = answered.result {
                    self.counters.fetched += 1;
                    let peer = answered.source.peer().as_ref().and_then(to_libp2p);
                    let peer = peer.map(|peer| peer.to_string());
                    let received_at = self.core.clock.unix_millis();
                    let arrival = Arrival { is_gossip: false, peer, received_at, validation: None };
                    self.arrivals.insert(block.hash, arrival);
                }
            }
            Event::Peers(event) => self.on_peers(event),
            Event::TroubleBegan(entry) => {
                let told = TroubleJs::new(&entry);
                if entry.trouble.kind() == TroubleKind::NoBlocks
                    && self.wire.connected_peers().next().is_some()
                {
                    let message = format!("{}: {}", told.text, told.remedy);
                    self.tell(&Told::Error(Refusal { code: Code::NoBlocks, message }));
                }
                self.tell(&Told::Trouble(told));
            }
            Event::TroubleEnded(entry) => self.tell(&Told::TroubleEnded(TroubleJs::new(&entry))),
            Event::SignerChanged { current, previous } => {
                self.tell(&Told::Signer(SignerJs::new(current, previous)));
            }
            // The trouble list has the forks and the schedule.
            Event::ScheduleInDoubt(_)
            | Event::ScheduleDoubtEnded(_)
            | Event::UnknownFork(_)
            | Event::Sync(_)
            | Event::Commanded { .. }
            | Event::Configured { .. }
            | Event::Published { .. } => {}
        }
    }

    /// Passes the signer that the page read on to the core.
    pub(super) fn signer_read(&mut self, signer: Option<Address>) {
        let signer = signer.or(self.own_signer).filter(|signer| !signer.is_zero());
        // The page does not know it either. It is asked again.
        let Some(signer) = signer else { return };
        self.signer_due = None;
        let as_of = self.core.clock.now().unix_seconds().saturating_sub(SIGNER_AGE.as_secs());
        self.feed(Input::SignerRead { signer: Some(signer), as_of });
    }

    /// Reports the status to the page.
    pub(super) fn send_status(&mut self) {
        let now = Instant::now();
        (self.status_told, self.status_due, self.status_changed) =
            (now, now + STATUS_INTERVAL, false);
        (self.counters.bytes_in, self.counters.bytes_out) = self.bandwidth.totals();
        if let Some(progress) = self.progress.take() {
            self.tell(&Told::Gap(progress));
        }
        let (linked, highest, mut troubles) = {
            let core = self.core.lock();
            let entries = core.troubles(self.core.clock.now());
            let troubles: Vec<_> = entries.map(|entry| TroubleJs::new(&entry)).collect();
            let view = core.view();
            (view.head().map(Into::into), view.highest().map(Into::into), troubles)
        };
        troubles.extend(self.endpoints.trouble());
        let status = StatusJs {
            head: self.head.as_ref().map(|(_, head)| head.clone()),
            linked,
            highest,
            peers: self.peers.iter().map(|(id, known)| self.peer(id, known)).collect(),
            troubles,
            counters: self.counters.clone(),
        };
        self.tell(&Told::Status(status));
    }
}
