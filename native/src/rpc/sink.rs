//! The notifications of a subscription, on their way to the client.

use futures::future::BoxFuture;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Maximum time that a subscriber may take nothing.
pub(super) const SEND_TIME: Duration = Duration::from_secs(10);

/// A message for the client.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) text: String,
    /// Places of large answers, which are free again once the message is sent.
    pub(super) places: Vec<OwnedSemaphorePermit>,
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Self { text, places: Vec::new() }
    }
}

/// Work of a subscription whose arguments are valid. It has to be created before the subscription
/// is answered, so that it misses no event after the answer.
pub(super) struct Started(pub(super) Box<dyn FnOnce(Sink) -> BoxFuture<'static, ()> + Send>);

impl Started {
    pub(super) fn new<F>(serve: impl FnOnce(Sink) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |sink| Box::pin(serve(sink))))
    }
}

/// Where a subscription sends its notifications.
#[derive(Debug)]
pub(super) struct Sink {
    /// Start of each notification.
    pub(super) start: String,
    pub(super) queue: mpsc::Sender<Outgoing>,
}

impl Sink {
    fn notification(&self, key: &str, value: &str) -> Outgoing {
        let start = &self.start;
        let mut text = String::with_capacity(start.len() + key.len() + value.len() + 8);
        for part in [start, "\"", key, "\":", value, "}}"] {
            text.push_str(part);
        }
        text.into()
    }

    /// Sends a notification. Returns `false` if the client takes nothing for [`SEND_TIME`].
    pub(super) async fn send(&self, news: &RawValue) -> bool {
        let message = self.notification("result", news.get());
        self.queue.send_timeout(message, SEND_TIME).await.is_ok()
    }

    /// Sends a notification if there is room. Returns whether there was.
    pub(super) fn try_send(&self, news: &RawValue) -> bool {
        self.queue.try_send(self.notification("result", news.get())).is_ok()
    }

    /// Tells the client why the subscription ends.
    pub(super) async fn end(&self, why: &str) {
        let message = self.notification("error", &serde_json::Value::from(why).to_string());
        // A client that takes nothing learns nothing.
        let _ = self.queue.send_timeout(message, SEND_TIME).await;
    }

    /// Returns `true` if at most one message waits for the client.
    pub(super) fn is_almost_empty(&self) -> bool {
        self.queue.capacity().saturating_add(1) >= self.queue.max_capacity()
    }
}
