//! Reading the settings again while the node runs: at SIGHUP, and by `opp2p_reload`.
//!
//! The sources are those of the start: the flags, the environment, and the configuration file as it
//! is now. Log level, static peers, block list and certificate take effect at once; of all other
//! settings, the answer names those that changed. Settings with which the node could not start
//! change nothing.

use super::Failure;
use super::logging::Levels;
use super::settings::Setting;
use crate::rpc::Reload;
use crate::rpc::types::Reloaded;
use futures::FutureExt;
use futures::future::BoxFuture;
use opp2p_core::peers::PeerListsChange;
use opp2p_node::host::{HostHandle, LiveChange, LiveSettings};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Settings that take effect without a restart.
const LIVE: [&str; 5] =
    ["log.level", "p2p.blocked", "p2p.static", "p2p.ws.tls.cert", "p2p.ws.tls.key"];

/// The settings of a node's process, as its start found them.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) settings: Vec<Setting>,
    /// Warnings about the configuration file.
    pub(super) cautions: Vec<String>,
    /// Environment variables that are named like settings, but match no setting.
    pub(super) unread: Vec<String>,
    /// Reads the settings again.
    pub(super) read_again: fn() -> Result<Again, Failure>,
}

/// Settings that were read again.
#[derive(Debug)]
pub(super) struct Again {
    /// Those that take effect without a restart.
    pub(super) live: LiveSettings,
    pub(super) log_level: String,
    /// All of them.
    pub(super) settings: Vec<Setting>,
}

/// What a reload needs from the start of the process.
#[derive(Debug)]
pub(super) struct ReloadPlan {
    /// Changes the log level.
    pub(super) levels: Levels,
    /// The settings at the start.
    pub(super) settings: Vec<Setting>,
    /// Reads the settings again.
    pub(super) read_again: fn() -> Result<Again, Failure>,
}

/// Reads the settings of a node again.
#[derive(Clone, Debug)]
pub(super) struct Reloader(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    plan: ReloadPlan,
    host: HostHandle,
    /// One reload at a time.
    turn: Mutex<()>,
}

impl Reloader {
    /// Creates the reloader of a running node.
    pub(super) fn new(plan: ReloadPlan, host: HostHandle) -> Self {
        Self(Arc::new(Parts { plan, host, turn: Mutex::new(()) }))
    }
}

impl Reload for Reloader {
    fn reload(&self) -> BoxFuture<'static, Result<Reloaded, String>> {
        let parts = Arc::clone(&self.0);
        async move {
            let _turn = parts.turn.lock().await;
            let result = parts.reload().await.map_err(|Failure(sentence)| sentence);
            match &result {
                Ok(reloaded) => tracing::info!("{}", reloaded.summary),
                Err(why) => tracing::error!("not reloaded, and nothing is changed: {why}"),
            }
            result
        }
        .boxed()
    }
}

impl Parts {
    async fn reload(&self) -> Result<Reloaded, Failure> {
        let read = tokio::task::spawn_blocking(self.plan.read_again);
        let Again { live, log_level: level, settings } = read.await??;
        let change = self.host.reconfigure(live).await??;
        let has_new_level = self.plan.levels.change(&level)?;
        let changed = changed(&self.plan.settings, &settings);
        Ok(reloaded(change, has_new_level.then_some(level), changed))
    }
}

/// Returns the names of the settings that changed since the start, and need a restart.
fn changed(before: &[Setting], now: &[Setting]) -> Vec<String> {
    let differs = |setting: &&Setting| {
        let other = before.iter().find(|other| other.name == setting.name);
        !LIVE.contains(&setting.name.as_str())
            && other.is_none_or(|other| other.value != setting.value)
    };
    now.iter().filter(differs).map(|setting| setting.name.clone()).collect()
}

fn reloaded(change: LiveChange, log_level: Option<String>, need_restart: Vec<String>) -> Reloaded {
    let LiveChange { lists, certificate } = change;
    let PeerListsChange { static_added, static_removed, blocked_added, blocked_removed } = lists;
    let mut parts = Vec::new();
    parts.extend(log_level.as_ref().map(|level| format!("log level {level}")));
    let peers = |count: usize| if count == 1 { "peer" } else { "peers" };
    parts.extend(moved(static_added, static_removed, "static", peers));
    let entries = |count: usize| if count == 1 { "entry" } else { "entries" };
    parts.extend(moved(blocked_added, blocked_removed, "blocked", entries));
    if certificate {
        parts.push("new certificate".into());
    }
    if parts.is_empty() {
        parts.push("no change".into());
    }
    if !need_restart.is_empty() {
        parts.push(format!("changed only after a restart: {}", need_restart.join(", ")));
    }
    Reloaded {
        summary: format!("reloaded: {}", parts.join("; ")),
        log_level,
        static_peers_added: static_added,
        static_peers_removed: static_removed,
        blocked_added,
        blocked_removed,
        certificate,
        need_restart,
    }
}

/// Says how many were added and removed; `None` if none was.
fn moved(
    added: usize,
    removed: usize,
    kind: &str,
    noun: impl Fn(usize) -> &'static str,
) -> Option<String> {
    match (added, removed) {
        (0, 0) => None,
        (added, 0) => Some(format!("{added} {kind} {} added", noun(added))),
        (0, removed) => Some(format!("{removed} {kind} {} removed", noun(removed))),
        (added, removed) => {
            Some(format!("{added} {kind} {} added, {removed} removed", noun(added)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Source;
    use super::*;

    fn setting(name: &str, value: Option<&str>) -> Setting {
        Setting {
            name: name.into(),
            variable: None,
            value: value.map(str::to_owned),
            source: Source::File,
            is_secret: false,
            ignored: None,
        }
    }

    #[test]
    fn a_reload_reports_its_changes_in_one_line() {
        let lists = PeerListsChange {
            static_added: 1,
            static_removed: 2,
            blocked_added: 0,
            blocked_removed: 3,
        };
        let change = LiveChange { lists, certificate: true };
        let said = reloaded(change, Some("debug".into()), vec!["p2p.peers.hi".into()]);
        assert_eq!(
            said.summary,
            "reloaded: log level debug; 1 static peer added, 2 removed; 3 blocked entries removed; \
             new certificate; changed only after a restart: p2p.peers.hi"
        );
        assert_eq!((said.static_peers_added, said.blocked_removed), (1, 3));
        assert_eq!(reloaded(LiveChange::default(), None, vec![]).summary, "reloaded: no change");
    }

    #[test]
    fn changed_settings_that_need_a_restart_are_named() {
        let before = [setting("p2p.peers.hi", Some("30")), setting("log.level", Some("info"))];
        let now = [setting("p2p.peers.hi", Some("40")), setting("log.level", Some("debug"))];
        assert_eq!(changed(&before, &now), ["p2p.peers.hi"]);
        assert!(changed(&before, &before).is_empty());
    }
}
