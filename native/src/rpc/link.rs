//! A WebSocket's outgoing messages and its subscriptions.
//!
//! # Bounds
//! [`MESSAGES`](super::limits::MESSAGES) messages wait for a connection, and it has as many
//! subscriptions as the settings allow. Each subscription is a task that ends with the connection.

use super::error::{CallError, FAILED, TOO_MANY_SUBSCRIPTIONS};
use super::method::Subscription;
use super::sink::{Outgoing, Sink, Started};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// A WebSocket's state, as its calls see it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) queue: mpsc::Sender<Outgoing>,
    /// Maximum number of subscriptions.
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Subscriptions by id. One without a task is not answered yet.
    subscriptions: BTreeMap<String, Entry>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Entry {
    /// Name of the method that ends it.
    unsubscribe: &'static str,
    task: Option<AbortHandle>,
}

impl Link {
    pub(super) fn new(queue: mpsc::Sender<Outgoing>, most: usize) -> Self {
        Self { queue, most, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Forgets those that ended by themselves.
        while held.tasks.try_join_next().is_some() {}
        held.subscriptions
            .retain(|_, entry| entry.task.as_ref().is_none_or(|task| !task.is_finished()));
        held
    }

    /// Reserves a place for a subscription, and returns its id.
    pub(super) fn reserve(&self, kind: &'static Subscription) -> Result<String, CallError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| CallError::new(FAILED, error.to_string()))?;
        // Hexadecimal without leading zeros, as in geth: Go clients take no numbers.
        let id = format!("{:#x}", u128::from_be_bytes(random));
        let mut held = self.held();
        if held.subscriptions.len() >= self.most {
            let text = format!("a connection has at most {} subscriptions", self.most);
            return Err(CallError::new(TOO_MANY_SUBSCRIPTIONS, text));
        }
        let entry = Entry { unsubscribe: kind.unsubscribe, task: None };
        held.subscriptions.insert(id.clone(), entry);
        Ok(id)
    }

    /// Gives a reserved place back.
    pub(super) fn release(&self, id: &str) {
        self.held().subscriptions.remove(id);
    }

    /// Starts a subscription once it is answered.
    pub(super) fn start(&self, kind: &'static Subscription, id: &str, started: Started) {
        let mut held = self.held();
        let Held { subscriptions, tasks } = &mut *held;
        // If it is not there, the client has ended it already.
        let Some(entry) = subscriptions.get_mut(id) else { return };
        let method = kind.notification;
        let start =
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"subscription":"{id}","#);
        let sink = Sink { start, queue: self.queue.clone() };
        entry.task = Some(tasks.spawn((started.0)(sink)));
    }

    /// Ends a subscription. Returns `false` if there is no such one.
    pub(super) fn unsubscribe(&self, kind: &'static Subscription, id: &str) -> bool {
        let mut held = self.held();
        if held.subscriptions.get(id).is_none_or(|entry| entry.unsubscribe != kind.unsubscribe) {
            return false;
        }
        if let Some(task) = held.subscriptions.remove(id).and_then(|entry| entry.task) {
            task.abort();
        }
        true
    }

    /// Ends all subscriptions.
    pub(super) fn close(&self) {
        self.held().tasks.abort_all();
    }
}

/// Closes a link when its connection ends, however that happens.
#[derive(Debug)]
pub(super) struct Closing(pub(super) Arc<Link>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
