//! Requests for blocks by number that are under way: names on either side, and answers that are looked up.
//!
//! # Bounds
//! Those of the core: it bounds the requests that it sends, and those of peers that wait or are answered. A request
//! that the core has not heard of yet is refused by it in the same turn.

use super::persist;
use crate::store::Store;
use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};
use opp2p_core::payload::Block;
use opp2p_core::sync::{RequestId, ServeId, answer};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// A whole answer, as it goes onto the stream.
type Response = Vec<u8>;

/// All requests under way.
#[derive(Debug)]
pub(super) struct Requests {
    store: Store,
    sent: BTreeMap<OutboundRequestId, RequestId>,
    came: BTreeMap<InboundRequestId, ServeId>,
    channels: BTreeMap<ServeId, ResponseChannel<Response>>,
    next: u64,
    answers: mpsc::UnboundedSender<(ServeId, Response)>,
    answered: mpsc::UnboundedReceiver<(ServeId, Response)>,
}

impl Requests {
    pub(super) fn new(store: Store) -> Self {
        let (answers, answered) = mpsc::unbounded_channel();
        Self {
            store,
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            channels: BTreeMap::new(),
            next: 0,
            answers,
            answered,
        }
    }

    /// A request of ours is on its way.
    pub(super) fn sent(&mut self, request: OutboundRequestId, id: RequestId) {
        self.sent.insert(request, id);
    }

    /// A request of ours ended: the core's name for it.
    pub(super) fn ended(&mut self, request: OutboundRequestId) -> Option<RequestId> {
        self.sent.remove(&request)
    }

    /// A peer's request came.
    pub(super) fn came(&mut self, request: InboundRequestId, channel: ResponseChannel<Response>) -> ServeId {
        let id = ServeId(self.next);
        self.next += 1;
        self.came.insert(request, id);
        self.channels.insert(id, channel);
        id
    }

    /// Where the answer goes, once.
    pub(super) fn take(&mut self, id: ServeId) -> Option<ResponseChannel<Response>> {
        self.channels.remove(&id)
    }

    /// The stream of a peer's request is closed, answered or not.
    pub(super) fn gone(&mut self, request: InboundRequestId) -> Option<ServeId> {
        let id = self.came.remove(&request)?;
        self.channels.remove(&id);
        Some(id)
    }

    /// Makes the answer to a request on another thread: reading and compressing take their time.
    pub(super) fn look_up(&self, id: ServeId, number: u64, held: Option<Block>) {
        let (store, answers) = (self.store.clone(), self.answers.clone());
        tokio::task::spawn_blocking(move || {
            let found = match held {
                Some(block) => Ok(Some(block)),
                None => store.canonical_by_number(number).map(|record| record.and_then(persist::loaded)),
            };
            let (_, response) = answer(found.as_ref().map(Option::as_ref));
            let _ = answers.send((id, response));
        });
    }

    /// The next answer that is ready.
    pub(super) async fn answered(&mut self) -> (ServeId, Response) {
        match self.answered.recv().await {
            Some(answer) => answer,
            // Never: one sender is held here.
            None => std::future::pending().await,
        }
    }
}
