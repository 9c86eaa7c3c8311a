//! Panics, which should not happen: contained where they arise, counted by place, logged, and shown in health.
//!
//! What becomes of one depends on where it is:
//!
//! * A validation, an answer to a peer, a write to the store, a call of the RPC, a connection: that one fails, the node
//!   goes on.
//! * A part that can't be begun anew by itself, see [`guard`]: it is missing from then on, and `/healthz`, `/readyz` and
//!   a metric say so until somebody starts the node again.
//! * The task that drives the node: the process ends with a sentence and an exit code other than 0, for whoever
//!   supervises it to start it again.
//!
//! # Bounds
//! Numbers for a fixed list of places, and the names of lost parts, which are parts of this program.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use futures::FutureExt;

use crate::metrics::{Exposition, Kind};

/// Target of the log's lines about panics.
const TARGET: &str = "opp2p::panics";

/// Where a panic was, by the thread that it was on.
const PLACES: [&str; 6] = ["validation", "serving", "store", "task", "main", "other"];

/// Panics at each place. Global, as the hook is: the process has one.
static COUNTS: [AtomicU64; PLACES.len()] = [const { AtomicU64::new(0) }; PLACES.len()];

/// Parts that a panic ended for good.
static LOST: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// The index of the place of a thread with this name.
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

/// Has the panics of this process counted and logged from now on, each in one line with its place, in place of what
/// the standard library prints. Calling it again changes nothing.
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
    let what =
        text.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let (place, thread) = (PLACES[index], thread.name().unwrap_or("none"));
    let backtrace = backtrace.map(tracing::field::display);
    tracing::error!(
        target: TARGET, place, thread, at, what, backtrace,
        "a panic, which is a bug of this program: please report it"
    );
}

/// How many panics there were.
pub fn count() -> u64 {
    COUNTS.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Runs a part that should not end; if it panics, the part is known as lost. Its name is to be read after "the".
pub async fn guard<T>(part: &'static str, work: impl Future<Output = T>) -> Option<T> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    if ended.is_err() {
        let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
        if !lost.contains(&part) {
            lost.push(part);
        }
        tracing::error!(target: TARGET, part, "a part of the node is lost until the node is started again");
    }
    ended.ok()
}

/// One sentence for each part that is lost.
pub fn lost() -> Vec<String> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    lost.iter().map(|part| format!("a panic has ended the {part}: start the node again")).collect()
}

/// What health says of panics: nothing if there was none.
pub fn problems() -> Vec<String> {
    let mut problems = lost();
    match count() {
        0 => {}
        1 => problems.push("there was a panic, which was contained: see the log".to_owned()),
        many => problems.push(format!("there were {many} panics, which were contained: see the log")),
    }
    problems
}

/// Writes the metrics.
pub(crate) fn write(text: &mut Exposition) {
    let mut family =
        text.own("opp2p_panics_total", Kind::Counter, "Panics of this process, contained or not, by place");
    for (place, count) in PLACES.iter().zip(&COUNTS) {
        family.sample(&[("place", place)], count.load(Ordering::Relaxed));
    }
    text.own("opp2p_lost_parts", Kind::Gauge, "Parts of this process that a panic has ended")
        .value(lost().len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_the_thread() {
        let names = ["validate-3", "serve-0", "block-store", "tokio-rt-worker", "main", "log-limit"];
        assert_eq!(names.map(|name| PLACES[place(Some(name))]), PLACES);
        assert_eq!(PLACES[place(None)], "other");
    }

    #[tokio::test]
    async fn a_part_that_panics_is_lost_and_said_so_and_counted() {
        watch();
        let before = count();
        assert_eq!(guard("whole part", async { 3 }).await, Some(3));
        assert_eq!(
            guard("part of a test", async { assert!(before == u64::MAX, "as the test wants it") }).await,
            None
        );
        assert!(count() > before);
        let sentence = "a panic has ended the part of a test: start the node again";
        assert!(problems().iter().any(|problem| problem == sentence), "{:?}", problems());
        assert!(!problems().iter().any(|problem| problem.contains("whole")));
        let mut text = Exposition::new("op_node_default".to_owned());
        write(&mut text);
        let text = text.finish();
        assert!(text.contains("opp2p_lost_parts 1"), "{text}");
        assert!(!text.contains("opp2p_panics_total{place=\"other\"} 0"), "{text}");
    }
}
