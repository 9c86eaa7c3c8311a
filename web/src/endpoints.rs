//! Requests to JSON-RPC endpoints for missing blocks and for wallets' reads. The package's script
//! posts them.
//!
//! The endpoints are not trusted. The core verifies each answer.
//!
//! # Bounds
//! The core bounds the pending requests and the size of each answer. The script (`js/rpc.js`) ends
//! each request within 10 s.

use crate::options::Endpoint;
use crate::tell::Told;
use crate::trouble::TroubleJs;
use alloy_primitives::Bytes;
use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures::stream::FuturesUnordered;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use opp2p_core::proof::reader::FetchId;
use opp2p_core::sync::{RequestFailure, RequestId};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortController;

/// Failure of a request: the kind for the core, and the reason for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) failure: RequestFailure,
    pub(crate) why: String,
}

impl Failed {
    fn closed(why: impl Into<String>) -> Self {
        Self { failure: RequestFailure::Closed, why: why.into() }
    }
}

/// Posts a body to an endpoint. The number is the maximum size of the answer in bytes. Dropping the
/// future aborts the request.
pub(crate) type Post =
    Box<dyn Fn(&Endpoint, &str, usize) -> LocalBoxFuture<'static, Result<Vec<u8>, Failed>>>;

/// Origin and id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The search for missing blocks.
    Sync(RequestId),
    /// The reads of wallets.
    Read(FetchId),
}

/// A request that ended.
pub(crate) struct Answered<Id = Asked> {
    pub(crate) id: Id,
    pub(crate) result: Result<Bytes, Failed>,
    /// Report to the page, if the first endpoint began to fail or the last one answers again.
    pub(crate) told: Option<Box<Told>>,
}

/// The endpoints, in the page's order.
pub(crate) struct Endpoints<Id = Asked> {
    endpoints: Vec<(Endpoint, Standing)>,
    post: Post,
    under_way: FuturesUnordered<LocalBoxFuture<'static, Ended<Id>>>,
    /// Abort handles of the pending requests, which are few.
    handles: Vec<(Id, AbortHandle)>,
}

/// A request's id, endpoint, and result, or `None` if it was cancelled.
type Ended<Id> = (Id, usize, Option<Result<Vec<u8>, Failed>>);

/// Whether the last request to an endpoint succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Answers,
    /// Times of the first and the newest failure, in seconds since 1970, and its reason.
    Fails { since: u64, last: u64, why: String },
}

impl<Id: Copy + PartialEq + 'static> Endpoints<Id> {
    pub(crate) fn new(endpoints: Vec<Endpoint>, post: Post) -> Self {
        let endpoints =
            endpoints.into_iter().map(|endpoint| (endpoint, Standing::default())).collect();
        let (under_way, handles) = (FuturesUnordered::new(), Vec::new());
        Self { endpoints, post, under_way, handles }
    }

    /// Returns the host of an endpoint, with the port if its URL has one.
    pub(crate) fn host(&self, endpoint: usize) -> &str {
        self.endpoints.get(endpoint).map_or("", |(endpoint, _)| endpoint.host())
    }

    /// Posts a request. [`Self::answered`] returns its result, unless it is cancelled.
    pub(crate) fn post(&mut self, id: Id, endpoint: usize, body: &str, limit: usize) {
        let answer = match self.endpoints.get(endpoint) {
            Some((to, _)) => (self.post)(to, body, limit),
            None => Box::pin(async { Err(Failed::closed("it is not in the list")) }),
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.push((id, handle));
        let answer = Abortable::new(answer, registration);
        self.under_way.push(Box::pin(async move {
            let Ok(answer) = answer.await else { return (id, endpoint, None) };
            let answer = answer.and_then(|bytes| match bytes.len() {
                length if length > limit => Err(Failed {
                    failure: RequestFailure::TooLong,
                    why: format!("its answer is longer than {limit} bytes"),
                }),
                _ => Ok(bytes),
            });
            (id, endpoint, Some(answer))
        }));
    }

    /// Cancels a pending request.
    pub(crate) fn cancel(&mut self, id: Id) {
        if let Some(handle) = self.forget(id) {
            handle.abort();
        }
    }

    fn forget(&mut self, id: Id) -> Option<AbortHandle> {
        let position = self.handles.iter().position(|(other, _)| *other == id)?;
        Some(self.handles.swap_remove(position).1)
    }

    /// Returns the next answer. Stays pending while no request is under way. `now` gives the time
    /// in seconds since 1970.
    pub(crate) async fn answered(&mut self, now: impl Fn() -> u64) -> Answered<Id> {
        let (id, endpoint, answer) = loop {
            match self.under_way.next().await {
                Some((id, endpoint, Some(answer))) => break (id, endpoint, answer),
                // It was cancelled.
                Some((_, _, None)) => {}
                None => return std::future::pending().await,
            }
        };
        self.forget(id);
        let before = self.trouble();
        self.judge(endpoint, answer.as_ref().err(), now());
        let told = match (before, self.trouble()) {
            (None, Some(began)) => Some(Box::new(Told::Trouble(began))),
            (Some(ended), None) => Some(Box::new(Told::TroubleEnded(ended))),
            _ => None,
        };
        Answered { id, result: answer.map(Bytes::from), told }
    }

    fn judge(&mut self, endpoint: usize, failed: Option<&Failed>, now: u64) {
        let Some((_, standing)) = self.endpoints.get_mut(endpoint) else { return };
        *standing = match (failed, &*standing) {
            (None, _) => Standing::Answers,
            (Some(Failed { why, .. }), Standing::Answers) => {
                Standing::Fails { since: now, last: now, why: why.clone() }
            }
            (Some(Failed { why, .. }), Standing::Fails { since, .. }) => {
                Standing::Fails { since: *since, last: now, why: why.clone() }
            }
        };
    }

    /// Returns the entry of the trouble list, which all failing endpoints share.
    pub(crate) fn trouble(&self) -> Option<TroubleJs> {
        let failing: Vec<(u64, u64, String)> = self
            .endpoints
            .iter()
            .filter_map(|(endpoint, standing)| match standing {
                Standing::Answers => None,
                Standing::Fails { since, last, why } => {
                    Some((*since, *last, format!("{} ({why})", endpoint.host())))
                }
            })
            .collect();
        let since = failing.iter().map(|(since, ..)| *since).min()?;
        let last = failing.iter().map(|(_, last, _)| *last).max()?;
        let names: Vec<String> = failing.into_iter().map(|(.., name)| name).collect();
        let (subject, verb) = match names.len() {
            1 => ("The JSON-RPC endpoint", "gives"),
            _ => ("The JSON-RPC endpoints", "give"),
        };
        let text = format!("{subject} {} {verb} no answer", names.join(", "));
        Some(TroubleJs::rpc(text, since, last))
    }
}

/// Aborts a request of the script on drop. A request that has ended is not affected.
struct Cancel(AbortController);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Posts by the package's script: `post(url, body, limit, signal)` of `js/rpc.js`.
pub(crate) fn by_script(post: Function) -> Post {
    Box::new(move |endpoint: &Endpoint, body: &str, limit: usize| {
        // A limit is at most 32 MiB.
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let (url, body) = (endpoint.url().into(), body.into());
        let cancel = AbortController::new().map(Cancel);
        let promise = cancel.and_then(|cancel| {
            let signal = cancel.0.signal();
            let limit = JsValue::from(limit);
            Ok((cancel, post.call4(&JsValue::NULL, &url, &body, &limit, &signal)?))
        });
        Box::pin(async move {
            let broken = |_| Failed::closed("the script can't post");
            let (_cancel, promise) = promise.map_err(broken)?;
            let promise = Promise::resolve(&promise);
            read(&JsFuture::from(promise).await.map_err(broken)?)
        })
    })
}

/// Reads the value that the script's promise resolved to: bytes, or `{ failure, why }`.
fn read(answer: &JsValue) -> Result<Vec<u8>, Failed> {
    if let Some(bytes) = answer.dyn_ref::<Uint8Array>() {
        return Ok(bytes.to_vec());
    }
    let field =
        |name: &str| Reflect::get(answer, &name.into()).ok().and_then(|value| value.as_string());
    let why = field("why").unwrap_or_else(|| "the script does not say why".into());
    Err(Failed { failure: failure(&field("failure").unwrap_or_default()), why })
}

/// Returns the failure that the script calls `name`.
fn failure(name: &str) -> RequestFailure {
    match name {
        "timeout" => RequestFailure::Timeout,
        "too-long" => RequestFailure::TooLong,
        "limited" => RequestFailure::Limited,
        _ => RequestFailure::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::executor::block_on;
    use serde_json::Value;

    const LIMIT: usize = 10;

    /// Two endpoints that answer by the body: a number is an answer of that many bytes, anything
    /// else a failure.
    fn endpoints() -> Endpoints<u8> {
        let urls = ["https://one.example/secret-key", "http://127.0.0.1:8545"];
        let endpoints = urls.map(|url| Endpoint::read(url, false).expect("a URL"));
        let post: Post = Box::new(|_, body, _| {
            let answer = match body.parse() {
                Ok(length) => Ok(vec![7; length]),
                Err(_) => Err(Failed { failure: failure(body), why: format!("it is {body}") }),
            };
            Box::pin(async move { answer })
        });
        Endpoints::new(endpoints.into(), post)
    }

    #[test]
    fn every_request_ends_with_an_answer_or_a_failure() {
        let mut endpoints = endpoints();
        assert!(endpoints.answered(|| 0).now_or_never().is_none(), "nothing is under way");
        for (body, endpoint, expected) in [
            ("10", 0, Ok(vec![7; LIMIT].into())),
            ("0", 1, Ok(Bytes::new())),
            ("11", 0, Err(RequestFailure::TooLong)),
            ("too-long", 0, Err(RequestFailure::TooLong)),
            ("timeout", 1, Err(RequestFailure::Timeout)),
            ("limited", 1, Err(RequestFailure::Limited)),
            ("closed", 0, Err(RequestFailure::Closed)),
            ("another word", 0, Err(RequestFailure::Closed)),
            ("1", 2, Err(RequestFailure::Closed)),
        ] {
            endpoints.post(9, endpoint, body, LIMIT);
            let answered = block_on(endpoints.answered(|| 0));
            let result = answered.result.map_err(|failed| failed.failure);
            assert_eq!((answered.id, result), (9, expected), "{body}");
        }
    }

    #[test]
    fn a_cancelled_request_ends_without_an_answer_and_is_not_a_failure() {
        let mut endpoints = endpoints();
        endpoints.post(1, 0, "timeout", LIMIT);
        endpoints.post(2, 0, "closed", LIMIT);
        endpoints.post(3, 1, "5", LIMIT);
        endpoints.cancel(1);
        endpoints.cancel(1);
        endpoints.cancel(9);
        endpoints.cancel(2);
        let answered = block_on(endpoints.answered(|| 0));
        assert_eq!((answered.id, answered.result), (3, Ok(vec![7; 5].into())));
        assert!(endpoints.answered(|| 0).now_or_never().is_none());
        assert!(endpoints.handles.is_empty() && endpoints.under_way.is_empty());
        assert!(endpoints.trouble().is_none());
    }

    #[test]
    fn the_page_learns_of_the_first_failing_endpoint_and_of_full_recovery() {
        let mut endpoints = endpoints();
        let mut heard = Vec::new();
        let steps =
            [(0, "1"), (0, "timeout"), (0, "closed"), (1, "limited"), (0, "1"), (1, "1"), (1, "1")];
        for (now, (endpoint, body)) in (100..).zip(steps) {
            endpoints.post(0, endpoint, body, LIMIT);
            let told = block_on(endpoints.answered(|| now)).told;
            let trouble = endpoints.trouble().map(|TroubleJs { text, since, last, .. }| {
                assert!(!text.contains("secret-key"), "{text}");
                (text, since, last)
            });
            heard.push((serde_json::to_value(told).unwrap()["kind"].clone(), trouble));
        }
        let one = |why: &str| format!("The JSON-RPC endpoint one.example ({why}) gives no answer");
        let other = "127.0.0.1:8545 (it is limited)";
        let both =
            format!("The JSON-RPC endpoints one.example (it is closed), {other} give no answer");
        let expected = [
            (Value::Null, None),
            ("trouble".into(), Some((one("it is timeout"), 101, 101))),
            (Value::Null, Some((one("it is closed"), 101, 102))),
            (Value::Null, Some((both, 101, 103))),
            (
                Value::Null,
                Some((format!("The JSON-RPC endpoint {other} gives no answer"), 103, 103)),
            ),
            ("trouble-ended".into(), None),
            (Value::Null, None),
        ];
        assert_eq!(heard, expected);
    }
}
