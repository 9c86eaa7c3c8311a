//! The list itself: which troubles are raised, with hysteresis.
//!
//! # Bounds
//! One entry for each [`TroubleKind`], and the changes since the last [`TroubleList::poll`]: at
//! most two for each call of [`TroubleList::raise`] or [`TroubleList::clear`].

use super::{Trouble, TroubleEntry, TroubleKind};
use crate::time::{Instant, Now};
use std::collections::VecDeque;

/// A change of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TroubleChange {
    /// A trouble was raised.
    Began(TroubleEntry),
    /// A trouble was cleared: its last state.
    Ended(TroubleEntry),
}

/// The causes of one kind.
#[derive(Clone, Debug)]
struct Slot {
    entry: TroubleEntry,
    /// Time of the first sign.
    began: Instant,
    /// Time since which the cause is gone, or `None` while it lasts.
    gone: Option<Instant>,
    is_raised: bool,
}

impl Slot {
    /// Records that the cause is there at this time. Times do not run backwards within an entry,
    /// even if the wall clock does.
    fn seen(&mut self, now: Now) {
        self.entry.last = now.unix_seconds().max(self.entry.since);
    }

    /// Returns the entry as of now: a cause that lasts is there now.
    fn as_of(&self, now: Now) -> TroubleEntry {
        let mut slot = self.clone();
        if slot.gone.is_none() {
            slot.seen(now);
        }
        slot.entry
    }

    /// Returns the time at which the entry is raised or cleared if nothing happens before.
    fn due(&self, kind: TroubleKind) -> Option<Instant> {
        match (self.is_raised, self.gone) {
            (false, _) => Some(self.began + kind.raise_after()),
            (true, gone) => gone.map(|gone| gone + kind.clear_after()),
        }
    }
}

/// The troubles of a node: see the [module's documentation](super).
///
/// The caller states for each kind whether its cause is there, as often as it likes: with
/// [`raise`](Self::raise) while it lasts, and with [`clear`](Self::clear) when it is gone. Then it
/// drains [`poll`](Self::poll), and again at [`next_wakeup`](Self::next_wakeup).
#[derive(Clone, Debug)]
pub struct TroubleList {
    slots: [Option<Slot>; TroubleKind::ALL.len()],
    changes: VecDeque<TroubleChange>,
}

impl Default for TroubleList {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| None), changes: VecDeque::new() }
    }
}

impl TroubleList {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a sign of a trouble: its cause lasts until [`clear`](Self::clear).
    pub fn raise(&mut self, now: Now, trouble: Trouble) {
        let kind = trouble.kind();
        if self.get(kind).is_some() {
            self.advance(now, kind);
        }
        match &mut self.slots[kind.index()] {
            Some(slot) => {
                slot.entry.trouble = trouble;
                slot.seen(now);
                slot.gone = None;
            }
            empty => {
                let since = now.unix_seconds();
                let entry = TroubleEntry { trouble, since, last: since };
                let began = now.monotonic;
                *empty = Some(Slot { entry, began, gone: None, is_raised: false });
            }
        }
        self.advance(now, kind);
    }

    /// Records that the cause of a trouble is gone, or was never there.
    pub fn clear(&mut self, now: Now, kind: TroubleKind) {
        if let Some(slot) = self.slots[kind.index()].as_mut().filter(|slot| slot.gone.is_none()) {
            // It lasted until now.
            slot.seen(now);
        }
        self.advance(now, kind);
        let slot = &mut self.slots[kind.index()];
        match slot {
            Some(Slot { is_raised: true, gone, .. }) if gone.is_none() => {
                *gone = Some(now.monotonic);
            }
            Some(Slot { is_raised: true, .. }) => {}
            _ => *slot = None,
        }
        self.advance(now, kind);
    }

    /// Records a sign of a trouble that has no end of its own, such as a panic: the cause is gone
    /// at once, so that the entry stays for [`clear_after`](TroubleKind::clear_after).
    pub fn pulse(&mut self, now: Now, trouble: Trouble) {
        let kind = trouble.kind();
        self.raise(now, trouble);
        self.clear(now, kind);
    }

    /// Returns the next change, oldest first.
    pub fn poll(&mut self, now: Now) -> Option<TroubleChange> {
        for kind in TroubleKind::ALL {
            self.advance(now, *kind);
        }
        self.changes.pop_front()
    }

    /// Returns the time of the next [`Self::poll`] if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Instant> {
        TroubleKind::ALL
            .iter()
            .filter_map(|kind| self.slots[kind.index()].as_ref()?.due(*kind))
            .min()
    }

    /// Returns the raised entries as of now, in the order of [`TroubleKind::ALL`].
    pub fn entries(&self, now: Now) -> impl Iterator<Item = TroubleEntry> {
        self.raised().map(move |slot| slot.as_of(now))
    }

    /// Returns the raised troubles, in the order of [`TroubleKind::ALL`].
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.raised().map(|slot| &slot.entry.trouble)
    }

    /// Returns the trouble of this kind, if it is raised.
    pub fn get(&self, kind: TroubleKind) -> Option<&Trouble> {
        let slot = self.slots[kind.index()].as_ref().filter(|slot| slot.is_raised);
        slot.map(|slot| &slot.entry.trouble)
    }

    fn raised(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten().filter(|slot| slot.is_raised)
    }

    /// Raises or clears the entry if its time has come.
    fn advance(&mut self, now: Now, kind: TroubleKind) {
        let place = &mut self.slots[kind.index()];
        let Some(slot) =
            place.as_mut().filter(|slot| slot.due(kind).is_some_and(|due| due <= now.monotonic))
        else {
            return;
        };
        if slot.is_raised {
            let ended = place.take().map(|slot| TroubleChange::Ended(slot.entry));
            self.changes.extend(ended);
        } else {
            slot.is_raised = true;
            self.changes.push_back(TroubleChange::Began(slot.as_of(now)));
        }
    }
}

#[cfg(test)]
mod tests;
