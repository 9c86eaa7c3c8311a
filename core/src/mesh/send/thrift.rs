//! Whether a peer needs our copies of large messages, or has them from others before.
//!
//! A peer says IDONTWANT for a message that it has, to its whole mesh except the peer that sent it.
//! So an IDONTWANT, or a copy in return, follows each copy that was not needed. If the last copies
//! were not needed, the next ones are held back for the time within which the peer usually says
//! that it has them. Then most of them are never sent. The links that deliver first form a tree
//! that carries each message about once, and the other links are its reserve: a copy that turns out
//! to be needed makes its link eager again.
//!
//! # Bounds
//! [`TRACKED`] messages for each peer. A copy is held back for at most [`MAX_HOLD`].

use crate::mesh::Id;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of copies to one peer that are tracked.
pub const TRACKED: usize = 8;
/// Maximum time for which a copy is held back.
pub const MAX_HOLD: Duration = Duration::from_secs(1);
/// Time added to the usual one before a copy that was held back is sent.
const SLACK: Duration = Duration::from_millis(20);
/// Time after which a copy that the peer has not called unwanted was needed.
const SURE: Duration = Duration::from_secs(3);
/// Lengths in bytes that divide messages into classes: a longer one takes longer to arrive.
const CLASSES: [usize; 3] = [128 << 10, 512 << 10, 2 << 20];
/// All of the last copies were needed.
const ALL: u16 = 256;
/// Share of needed copies below which copies are held back.
const FEW: u16 = ALL / 2;

/// A copy that is queued, or was sent.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    id: Id,
    since: Instant,
    class: usize,
    is_sent: bool,
}

#[derive(Clone, Debug)]
pub(in crate::mesh) struct Thrift {
    /// Share of the last copies that the peer needed, in 256ths.
    needed: u16,
    /// Smoothed time from our having a message until the peer says that it has it, for each class
    /// of lengths.
    lags: [Option<Duration>; CLASSES.len() + 1],
    /// Oldest first.
    copies: VecDeque<Tracked>,
}

impl Default for Thrift {
    fn default() -> Self {
        Self { needed: ALL, lags: Default::default(), copies: VecDeque::new() }
    }
}

impl Thrift {
    /// Notes a copy that is queued, and returns the time for which to hold it back.
    pub(in crate::mesh) fn queued(&mut self, now: Instant, id: Id, length: usize) -> Duration {
        if self.copies.len() == TRACKED {
            self.copies.pop_front();
        }
        let class = CLASSES.iter().filter(|from| length >= **from).count();
        self.copies.push_back(Tracked { id, since: now, class, is_sent: false });
        match self.lags[class] {
            Some(lag) if self.needed < FEW => (lag * 3 / 2 + SLACK).min(MAX_HOLD),
            _ => Duration::ZERO,
        }
    }

    /// Notes that a copy was sent.
    pub(in crate::mesh) fn sent(&mut self, id: &Id) {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.id == *id) {
            copy.is_sent = true;
        }
    }

    /// Notes that the peer says that it has a message, or sends it to us.
    pub(in crate::mesh) fn has(&mut self, now: Instant, id: &Id) {
        let Some(at) = self.copies.iter().position(|copy| copy.id == *id) else { return };
        let Some(copy) = self.copies.remove(at) else { return };
        let lag = now.since(copy.since);
        let known = &mut self.lags[copy.class];
        *known = Some(known.map_or(lag, |known| (known * 3 + lag) / 4));
        if copy.is_sent {
            self.needed = self.needed * 5 / 8;
        }
    }

    /// Notes which copies were needed by now.
    pub(in crate::mesh) fn settle(&mut self, now: Instant) {
        while let Some(copy) = self.copies.front().filter(|copy| now.since(copy.since) >= SURE) {
            if copy.is_sent {
                self.needed = u16::midpoint(self.needed, ALL);
            }
            self.copies.pop_front();
        }
    }
}
