//! Handling of panics, which should not happen: they are contained where they occur, counted by
//! place, logged, and reported in the node's trouble list.
//!
//! The effect of a panic depends on its place:
//!
//! * A validation, an answer to a peer, a write to the store, an RPC call or a connection fails;
//!   the node continues.
//! * A part that can't be restarted alone, see [`guard`], is missing from then on. The trouble list
//!   and a metric report it until the operator restarts the node.
//! * A part that restarts itself, see [`lose`], is reported until it is back.
//! * A panic of the task that drives the node ends the process with a message and an exit code
//!   other than 0, so that its supervisor restarts it.
//!
//! # Bounds
//! Counters for a fixed list of places, and the names of lost parts, all of which are constants of
//! this program.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use futures::FutureExt;

use crate::measure::{Exposition, Kind};

/// Target of log lines about panics.
const TARGET: &str = "opp2p::panics";

/// Places where panics occur, derived from the name of the thread.
const PLACES: [&str; 6] = ["validation", "serving", "store", "task", "main", "other"];

/// Number of panics at each place. Global because the process has one panic hook.
static COUNTS: [AtomicU64; PLACES.len()] = [const { AtomicU64::new(0) }; PLACES.len()];

/// Parts that have ended, by a panic or because a part that they depend on has ended. The flag is
/// `true` for a part that restarts itself.
static LOST: Mutex<Vec<(&str, bool)>> = Mutex::new(Vec::new());

/// Returns the index of the place of a thread with this name.
fn place(thread: Option<&str>) -> usize {
    let name = thread.unwrap_or_default();
    match name {
        _ if name.starts_with("validate-") => 0,
        _ if name.starts_with("serve-") => 1,
        "block-store" => 2,
        _ if name.starts_with("tokio-") => 3,
        "main" => 4,
        _ => 5,
    }
}

/// Installs the panic hook of this process, which counts each panic and logs it with its place in
/// one line, instead of the output of the standard library. Further calls have no effect.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(on_panic)));
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let index = place(thread.name());
    COUNTS[index].fetch_add(1, Ordering::Relaxed);
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let text = info.payload().downcast_ref::<&str>().copied();
    let what = text
        .or_else(|| info.payload().downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let (place, thread) = (PLACES[index], thread.name().unwrap_or("none"));
    let backtrace = backtrace.map(tracing::field::display);
    tracing::error!(
        target: TARGET, place, thread, at, what, backtrace,
        "a panic, which is a bug of this program: please report it"
    );
}

/// Returns the number of panics so far.
pub fn count() -> u64 {
    COUNTS.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Runs a part that should not end. If it panics, records the part as lost and returns `None`.
/// Messages use `part` after "the".
pub async fn guard<T>(part: &'static str, work: impl Future<Output = T>) -> Option<T> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    if ended.is_err() {
        note(part, false);
        tracing::error!(
            target: TARGET, part,
            "a part of the node is lost until the node is started again"
        );
    }
    ended.ok()
}

/// Records a part as lost until [`regain`]: something that it depends on has ended, and the part
/// restarts itself. Messages use `part` after "the".
pub fn lose(part: &'static str) {
    note(part, true);
    tracing::error!(target: TARGET, part, "a part of the node has ended and will be started again");
}

/// Records that a part works again.
pub fn regain(part: &'static str) {
    list().retain(|(lost, _)| *lost != part);
    tracing::info!(target: TARGET, part, "a part of the node was started again");
}

fn note(part: &'static str, comes_back: bool) {
    let mut lost = list();
    lost.retain(|(other, _)| *other != part);
    lost.push((part, comes_back));
}

fn list() -> MutexGuard<'static, Vec<(&'static str, bool)>> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the lost parts, as phrases.
pub fn lost() -> Vec<String> {
    let phrase = |(part, comes_back): &(&str, bool)| match comes_back {
        true => format!("{part}, which will be started again by itself"),
        false => (*part).to_owned(),
    };
    list().iter().map(phrase).collect()
}

/// Writes the metrics.
pub fn write(text: &mut Exposition) {
    let mut family = text.own(
        "opp2p_panics_total",
        Kind::Counter,
        "Panics of this process, contained or not, by place",
    );
    for (place, count) in PLACES.iter().zip(&COUNTS) {
        family.sample(&[("place", place)], count.load(Ordering::Relaxed));
    }
    text.own("opp2p_lost_parts", Kind::Gauge, "Parts of this process that have ended unexpectedly")
        .value(lost().len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_after_its_thread() {
        let names =
            ["validate-3", "serve-0", "block-store", "tokio-rt-worker", "main", "log-limit"];
        assert_eq!(names.map(|name| PLACES[place(Some(name))]), PLACES);
        assert_eq!(PLACES[place(None)], "other");
    }

    #[test]
    fn a_lost_part_is_reported_until_it_returns() {
        let said = || lost().into_iter().find(|sentence| sentence.contains("part that comes back"));
        lose("part that comes back");
        lose("part that comes back");
        assert!(said().is_some_and(|sentence| sentence.contains("by itself")));
        regain("part that comes back");
        assert_eq!(said(), None);
    }

    #[tokio::test]
    async fn a_panicking_part_is_reported_lost_and_counted() {
        watch();
        let before = count();
        assert_eq!(guard("whole part", async { 3 }).await, Some(3));
        assert_eq!(
            guard("part of a test", async { assert!(before == u64::MAX, "as the test wants it") })
                .await,
            None
        );
        assert!(count() > before);
        let is_lost = |part: &str| lost().iter().any(|lost| lost == part);
        assert!(is_lost("part of a test") && !is_lost("whole part"));
        let mut text = Exposition::new("op_node_default".to_owned());
        write(&mut text);
        let text = text.finish();
        // Other tests may lose parts at the same time.
        assert!(!text.contains("opp2p_lost_parts 0"), "{text}");
        assert!(!text.contains("opp2p_panics_total{place=\"other\"} 0"), "{text}");
    }
}
