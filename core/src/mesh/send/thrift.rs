//! Delays large messages to a peer that usually has them from other peers first.
//!
//! A peer sends IDONTWANT for a message that it has to its whole mesh. Most implementations leave
//! out the sender of the message, so each redundant copy is followed by an IDONTWANT, or by a copy
//! from the peer. If recent copies were redundant, the next ones are held back for the time that
//! the peer usually takes to announce a message, and most of them are never sent. The links that
//! deliver first form a tree that carries each message about once. The other links are its reserve:
//! they deliver without delay again once their copies are needed. Our own messages are not held
//! back here.
//!
//! # Echoes
//! go-libp2p-pubsub up to 0.13 sends IDONTWANT to the sender too, so it says nothing about our
//! copy. Such a peer stays silent while a copy is held back, and answers the copy. After [`ECHOES`]
//! such answers more than held-back copies that were spared, nothing is held back for the peer.
//! A peer that speaks our extension acknowledges the copy that it needed, and only that, so its
//! IDONTWANT is no echo.
//!
//! # Notices
//! A peer that speaks our extension says when it is receiving a message: see
//! [`notices`](super::notices). A copy that was held back for that shows nothing about the usual
//! order of things: if it is spared, it counts neither as needed nor as redundant, and it shows no
//! echo. Its lag does not count either, because it includes the time for which others held their
//! copies back: longer lags would lead to longer holds, and those to longer lags. If it is sent
//! after all, it counts as redundant once the peer says that it has the message, and as needed if
//! the peer does not say so.
//!
//! Notices don't replace this module. One travels from a sender to the peer and from there to us,
//! and until then our copy may be on its way. If that is usually so, a copy has to wait before
//! there is a notice.
//!
//! # Bounds
//! [`TRACKED`] copies per peer. A copy is held back for at most [`MAX_HOLD`].

use crate::mesh::Id;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Maximum number of copies to one peer that are tracked.
pub const TRACKED: usize = 32;
/// Maximum time for which a copy is held back.
pub const MAX_HOLD: Duration = Duration::from_secs(1);
/// Number of answers to held-back copies, beyond the spared ones, that show an echo.
pub const ECHOES: u8 = 3;
/// Time added to the usual lag before a held-back copy is sent.
const SLACK: Duration = Duration::from_millis(20);
/// Time without an IDONTWANT or a copy from the peer, after which our copy counts as needed.
const SURE: Duration = Duration::from_secs(3);
/// Lower bounds of the length classes, in bytes. Longer messages take longer to arrive.
const CLASSES: [usize; 3] = [128 << 10, 512 << 10, 2 << 20];
/// Value of [`Thrift::needed`] if the peer needed all recent copies.
const ALL: u16 = 256;
/// Value of [`Thrift::needed`] below which copies are held back.
const FEW: u16 = ALL / 2;

/// A copy that is queued or sent.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    id: Id,
    since: Instant,
    class: usize,
    is_held: bool,
    is_sent: bool,
    /// Whether the peer said that it was receiving the message.
    is_noticed: bool,
}

/// Returns the length class of a message.
fn class_of(length: usize) -> usize {
    CLASSES.iter().filter(|from| length >= **from).count()
}

#[derive(Clone, Debug)]
pub(in crate::mesh) struct Thrift {
    /// Share of the recent copies that the peer needed, in 256ths. Newer copies count more.
    needed: u16,
    /// Smoothed time from queuing a copy until the peer announces the message, by length class.
    lags: [Option<Duration>; CLASSES.len() + 1],
    /// Oldest first.
    copies: VecDeque<Tracked>,
    /// Number of held-back copies that the peer answered by IDONTWANT after they were sent, less
    /// the number of those that were spared.
    echoes: u8,
}

impl Default for Thrift {
    fn default() -> Self {
        Self { needed: ALL, lags: Default::default(), copies: VecDeque::new(), echoes: 0 }
    }
}

impl Thrift {
    /// Records a queued copy, and returns the time for which to hold it back.
    pub(in crate::mesh) fn queued(&mut self, now: Instant, id: Id, length: usize) -> Duration {
        if self.copies.len() == TRACKED
            && self.copies.pop_front().is_some_and(|oldest| oldest.is_sent)
        {
            self.count_needed();
        }
        let hold = match self.usual(length) {
            Some(hold) if self.needed < FEW && self.echoes < ECHOES => hold,
            _ => Duration::ZERO,
        };
        let is_held = !hold.is_zero();
        let (class, is_sent, is_noticed) = (class_of(length), false, false);
        self.copies.push_back(Tracked { id, since: now, class, is_held, is_sent, is_noticed });
        hold
    }

    /// Returns the time within which the peer usually announces a message of this length.
    pub(in crate::mesh) fn usual(&self, length: usize) -> Option<Duration> {
        self.lags[class_of(length)].map(|lag| (lag * 3 / 2 + SLACK).min(MAX_HOLD))
    }

    /// Records that a copy is held back because the peer is receiving the message.
    pub(in crate::mesh) fn noticed(&mut self, id: &Id) {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.id == *id) {
            copy.is_noticed = true;
        }
    }

    /// Counts a copy that the peer did not announce in time.
    fn count_needed(&mut self) {
        self.needed = u16::midpoint(self.needed, ALL);
    }

    /// Counts a copy of a message that the peer had from others.
    const fn count_redundant(&mut self) {
        self.needed = self.needed * 5 / 8;
    }

    /// Records that a copy was handed to the connection.
    pub(in crate::mesh) fn sent(&mut self, id: &Id) {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.id == *id) {
            copy.is_sent = true;
        }
    }

    /// Records that the peer acknowledged our copy: it had no other.
    pub(in crate::mesh) fn received(&mut self, id: &Id) {
        match self.take(id) {
            // It waited for us in vain.
            Some(copy) if copy.is_held => self.needed = ALL,
            Some(_) => self.count_needed(),
            None => {}
        }
    }

    fn take(&mut self, id: &Id) -> Option<Tracked> {
        let at = self.copies.iter().position(|copy| copy.id == *id)?;
        self.copies.remove(at)
    }

    /// Records that the peer sent IDONTWANT for a message, or the message itself. `answers`: it
    /// would have acknowledged our copy if that had been the first.
    pub(in crate::mesh) fn has(&mut self, now: Instant, id: &Id, answers: bool) {
        let Some(copy) = self.take(id) else { return };
        if copy.is_noticed {
            if copy.is_sent {
                self.count_redundant();
            }
            return;
        }
        match (copy.is_held, copy.is_sent) {
            (true, true) if !answers => {
                // The peer had time to say so before, so our copy was the first.
                self.echoes = self.echoes.saturating_add(1).min(ECHOES);
                self.needed = ALL;
                return;
            }
            (true, false) => self.echoes = self.echoes.saturating_sub(1),
            (true, true) | (false, _) => {}
        }
        let lag = now.since(copy.since).min(MAX_HOLD);
        let known = &mut self.lags[copy.class];
        *known = Some(known.map_or(lag, |known| (known * 3 + lag) / 4));
        if copy.is_sent {
            self.count_redundant();
        }
    }

    /// Counts the sent copies of at least [`SURE`] ago as needed, and forgets all of that age.
    pub(in crate::mesh) fn settle(&mut self, now: Instant) {
        while let Some(copy) = self.copies.front().filter(|copy| now.since(copy.since) >= SURE) {
            if copy.is_sent {
                self.count_needed();
            }
            self.copies.pop_front();
        }
    }
}
