//! Reports to the core about what only this shell can see: disks, the execution client, L1, the
//! feed, panics, and another node with our key.
//!
//! The driver looks at each heartbeat and passes on what has changed. The core decides what is a
//! trouble, and when.
//!
//! # Bounds
//! The last report of each kind, and what [`Twins`] holds.

use super::signer::SignerReport;
use super::twins::Twins;
use crate::panics;
use opp2p_core::engine::{Activity, EngineStatus};
use opp2p_core::trouble::Report;
use opp2p_store::Store;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::watch;

/// The last reports, and where the next ones come from.
#[derive(Debug)]
pub(super) struct Reporter {
    engine: Arc<OnceLock<watch::Receiver<EngineStatus>>>,
    feed: Arc<OnceLock<watch::Receiver<Option<String>>>>,
    proofs: Arc<OnceLock<watch::Receiver<Option<String>>>>,
    signer: watch::Receiver<SignerReport>,
    files: Option<Files>,
    last: Last,
    pub(super) twins: Twins,
}

/// Files whose state is reported.
#[derive(Debug)]
struct Files {
    store: Store,
    /// Path of the key's file, while it is gone.
    lost_key: watch::Receiver<Option<String>>,
    /// Reason why no certificate for browsers could be obtained or stored.
    certificate: watch::Receiver<Option<String>>,
}

/// What was reported last.
#[derive(Debug, Default)]
struct Last {
    store: Option<String>,
    peer_store: Option<String>,
    damage: Option<String>,
    lost_key: Option<String>,
    certificate: Option<String>,
    engine: Option<String>,
    labels: Option<String>,
    l1: Option<String>,
    feed: Option<String>,
    proofs: Option<String>,
    parts: String,
    panics: u64,
}

/// Returns the damage of the store that was met so far; `None` if there is none.
pub(super) fn damage(store: &Store) -> Option<String> {
    let damaged = store.damaged();
    let (first, count) = (damaged.first()?, damaged.len());
    let blocks = if count == 1 { "block" } else { "blocks" };
    Some(format!("{count} {blocks} in {}, such as {first}", store.path().display()))
}

/// Returns the engine's problem for the node's trouble list, as one clause; `None` if it has no
/// problem.
fn problem(activity: &Activity) -> Option<String> {
    match activity {
        Activity::Starting | Activity::Following | Activity::Syncing => None,
        Activity::Away(failure) => Some(format!("the execution client fails: {failure}")),
        Activity::Mismatched(mismatch) => {
            Some(format!("the execution client is not the one for this chain: {mismatch}"))
        }
        Activity::Stuck(block) => Some(format!("the execution client calls block {block} invalid")),
    }
}

/// Replaces the last value if the present one is another, and returns that.
fn change<T: Clone + PartialEq>(last: &mut T, now: T) -> Option<T> {
    (*last != now).then(|| {
        last.clone_from(&now);
        now
    })
}

impl Reporter {
    pub(super) fn new(
        engine: &Arc<OnceLock<watch::Receiver<EngineStatus>>>,
        feed: &Arc<OnceLock<watch::Receiver<Option<String>>>>,
        proofs: &Arc<OnceLock<watch::Receiver<Option<String>>>>,
        signer: watch::Receiver<SignerReport>,
        twins: Twins,
    ) -> Self {
        let (engine, feed, proofs) = (Arc::clone(engine), Arc::clone(feed), Arc::clone(proofs));
        Self { engine, feed, proofs, signer, files: None, last: Last::default(), twins }
    }

    /// Adds the store, whose damage is reported, the path of the key's file while it is gone, and
    /// the reason why no certificate for browsers could be obtained or stored.
    pub(super) fn with_files(
        self,
        store: Store,
        lost_key: watch::Receiver<Option<String>>,
        certificate: watch::Receiver<Option<String>>,
    ) -> Self {
        Self { files: Some(Files { store, lost_key, certificate }), ..self }
    }

    /// Returns what has changed since the last look.
    pub(super) fn look(&mut self) -> Vec<Report> {
        let engine = self.engine.get().map(|status| status.borrow().clone());
        let labels = engine
            .as_ref()
            .and_then(|status| status.labels_failure.as_ref().map(ToString::to_string));
        let engine = engine.and_then(|status| problem(&status.activity));
        let l1 = self.signer.borrow().l1_error.clone();
        let feed = self.feed.get().and_then(|problem| problem.borrow().clone());
        let proofs = self.proofs.get().and_then(|problem| problem.borrow().clone());
        let damage = self.files.as_ref().and_then(|files| damage(&files.store));
        let lost_key = self.files.as_ref().and_then(|files| files.lost_key.borrow().clone());
        let certificate = self.files.as_ref().and_then(|files| files.certificate.borrow().clone());
        let last = &mut self.last;
        let (parts, panics) = (panics::lost().join(", "), panics::count());
        let reports = [
            change(&mut last.damage, damage).map(Report::StoreDamaged),
            change(&mut last.lost_key, lost_key).map(Report::KeyFile),
            change(&mut last.certificate, certificate).map(Report::Certificate),
            change(&mut last.engine, engine).map(Report::Engine),
            change(&mut last.labels, labels).map(Report::Labels),
            change(&mut last.l1, l1).map(Report::L1),
            change(&mut last.feed, feed).map(Report::Feed),
            change(&mut last.proofs, proofs).map(Report::Proofs),
            change(&mut last.parts, parts).map(Report::PartLost),
            change(&mut last.panics, panics).map(Report::Panics),
        ];
        let twins = self.twins.seen(Instant::now()).into_iter().map(Report::KeyInUse);
        reports.into_iter().flatten().chain(twins).collect()
    }

    /// Returns what has changed with the disks. The memory of peers counts by itself if it has a
    /// file of its own, or if only it fails.
    pub(super) fn disks(
        &mut self,
        blocks: Option<&String>,
        peers: Option<&String>,
        is_apart: bool,
    ) -> Vec<Report> {
        let peers = peers.filter(|_| is_apart || blocks.is_none());
        let reports = [
            change(&mut self.last.store, blocks.cloned()).map(Report::Store),
            change(&mut self.last.peer_store, peers.cloned()).map(Report::PeerStore),
        ];
        reports.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::chain::Labels;
    use opp2p_core::engine::EngineFailure;

    fn reporter_of(
        engine: &Arc<OnceLock<watch::Receiver<EngineStatus>>>,
        problem: &Arc<OnceLock<watch::Receiver<Option<String>>>>,
        signer: watch::Receiver<SignerReport>,
    ) -> Reporter {
        Reporter::new(engine, problem, problem, signer, Twins::default())
    }

    fn reporter() -> (Reporter, watch::Sender<SignerReport>) {
        let (report, signer) = watch::channel(SignerReport::default());
        (reporter_of(&Arc::default(), &Arc::default(), signer), report)
    }

    #[test]
    fn each_change_is_reported_once() {
        let (mut reporter, l1) = reporter();
        // Other tests of this process may panic.
        let mut look = || {
            let mut reports = reporter.look();
            reports.retain(|report| !matches!(report, Report::Panics(_) | Report::PartLost(_)));
            reports
        };
        assert_eq!(look(), []);
        l1.send_modify(|report| report.l1_error = Some("out of order".into()));
        assert_eq!(look(), [Report::L1(Some("out of order".into()))]);
        assert_eq!(look(), []);
        l1.send_modify(|report| report.l1_error = None);
        assert_eq!(look(), [Report::L1(None)]);
        assert_eq!(look(), []);
    }

    #[test]
    fn an_engine_and_a_feed_that_start_later_are_reported() {
        let (engine, feed) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let (_report, signer) = watch::channel(SignerReport::default());
        let mut reporter = reporter_of(&engine, &feed, signer);
        reporter.look();
        let away = Activity::Away(EngineFailure::Unreachable("connection refused".into()));
        let status = EngineStatus {
            head: None,
            activity: away,
            behind: 0,
            labels: Labels::default(),
            labels_failure: None,
        };
        let (told, status) = watch::channel(status);
        engine.set(status).expect("the only one");
        let reports = reporter.look();
        let text = |report: &Report| match report {
            Report::Engine(Some(text)) => text.clone(),
            _ => String::new(),
        };
        assert!(
            reports.iter().any(|report| text(report).contains("connection refused")),
            "{reports:?}"
        );
        told.send_modify(|status| status.activity = Activity::Following);
        assert!(reporter.look().contains(&Report::Engine(None)));
        let (stuck, problem) = watch::channel(None);
        feed.set(problem).expect("the only one");
        assert!(!reporter.look().iter().any(|report| matches!(report, Report::Feed(_))));
        stuck.send_replace(Some("the stream is full".to_owned()));
        // The proofs have the same source here.
        let text = Some("the stream is full".to_owned());
        let reports = reporter.look();
        assert!(reports.contains(&Report::Feed(text.clone())));
        assert!(reports.contains(&Report::Proofs(text)));
    }

    #[test]
    fn the_peer_store_is_reported_separately_only_if_it_fails_separately() {
        let (mut reporter, _l1) = reporter();
        let (full, gone) = ("full".to_owned(), "gone".to_owned());
        // In one file the error of the blocks stands for both.
        assert_eq!(
            reporter.disks(Some(&full), Some(&full), false),
            [Report::Store(Some("full".into()))]
        );
        assert_eq!(reporter.disks(Some(&full), Some(&full), false), []);
        assert_eq!(
            reporter.disks(None, Some(&full), false),
            [Report::Store(None), Report::PeerStore(Some("full".into()))]
        );
        assert_eq!(
            reporter.disks(Some(&full), Some(&gone), true),
            [Report::Store(Some("full".into())), Report::PeerStore(Some("gone".into()))]
        );
        assert_eq!(
            reporter.disks(None, None, true),
            [Report::Store(None), Report::PeerStore(None)]
        );
    }
}
