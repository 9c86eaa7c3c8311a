//! `eth_subscribe("newHeads")`: the header of each canonical block, once, in order; after a reorg those of the adopted
//! blocks, as they become canonical.
//!
//! A header is written once, whoever listens, and only while somebody does: its transactions root takes milliseconds for
//! a large block.
//!
//! # Bounds
//! The last [`KEPT`] headers wait for a slow subscriber, 2 kB each. Who falls further behind, or reads nothing for
//! [`SEND_TIME`](crate::rpc::subscribe::SEND_TIME), is told so and has to subscribe again.

use super::shapes::{Header, bounded};
use crate::host::{HostEvent, HostEventKind};
use crate::rpc::params::{Arguments, wrong};
use crate::rpc::subscribe::SEND_TIME;
use jsonrpsee::server::{PendingSubscriptionSink, SubscriptionCloseResponse};
use jsonrpsee::types::ErrorObjectOwned;
use opp2p_core::chain::ChainEvent;
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Headers that wait for a slow subscriber.
const KEPT: usize = 1024;

/// What subscribers are told.
#[derive(Clone, Debug)]
pub(in crate::rpc) enum News {
    /// A block became canonical; its header.
    Head(Arc<RawValue>),
    /// So many events went by unseen.
    Missed(u64),
}

/// Where subscribers listen. It does not keep the teller's end open, so that they learn of its end.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct Heads(broadcast::WeakSender<News>);

/// The end that tells, and the one that hears.
pub(in crate::rpc) fn channel() -> (broadcast::Sender<News>, Heads) {
    let (sender, _) = broadcast::channel(KEPT);
    let heads = Heads(sender.downgrade());
    (sender, heads)
}

/// Tells of heads until the node ends.
pub(in crate::rpc) async fn tell(
    subscribers: broadcast::Sender<News>,
    mut events: broadcast::Receiver<HostEvent>,
) {
    loop {
        let news = match events.recv().await {
            Ok(HostEvent {
                kind: HostEventKind::Core(Event::Chain(ChainEvent::Extended(block))), ..
            }) if subscribers.receiver_count() > 0 => header(block).await.map(News::Head),
            Ok(_) => None,
            Err(RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(RecvError::Closed) => return,
        };
        if let Some(news) = news {
            // That nobody listens is no failure.
            let _ = subscribers.send(news);
        }
    }
}

async fn header(block: Block) -> Option<Arc<RawValue>> {
    let written = tokio::task::spawn_blocking(move || bounded(&Header(&block))).await;
    written.ok()?.ok().map(Arc::from)
}

fn check(params: Option<&str>) -> Result<(), ErrorObjectOwned> {
    match Arguments::read(params, 1)?.word(0)? {
        "newHeads" => Ok(()),
        _ => Err(wrong(0, "subscribe to newHeads; there is nothing else here that could be told")),
    }
}

impl Heads {
    fn listen(&self) -> broadcast::Receiver<News> {
        let ended = || broadcast::channel(1).1;
        self.0.upgrade().map_or_else(ended, |sender| sender.subscribe())
    }

    /// Serves one subscription to its end.
    pub(in crate::rpc) async fn serve(
        self,
        params: Option<&str>,
        pending: PendingSubscriptionSink,
    ) -> SubscriptionCloseResponse {
        if let Err(error) = check(params) {
            pending.reject(error).await;
            return SubscriptionCloseResponse::None;
        }
        // Before the answer, so that nothing that comes after it is missed.
        let mut news = self.listen();
        let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
        loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = sink.closed() => return SubscriptionCloseResponse::None,
            };
            let head = match next {
                Ok(News::Head(head)) => head,
                Ok(News::Missed(missed)) | Err(RecvError::Lagged(missed)) => {
                    let text = format!("{missed} events were missed: subscribe again");
                    return SubscriptionCloseResponse::NotifErr(text.into());
                }
                Err(RecvError::Closed) => {
                    return SubscriptionCloseResponse::NotifErr("the node has stopped".into());
                }
            };
            let head: &RawValue = &head;
            if sink.send_timeout(head.to_owned(), SEND_TIME).await.is_err() {
                return SubscriptionCloseResponse::None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_kind() {
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
    async fn who_misses_something_is_told() {
        let (events, heard) = broadcast::channel(2);
        for _ in 0..5 {
            let event = HostEvent { at: std::time::Instant::now(), kind: HostEventKind::StoreRecovered };
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
    async fn who_listens_hears_of_the_end() {
        let (sender, heads) = channel();
        let mut early = heads.listen();
        drop(sender);
        assert!(matches!(early.recv().await, Err(RecvError::Closed)));
        assert!(matches!(heads.listen().recv().await, Err(RecvError::Closed)));
    }
}
