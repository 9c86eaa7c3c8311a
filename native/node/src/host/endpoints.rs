//! JSON-RPC endpoints that may have missing blocks: posts the core's requests and returns the
//! answers.
//!
//! The endpoints are not trusted. The core verifies each block by its hash.
//!
//! # Bounds
//! The core bounds the requests in progress, and sets the maximum size of each answer.

use crate::http::{HttpClient, HttpConfig, HttpError};
use alloy_primitives::Bytes;
use opp2p_core::sync::{RequestFailure, RequestId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Timeout of one request.
pub const TIMEOUT: Duration = Duration::from_secs(10);

type Answer = (RequestId, Result<Bytes, RequestFailure>);

/// The endpoints, in the operator's order.
#[derive(Debug)]
pub(super) struct Endpoints {
    endpoints: Vec<Endpoint>,
    answers: mpsc::UnboundedSender<Answer>,
    answered: mpsc::UnboundedReceiver<Answer>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    http: HttpClient,
    /// Whether the last request failed: a change of this is logged for the operator.
    is_failing: Arc<AtomicBool>,
}

impl Endpoints {
    /// Creates the clients. No endpoint is contacted.
    ///
    /// # Errors
    /// If a configuration is not valid.
    pub(super) fn new(configs: &[HttpConfig]) -> Result<Self, HttpError> {
        let endpoints = configs
            .iter()
            .map(|config| {
                Ok(Endpoint { http: HttpClient::new(config)?, is_failing: Arc::default() })
            })
            .collect::<Result<_, _>>()?;
        let (answers, answered) = mpsc::unbounded_channel();
        Ok(Self { endpoints, answers, answered })
    }

    /// Posts a request. In every case, [`Self::answered`] returns an answer.
    pub(super) fn post(&self, id: RequestId, endpoint: usize, body: String, limit: usize) {
        let answers = self.answers.clone();
        let Some(endpoint) = self.endpoints.get(endpoint).cloned() else {
            let _ = answers.send((id, Err(RequestFailure::Closed)));
            return;
        };
        tokio::spawn(async move {
            let answer = endpoint.http.post(body.into(), limit).await;
            endpoint.tell(answer.as_ref().err());
            let answer = answer.map(Bytes::from).map_err(|error| failure(&error));
            // The node may have stopped meanwhile.
            let _ = answers.send((id, answer));
        });
    }

    /// Returns the next answer.
    pub(super) async fn answered(&mut self) -> Answer {
        match self.answered.recv().await {
            Some(answer) => answer,
            // Can't happen: `self` holds a sender.
            None => std::future::pending().await,
        }
    }
}

impl Endpoint {
    fn tell(&self, error: Option<&HttpError>) {
        let was_failing = self.is_failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            // The error contains no part of the URL except the host.
            Some(error) if !was_failing => tracing::warn!(
                target: "opp2p::sync", %error,
                "a JSON-RPC endpoint for missing blocks can't be asked; it is tried again"
            ),
            Some(error) => tracing::debug!(target: "opp2p::sync", %error, "not fetched"),
            None if was_failing => {
                tracing::info!(target: "opp2p::sync", "the JSON-RPC endpoint answers again");
            }
            None => {}
        }
    }
}

const fn failure(error: &HttpError) -> RequestFailure {
    match error {
        HttpError::Timeout { .. } => RequestFailure::Timeout,
        HttpError::TooLong { .. } => RequestFailure::TooLong,
        HttpError::Status { status: 429, .. } => RequestFailure::Limited,
        _ => RequestFailure::Closed,
    }
}
