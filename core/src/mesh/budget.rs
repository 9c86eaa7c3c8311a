//! Budget of a peer: token buckets, and a count of its overdrafts.
//!
//! A peer that overdraws is served as far as its tokens reach, and the rest is skipped. An
//! overdraft alone is not an offence: an interruption of our own reception may cause a burst. No
//! implementation demands several further bursts within [`WINDOW`]. Each of these then costs a
//! point of P7, and [`LAST_STRIKE`] of them end the connection.
//!
//! # Bounds
//! Six numbers and a window for each peer.

use super::config::{Allowance, Allowances};
use crate::time::Instant;
use std::time::Duration;

/// Time over which overdrafts are added up.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Number of further bursts within [`WINDOW`] that cost nothing.
pub const FREE_BURSTS: u32 = 4;
/// Number of further bursts after which the peer is banned.
pub const LAST_STRIKE: u32 = 10;

/// A good that a peer pays for with tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Good {
    /// Bytes of frames that are not message data.
    ControlBytes,
    /// Entries of control messages and subscriptions.
    ControlEntries,
    /// Bytes to decompress and hash.
    NamingBytes,
    /// New messages.
    Messages,
    /// Copies of known messages.
    Copies,
    /// Bytes of answers to IWANT.
    ServedBytes,
}

const GOODS: usize = 6;

/// The result of demanding a good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// Within the budget.
    Paid,
    /// Beyond the budget: skip it.
    Skipped,
    /// As `Skipped`, and one more burst beyond the free ones.
    Strike,
    /// As `Strike`, for the last time.
    Out,
}

#[derive(Clone, Debug)]
pub(super) struct Budget {
    buckets: [Bucket; GOODS],
    window: Instant,
    /// Sum of the overdrafts within the window, in 1024ths of a burst.
    excess: u64,
    strikes: u32,
}

/// Tokens in 1024ths, so that a slow rate loses nothing to rounding.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    allowance: Allowance,
    tokens: u64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let full = self.allowance.burst.saturating_mul(1024);
        let micros = now.since(self.at).as_micros();
        let gained =
            u128::from(self.allowance.per_second).saturating_mul(micros).saturating_mul(1024)
                / 1_000_000;
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(full);
            self.at = now;
        }
    }

    fn take(&mut self, now: Instant, amount: u64) -> bool {
        self.refill(now);
        let Some(left) = self.tokens.checked_sub(amount.saturating_mul(1024)) else { return false };
        self.tokens = left;
        true
    }
}

impl Budget {
    pub(super) fn new(now: Instant, allowances: &Allowances) -> Self {
        let Allowances {
            control_bytes,
            control_entries,
            naming_bytes,
            messages,
            copies,
            served_bytes,
        } = *allowances;
        let all = [control_bytes, control_entries, naming_bytes, messages, copies, served_bytes];
        let buckets = all.map(|allowance| Bucket {
            allowance,
            tokens: allowance.burst.saturating_mul(1024),
            at: now,
        });
        Self { buckets, window: now, excess: 0, strikes: 0 }
    }

    /// Charges `amount` of a good.
    pub(super) fn charge(&mut self, now: Instant, good: Good, amount: usize) -> Charge {
        let amount = amount as u64;
        let bucket = &mut self.buckets[good as usize];
        if bucket.take(now, amount) {
            return Charge::Paid;
        }
        let burst = bucket.allowance.burst.max(1);
        // A single demand counts as one burst at most: a large block is not an attack.
        self.overdraw(now, (amount.saturating_mul(1024) / burst).clamp(1, 1024))
    }

    fn overdraw(&mut self, now: Instant, part: u64) -> Charge {
        if now.since(self.window) >= WINDOW {
            (self.window, self.excess, self.strikes) = (now, 0, 0);
        }
        self.excess += part;
        let strikes =
            u32::try_from(self.excess / 1024).unwrap_or(u32::MAX).saturating_sub(FREE_BURSTS);
        if strikes <= self.strikes {
            return Charge::Skipped;
        }
        self.strikes = strikes;
        if strikes >= LAST_STRIKE { Charge::Out } else { Charge::Strike }
    }
}
