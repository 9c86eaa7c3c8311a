//! JSON-RPC 2.0: calls, batches and notifications, the same over HTTP and WebSocket.
//!
//! An id is a string, a number of any size, or `null`, and is answered as the caller wrote it. A
//! call whose id is of another type, or that has two ids, is an invalid request. A call without an
//! id is a notification: it is carried out, and not answered. The calls of a batch are answered in
//! order, one after the other.
//!
//! # Bounds
//! The settings bound a request and the calls of a batch. [`MAX_ANSWER`] bounds an answer, and a
//! batch's answers in all.

use super::access::Caller;
use super::context::Rpc;
use super::error::{
    ANSWER_TOO_LONG, BATCH_ANSWER_TOO_LONG, BATCH_TOO_LONG, CallError, FAILED, INVALID_REQUEST,
    NEEDS_SOCKET, PARSE,
};
use super::limits::MAX_ANSWER;
use super::link::Link;
use super::method::Subscription;
use super::params::{Answer, Arguments, raw};
use super::sink::Started;
use super::subscribe::SUBSCRIPTIONS;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use tokio::sync::OwnedSemaphorePermit;

/// The answer to a text.
#[derive(Default)]
pub(super) struct Reply {
    /// `None` if the text has only notifications.
    pub(super) text: Option<String>,
    /// Places of large answers, to be held until the text is sent.
    pub(super) places: Vec<OwnedSemaphorePermit>,
    /// Subscriptions to be started after the text is sent.
    pub(super) subscriptions: Vec<Subscribed>,
}

/// A subscription that was just answered.
pub(super) struct Subscribed {
    pub(super) kind: &'static Subscription,
    pub(super) id: String,
    pub(super) started: Started,
}

/// JSON-RPC's version.
#[derive(Deserialize)]
enum Version {
    #[serde(rename = "2.0")]
    Two,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(rename = "jsonrpc")]
    _version: Version,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// The part of an invalid call that may still identify it.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// Tells `null` from a missing field.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Returns `true` if the id is a string, a number or `null`.
fn is_legal(id: &RawValue) -> bool {
    id.get().starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9' | 'n'))
}

impl<'a> Call<'a> {
    /// Parses a call. The error is the id to answer with.
    fn read(text: &'a str) -> Result<Self, &'a str> {
        if !text.starts_with('{') {
            return Err("null");
        }
        match serde_json::from_str::<Self>(text) {
            Ok(call) if call.id.is_none_or(is_legal) => Ok(call),
            Ok(_) => Err("null"),
            Err(_) => {
                let named = serde_json::from_str::<Named<'_>>(text).ok();
                let id = named.and_then(|named| named.id).filter(|id| is_legal(id));
                Err(id.map_or("null", RawValue::get))
            }
        }
    }
}

/// Returns the text of one answer.
fn response(id: &str, answer: &Result<Box<RawValue>, CallError>) -> String {
    match answer {
        Ok(result) => {
            let result = result.get();
            let mut text = String::with_capacity(id.len() + result.len() + 40);
            for part in [r#"{"jsonrpc":"2.0","id":"#, id, r#","result":"#, result, "}"] {
                text.push_str(part);
            }
            text
        }
        Err(error) => {
            let error = serde_json::to_string(error).unwrap_or_default();
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
        }
    }
}

/// Returns the answer to a text that is not a call at all.
pub(super) fn refusal(code: i32, why: &str) -> String {
    response("null", &Err(CallError::new(code, why)))
}

fn invalid() -> CallError {
    CallError::new(INVALID_REQUEST, "Invalid request")
}

/// Answers texts of one caller.
pub(super) struct Dispatcher<'a> {
    pub(super) rpc: &'a Rpc,
    pub(super) caller: Caller,
    /// The WebSocket that the texts come over; `None` over HTTP.
    pub(super) link: Option<&'a Link>,
    /// Maximum number of calls in one batch.
    pub(super) most: usize,
}

impl Dispatcher<'_> {
    /// Answers a text.
    pub(super) async fn answer(&self, text: &[u8]) -> Reply {
        let only = |text| Reply { text: Some(text), ..Reply::default() };
        let text = text.trim_ascii();
        if text.first() == Some(&b'[') {
            return match serde_json::from_slice::<Vec<&RawValue>>(text) {
                Ok(calls) if calls.is_empty() => only(response("null", &Err(invalid()))),
                Ok(calls) if calls.len() > self.most => {
                    let why = format!("a batch has at most {} calls", self.most);
                    only(refusal(BATCH_TOO_LONG, &why))
                }
                Ok(calls) => self.batch(calls).await,
                Err(_) => only(refusal(PARSE, "Parse error")),
            };
        }
        match serde_json::from_slice::<&RawValue>(text) {
            Ok(call) => {
                let mut reply = Reply::default();
                reply.text = self.one(call.get(), &mut reply).await;
                reply
            }
            Err(_) => only(refusal(PARSE, "Parse error")),
        }
    }

    async fn batch(&self, calls: Vec<&RawValue>) -> Reply {
        let (mut reply, mut all) = (Reply::default(), String::new());
        for call in calls {
            let Some(answer) = self.one(call.get(), &mut reply).await else { continue };
            // A batch that held all places would wait for itself.
            reply.places.clear();
            all.push(if all.is_empty() { '[' } else { ',' });
            all.push_str(&answer);
            if all.len() >= MAX_ANSWER as usize {
                let subscribed = std::mem::take(&mut reply.subscriptions);
                if let Some(link) = self.link {
                    subscribed.iter().for_each(|each| link.release(&each.id));
                }
                let why = format!("a batch's answers have at most {MAX_ANSWER} bytes in all");
                reply.text = Some(refusal(BATCH_ANSWER_TOO_LONG, &why));
                return reply;
            }
        }
        if !all.is_empty() {
            all.push(']');
            reply.text = Some(all);
        }
        reply
    }

    /// Answers one call; `None` for a notification.
    async fn one(&self, text: &str, reply: &mut Reply) -> Option<String> {
        let Call { id, method, params, .. } = match Call::read(text) {
            Ok(call) => call,
            Err(id) => return Some(response(id, &Err(invalid()))),
        };
        let params = params.map(RawValue::get);
        let by_name = |kind: &&Subscription| {
            kind.subscribe == method.as_ref() || kind.unsubscribe == method.as_ref()
        };
        let answer = match SUBSCRIPTIONS.iter().find(by_name) {
            // Its subscriber would never learn the subscription's id.
            Some(_) if id.is_none() => return None,
            Some(kind) => match self.link {
                None => {
                    let why = "notifications not supported: use a WebSocket";
                    Err(CallError::new(NEEDS_SOCKET, why))
                }
                Some(link) if kind.subscribe == method.as_ref() => {
                    self.subscribe(link, kind, params, reply)
                }
                Some(link) => unsubscribe(link, kind, params),
            },
            None => {
                let (answer, place) = self.rpc.call(&method, params, self.caller).await;
                reply.places.extend(place);
                answer
            }
        };
        let answer = answer.and_then(|result| match result.get().len() <= MAX_ANSWER as usize {
            true => Ok(result),
            false => {
                let why = format!("the answer has more than {MAX_ANSWER} bytes");
                Err(CallError::new(ANSWER_TOO_LONG, why))
            }
        });
        Some(response(id?.get(), &answer))
    }

    fn subscribe(
        &self,
        link: &Link,
        kind: &'static Subscription,
        params: Option<&str>,
        reply: &mut Reply,
    ) -> Answer {
        let given = Arguments::read(params, kind.parameters.len())?;
        let id = link.reserve(kind)?;
        let started = (kind.start)(self.rpc, &given).inspect_err(|_| link.release(&id))?;
        let answer = raw(&id);
        reply.subscriptions.push(Subscribed { kind, id, started });
        answer
    }
}

fn unsubscribe(link: &Link, kind: &'static Subscription, params: Option<&str>) -> Answer {
    let given = Arguments::read(params, 1)?;
    match link.unsubscribe(kind, given.word(0)?) {
        true => raw(&true),
        // geth's text.
        false => Err(CallError::new(FAILED, "subscription not found")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_string_a_number_or_null() {
        for id in ["-1", "1.5", "-0", "1e2", "18446744073709551616", "null", r#""""#, r#""a\"b""#] {
            let text = format!(r#"{{"jsonrpc":"2.0", "id" : {id} ,"method":"a"}}"#);
            let call = Call::read(&text).ok().unwrap();
            assert_eq!(call.id.unwrap().get(), id);
        }
        for id in ["true", "{}", "[1]", "false"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#);
            assert_eq!(Call::read(&text).err(), Some("null"), "{id}");
        }
        let note = Call::read(r#"{"jsonrpc":"2.0","method":"a\u0062"}"#).ok().unwrap();
        assert!(note.id.is_none() && note.params.is_none() && note.method == "ab");
    }

    #[test]
    fn an_invalid_call_is_answered_with_its_id_if_it_has_one() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#, "null"),
            (r#"{"jsonrpc":"1.0","id":-7,"method":"a"}"#, "-7"),
            (r#"{"jsonrpc":"2.0","id":"x"}"#, r#""x""#),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "1"),
            (r#"["2.0",1,"a",[]]"#, "null"),
            ("{}", "null"),
            ("7", "null"),
        ] {
            assert_eq!(Call::read(text).err(), Some(id), "{text}");
        }
    }

    #[test]
    fn answers_are_json() {
        let result = RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
        let text = response("1.50", &Ok(result));
        assert_eq!(text, r#"{"jsonrpc":"2.0","id":1.50,"result":{"a":1}}"#);
        let text = response("null", &Err(CallError::new(-32000, "a \"quoted\" text")));
        let expected =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"a \"quoted\" text"}}"#;
        assert_eq!(text, expected);
    }
}
