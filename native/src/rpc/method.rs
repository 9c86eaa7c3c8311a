//! Descriptions of methods and subscriptions. The server and the reference page use the same ones.
//!
//! To add a method, add an entry to one of the tables (`opp2p.rs`, `admin.rs`, `optimism.rs`,
//! `eth/mod.rs`), and write the page again (`reference.rs`).

use super::context::Rpc;
use super::error::CallError;
use super::limits::CALL_TIME;
use super::params::{Answer, Arguments};
use super::sink::Started;
use futures::future::BoxFuture;
use std::time::Duration;

pub(super) type Look = fn(&Rpc, &Arguments) -> Answer;

/// A parameter of a method. Parameters are positional.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// Its format, as a phrase for the reference page.
    pub(super) form: &'static str,
    /// Whether it can be left out.
    pub(super) is_optional: bool,
}

impl Parameter {
    /// A parameter that is needed.
    pub(super) const fn new(name: &'static str, form: &'static str) -> Self {
        Self { name, form, is_optional: false }
    }

    /// A parameter that can be left out.
    pub(super) const fn optional(name: &'static str, form: &'static str) -> Self {
        Self { name, form, is_optional: true }
    }
}

/// Kinds of methods, by the way they are answered.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// A read that takes no time.
    Look(Look),
    /// A read that takes long enough to keep off the async threads, and whose answer may be
    /// megabytes.
    Large(Look),
    /// The same for calls that read blocks, which have places of their own so that they can't crowd
    /// out the operator's calls.
    Block(Look),
    /// A read that has to wait for other parties' answers.
    Ask(fn(Rpc, Arguments) -> BoxFuture<'static, Answer>),
    /// A proved read of an untrusted endpoint. Without an endpoint, the method does not exist.
    Prove,
    /// A change, which needs permission.
    Change(fn(Rpc, Arguments) -> BoxFuture<'static, Answer>),
}

/// Time limit of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// A fixed time.
    Fixed(Duration),
    /// Longer than the network accepts a block, so that a publication ends first and its error
    /// names the cause.
    Block,
}

/// A method: what it takes and returns, and how it is answered.
#[derive(Clone, Copy)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// What it does, as sentences for the reference page.
    pub(super) does: &'static str,
    /// Its result, as a phrase for the reference page.
    pub(super) result: &'static str,
    /// Its own errors, beside those that every method has: code and meaning.
    pub(super) errors: &'static [(i32, &'static str)],
    pub(super) limit: Limit,
    pub(super) work: Work,
    /// Whether data that the node does not hold is read from an untrusted endpoint and proved.
    pub(super) is_proved: bool,
}

impl Method {
    /// Describes a method without errors of its own, and with the usual time limit.
    pub(super) const fn new(
        name: &'static str,
        parameters: &'static [Parameter],
        does: &'static str,
        result: &'static str,
        work: Work,
    ) -> Self {
        let limit = Limit::Fixed(CALL_TIME);
        Self { name, parameters, does, result, errors: &[], limit, work, is_proved: false }
    }

    /// Adds errors of its own.
    pub(super) const fn fails(self, errors: &'static [(i32, &'static str)]) -> Self {
        Self { errors, ..self }
    }

    /// Data that the node does not hold is read from an untrusted endpoint and proved.
    pub(super) const fn proved(self) -> Self {
        Self { is_proved: true, ..self }
    }

    /// Sets another time limit.
    pub(super) const fn within(self, limit: Limit) -> Self {
        Self { limit, ..self }
    }
}

/// A kind of subscription, over WebSocket only.
#[derive(Clone, Copy)]
pub(super) struct Subscription {
    /// Name of the method that subscribes.
    pub(super) subscribe: &'static str,
    /// Name of the method that ends a subscription.
    pub(super) unsubscribe: &'static str,
    /// Name of its notifications.
    pub(super) notification: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// What it does, as sentences for the reference page.
    pub(super) does: &'static str,
    /// Its own errors: code and meaning.
    pub(super) errors: &'static [(i32, &'static str)],
    /// Checks the arguments, and returns what serves the subscription.
    pub(super) start: fn(&Rpc, &Arguments) -> Result<Started, CallError>,
}
