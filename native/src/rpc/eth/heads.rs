//! `eth_subscribe("newHeads")`: the header of each canonical block, once and in order. After a
//! reorg, the headers of the adopted blocks follow as those become canonical.
//!
//! A header is serialized once for all subscribers, and only while there are any: its transactions
//! root takes milliseconds for a large block.
//!
//! # Bounds
//! The last [`KEPT`] headers wait for a slow subscriber, 2 kB each. A subscriber that falls further
//! behind, or reads nothing for [`SEND_TIME`](crate::rpc::sink::SEND_TIME), gets an error and
//! has to subscribe again.

use super::shapes;
use crate::rpc::error::CallError;
use crate::rpc::params::{Arguments, wrong};
use crate::rpc::sink::{Sink, Started};
use opp2p_core::chain::ChainEvent;
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use opp2p_node::host::{HostEvent, HostEventKind};
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Maximum number of headers that wait for a slow subscriber.
const KEPT: usize = 1024;

/// Messages to the subscriptions.
#[derive(Clone, Debug)]
pub(in crate::rpc) enum News {
    /// Header of a block that became canonical.
    Head(Arc<RawValue>),
    /// Number of events that were missed.
    Missed(u64),
}

/// Receivers' side of the channel. It does not keep the sender alive, so that receivers learn of
/// its end.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct Heads(broadcast::WeakSender<News>);

/// Creates the sender and the receivers' side.
pub(in crate::rpc) fn channel() -> (broadcast::Sender<News>, Heads) {
    let (sender, _) = broadcast::channel(KEPT);
    let heads = Heads(sender.downgrade());
    (sender, heads)
}

/// Sends heads to the subscriptions until the node ends.
pub(in crate::rpc) async fn tell(
    subscribers: broadcast::Sender<News>,
    mut events: broadcast::Receiver<HostEvent>,
) {
    loop {
        let news = match events.recv().await {
            Ok(HostEvent {
                kind: HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))),
                ..
            }) if subscribers.receiver_count() > 0 => header(block).await.map(News::Head),
            Ok(_) => None,
            Err(RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(RecvError::Closed) => return,
        };
        if let Some(news) = news {
            // Having no subscriber is not a failure.
            let _ = subscribers.send(news);
        }
    }
}

async fn header(block: Block) -> Option<Arc<RawValue>> {
    let written = tokio::task::spawn_blocking(move || shapes::header(&block)).await;
    written.ok()?.ok().map(Arc::from)
}

fn check(given: &Arguments) -> Result<(), CallError> {
    match given.word(0)? {
        "newHeads" => Ok(()),
        _ => Err(wrong(0, "subscribe to newHeads, the only kind that gossip alone can serve")),
    }
}

impl Heads {
    fn listen(&self) -> broadcast::Receiver<News> {
        let ended = || broadcast::channel(1).1;
        self.0.upgrade().map_or_else(ended, |sender| sender.subscribe())
    }

    /// Starts a subscription.
    pub(in crate::rpc) fn start(&self, given: &Arguments) -> Result<Started, CallError> {
        check(given)?;
        let news = self.listen();
        Ok(Started::new(|sink| serve(news, sink)))
    }
}

/// Serves one subscription to its end.
async fn serve(mut news: broadcast::Receiver<News>, sink: Sink) {
    loop {
        match news.recv().await {
            Ok(News::Head(head)) if sink.send(&head).await => {}
            Ok(News::Head(_)) => return,
            Ok(News::Missed(missed)) | Err(RecvError::Lagged(missed)) => {
                return sink.end(&format!("{missed} events were missed: subscribe again")).await;
            }
            Err(RecvError::Closed) => return sink.end("the node has stopped").await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_heads_can_be_subscribed_to() {
        let check = |params| check(&Arguments::read(params, 2)?);
        assert_eq!(check(Some(r#"["newHeads"]"#)), Ok(()));
        for wrong in [
            None,
            Some("[]"),
            Some("[7]"),
            Some(r#"["logs",{}]"#),
            Some(r#"["newPendingTransactions"]"#),
            Some(r#"["newheads"]"#),
        ] {
            assert_eq!(check(wrong).unwrap_err().code(), -32602, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_listener_learns_how_many_events_it_missed() {
        let (events, heard) = broadcast::channel(2);
        for _ in 0..5 {
            let event =
                HostEvent { at: std::time::Instant::now(), kind: HostEventKind::StoreRecovered };
            events.send(event).unwrap();
        }
        drop(events);
        let (sender, heads) = channel();
        let mut news = heads.listen();
        tell(sender, heard).await;
        assert!(matches!(news.recv().await, Ok(News::Missed(3))));
        assert!(matches!(news.recv().await, Err(RecvError::Closed)));
    }

    #[tokio::test]
    async fn listeners_learn_of_the_end() {
        let (sender, heads) = channel();
        let mut early = heads.listen();
        drop(sender);
        assert!(matches!(early.recv().await, Err(RecvError::Closed)));
        assert!(matches!(heads.listen().recv().await, Err(RecvError::Closed)));
    }
}
