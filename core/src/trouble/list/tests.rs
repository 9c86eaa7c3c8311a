//! Tests of the list alone.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const START: u64 = 1_700_000_000;

fn at(millis: u64) -> Now {
    let elapsed = Duration::from_millis(millis);
    Now::new(elapsed, Duration::from_secs(START) + elapsed)
}

fn changes(list: &mut TroubleList, now: Now) -> Vec<TroubleChange> {
    std::iter::from_fn(|| list.poll(now)).collect()
}

fn entries(list: &TroubleList, now: Now) -> Vec<TroubleEntry> {
    list.entries(now).collect()
}

fn entry(trouble: Trouble, since: u64, last: u64) -> TroubleEntry {
    TroubleEntry { trouble, since: START + since, last: START + last }
}

#[test]
fn a_cause_must_last_before_it_is_a_trouble() {
    let mut list = TroubleList::new();
    list.raise(at(0), Trouble::NoPeers);
    assert_eq!(list.next_wakeup(), Some(at(30_000).monotonic));
    assert_eq!(changes(&mut list, at(29_999)), []);
    list.clear(at(29_999), TroubleKind::NoPeers);
    assert_eq!(list.next_wakeup(), None);
    list.raise(at(40_000), Trouble::NoPeers);
    assert_eq!(changes(&mut list, at(69_999)), []);
    let began = entry(Trouble::NoPeers, 40, 70);
    assert_eq!(changes(&mut list, at(70_000)), [TroubleChange::Began(began.clone())]);
    assert_eq!(entries(&list, at(70_000)), [began]);
    assert_eq!(list.next_wakeup(), None);
}

#[test]
fn an_intermittent_cause_makes_one_entry() {
    let mut list = TroubleList::new();
    let full = |text: &str| Trouble::Store(text.to_owned());
    list.raise(at(0), full("one"));
    assert_eq!(changes(&mut list, at(0)), [TroubleChange::Began(entry(full("one"), 0, 0))]);
    for second in [1_000, 3_000, 5_000] {
        list.clear(at(second), TroubleKind::Store);
        list.raise(at(second + 1_000), full("two"));
    }
    assert_eq!(changes(&mut list, at(8_000)), []);
    assert_eq!(entries(&list, at(8_000)), [entry(full("two"), 0, 8)]);
    list.clear(at(8_000), TroubleKind::Store);
    list.clear(at(10_000), TroubleKind::Store);
    assert_eq!(list.next_wakeup(), Some(at(13_000).monotonic), "since the first time");
    assert_eq!(changes(&mut list, at(13_000)), [TroubleChange::Ended(entry(full("two"), 0, 8))]);
    assert_eq!(entries(&list, at(13_000)), []);
}

#[test]
fn the_last_time_of_an_ongoing_cause_is_the_time_of_the_query() {
    let mut list = TroubleList::new();
    let full = || Trouble::Store("full".to_owned());
    // It is told once, since it does not change.
    list.raise(at(0), full());
    changes(&mut list, at(0));
    for second in [1, 60, 3600] {
        assert_eq!(entries(&list, at(second * 1000)), [entry(full(), 0, second)]);
    }
    list.clear(at(3_601_000), TroubleKind::Store);
    assert_eq!(entries(&list, at(3_604_000)), [entry(full(), 0, 3601)], "the cause is gone");
    let ended = entry(full(), 0, 3601);
    assert_eq!(changes(&mut list, at(3_606_000)), [TroubleChange::Ended(ended)]);
}

#[test]
fn a_clock_set_back_never_ends_an_entry_before_it_began() {
    let mut list = TroubleList::new();
    list.raise(at(0), Trouble::Clock { ahead_ms: 3_600_000 });
    let back = |seconds| Now::new(Duration::from_secs(seconds), Duration::from_secs(START - 3600));
    let shown = entry(Trouble::Clock { ahead_ms: 3_600_000 }, 0, 0);
    assert_eq!(entries(&list, back(1)), std::slice::from_ref(&shown));
    list.clear(back(2), TroubleKind::Clock);
    let began_and_ended = [TroubleChange::Began(shown.clone()), TroubleChange::Ended(shown)];
    assert_eq!(changes(&mut list, back(12)), began_and_ended);
}

#[test]
fn a_pulse_lasts_as_long_as_its_kind_says() {
    let mut list = TroubleList::new();
    list.pulse(at(0), Trouble::Panicked(1));
    assert_eq!(changes(&mut list, at(0)).len(), 1);
    list.pulse(at(300_000), Trouble::Panicked(2));
    assert_eq!(changes(&mut list, at(899_999)), []);
    let ended = entry(Trouble::Panicked(2), 0, 300);
    assert_eq!(changes(&mut list, at(900_000)), [TroubleChange::Ended(ended)]);
}

#[test]
fn entries_are_ordered_by_kind() {
    let mut list = TroubleList::new();
    list.raise(at(0), Trouble::Panicked(1));
    list.raise(at(0), Trouble::Store(String::new()));
    list.raise(at(0), Trouble::SignerUnknown);
    let kinds: Vec<_> = list.troubles().map(Trouble::kind).collect();
    assert_eq!(kinds, [TroubleKind::Store, TroubleKind::Panicked]);
    changes(&mut list, at(5_000));
    assert_eq!(list.troubles().next(), Some(&Trouble::SignerUnknown));
}

/// Returns a trouble of some kinds with different times.
fn some_trouble(which: u8) -> Trouble {
    match which % 4 {
        0 => Trouble::NoPeers,
        1 => Trouble::Store("full".to_owned()),
        2 => Trouble::SignerUnknown,
        _ => Trouble::Feed("away".to_owned()),
    }
}

proptest! {
    #[test]
    fn changes_alternate_match_the_entries_and_respect_the_delays(
        steps in prop::collection::vec((any::<u8>(), any::<bool>(), 0_u64..20_000), 0..200),
    ) {
        let mut list = TroubleList::new();
        let mut now = 0;
        let mut known: Vec<Option<TroubleEntry>> = vec![None; TroubleKind::ALL.len()];
        // Since when the cause is there, or is gone.
        let mut there: Vec<Option<u64>> = vec![None; TroubleKind::ALL.len()];
        let mut gone: Vec<u64> = vec![0; TroubleKind::ALL.len()];
        for (which, raises, wait) in steps {
            // The caller wakes the list when it asks for it.
            let until = now + wait;
            while let Some(due) = list.next_wakeup().filter(|due| *due <= at(until).monotonic) {
                now = due.since_start().as_millis() as u64;
                for change in changes(&mut list, at(now)) {
                    let (entry, began) = match change {
                        TroubleChange::Began(entry) => (entry, true),
                        TroubleChange::Ended(entry) => (entry, false),
                    };
                    let kind = entry.trouble.kind();
                    let slot = &mut known[kind.index()];
                    prop_assert_eq!(slot.is_some(), !began, "changes alternate");
                    if began {
                        let since = there[kind.index()].expect("a cause");
                        prop_assert_eq!(now, since + kind.raise_after().as_millis() as u64);
                        *slot = Some(entry);
                    } else {
                        prop_assert!(there[kind.index()].is_none(), "the cause is gone");
                        let clear = kind.clear_after().as_millis() as u64;
                        prop_assert_eq!(now, gone[kind.index()] + clear);
                        *slot = None;
                    }
                }
            }
            now = until;
            let trouble = some_trouble(which);
            let kind = trouble.kind();
            if raises {
                there[kind.index()].get_or_insert(now);
                list.raise(at(now), trouble);
            } else {
                if there[kind.index()].take().is_some() {
                    gone[kind.index()] = now;
                }
                list.clear(at(now), kind);
            }
            for change in changes(&mut list, at(now)) {
                match change {
                    TroubleChange::Began(entry) => {
                        let kind = entry.trouble.kind();
                        prop_assert!(known[kind.index()].is_none());
                        prop_assert_eq!(kind.raise_after(), Duration::ZERO);
                        known[kind.index()] = Some(entry);
                    }
                    TroubleChange::Ended(entry) => {
                        let kind = entry.trouble.kind();
                        prop_assert_eq!(kind.clear_after(), Duration::ZERO);
                        known[kind.index()] = None;
                    }
                }
            }
            let shown: Vec<_> = list.troubles().map(Trouble::kind).collect();
            let folded: Vec<_> =
                known.iter().flatten().map(|entry| entry.trouble.kind()).collect();
            prop_assert_eq!(shown, folded);
        }
    }
}
