//! The methods by name: their arguments, permissions and time limits.

use super::access::Caller;
use super::context::Rpc;
use super::error::{CallError, TIMEOUT, not_found};
use super::method::{Limit, Method, Work};
use super::params::{Answer, Arguments, failed};
use super::proofs::PROOF_TIME;
use super::{admin, eth, opp2p, optimism};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// The tables of methods, in the order of the reference page.
pub(super) fn all() -> impl Iterator<Item = &'static Method> {
    const OPP2P: &[Method] = &opp2p::METHODS;
    const ETH: &[Method] = &eth::METHODS;
    const PROVED: &[Method] = &eth::proved::METHODS;
    const CALLS: &[Method] = eth::proved::CALLS;
    const OPTIMISM: &[Method] = &optimism::METHODS;
    const ADMIN: &[Method] = &admin::METHODS;
    [OPP2P, OPTIMISM, ADMIN, ETH, PROVED, CALLS].into_iter().flatten()
}

static BY_NAME: LazyLock<BTreeMap<&'static str, &'static Method>> =
    LazyLock::new(|| all().map(|method| (method.name, method)).collect());

/// Returns the names of all methods except subscriptions: the possible values of a metric's label.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|method| method.name)
}

impl Rpc {
    /// Answers one call. A large answer comes with a place, which is free again once the answer is
    /// sent and the place dropped.
    pub(super) async fn call(
        &self,
        name: &str,
        params: Option<&str>,
        caller: Caller,
    ) -> (Answer, Option<OwnedSemaphorePermit>) {
        let Some(method) = BY_NAME.get(name) else { return (Err(not_found(name)), None) };
        let start = Instant::now();
        let (answer, place) = self.answer(method, params, caller.may_change).await;
        if let Some(observer) = &self.observer {
            observer.answered(method.name, start.elapsed(), answer.is_ok());
        }
        (answer, place)
    }

    async fn answer(
        &self,
        method: &Method,
        params: Option<&str>,
        may_change: bool,
    ) -> (Answer, Option<OwnedSemaphorePermit>) {
        // A caller without permission to change something must not learn the shape of a change
        // either.
        if matches!(method.work, Work::Change(_)) && !may_change {
            return (Err(failed(NOT_ALLOWED)), None);
        }
        let given = match Arguments::read(params, method.parameters.len()) {
            Ok(given) => given,
            Err(error) => return (Err(error), None),
        };
        match method.work {
            Work::Look(look) => (look(self, &given), None),
            Work::Ask(work) | Work::Change(work) => {
                let limit = self.limit(method.limit);
                (within(limit, method.name, work(self.clone(), given)).await, None)
            }
            Work::Large(look) => self.apart(&self.large, move |rpc| look(rpc, &given)).await,
            Work::Prove => {
                let answer = match &self.proofs {
                    Some(proofs) => {
                        let work = proofs.call(method.name, given.to_list());
                        within(self.limit(method.limit), method.name, work).await
                    }
                    None => Err(not_found(method.name)),
                };
                (answer, None)
            }
            Work::Block(look) => {
                let proofs = self.proofs.as_ref().filter(|_| method.is_proved);
                let proofs = proofs.map(|proofs| (proofs, given.to_list()));
                let (answer, place) = self.apart(&self.blocks, move |rpc| look(rpc, &given)).await;
                match proofs {
                    Some((proofs, params)) if is_null(&answer) => {
                        drop(place);
                        let work = proofs.call(method.name, params);
                        (within(PROOF_TIME, method.name, work).await, None)
                    }
                    _ => (answer, place),
                }
            }
        }
    }

    fn limit(&self, limit: Limit) -> Duration {
        match limit {
            Limit::Fixed(limit) => limit,
            Limit::Block => self.block_limit(),
        }
    }
}

/// Returns `true` for the answer `null`: the node does not hold the data.
fn is_null(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.get() == "null")
}

/// Ends a call that takes too long with an error.
async fn within(limit: Duration, name: &str, work: impl Future<Output = Answer>) -> Answer {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let text = format!("{name} took longer than {} s", limit.as_secs());
        Err(CallError::new(TIMEOUT, text))
    })
}

/// The answer to a call that changes something, from a caller that may only read.
pub(crate) const NOT_ALLOWED: &str = "this is an admin method: start the node with the setting \
                                      rpc.enable-admin, or with rpc.token.path and send its token \
                                      as Authorization: Bearer TOKEN";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::subscribe;
    use futures::future::pending;

    #[test]
    fn method_names_are_unique() {
        assert_eq!(BY_NAME.len(), all().count());
        assert!(subscribe::SUBSCRIPTIONS.iter().all(|kind| {
            [kind.subscribe, kind.unsubscribe].iter().all(|name| !BY_NAME.contains_key(name))
        }));
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_gets_a_timeout_error() {
        let answer = within(Duration::from_millis(1), "opp2p_self", pending()).await;
        let expected = CallError::new(TIMEOUT, "opp2p_self took longer than 0 s");
        assert_eq!(answer.unwrap_err(), expected);
    }
}
