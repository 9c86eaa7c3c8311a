//! One ACME order, from the account to the certificate chain (RFC 8555).
//!
//! # Bounds
//! Two waits for the authority, of at most 90 s each. The caller bounds the whole order.

use super::AcmeConfig;
use super::broker::Broker;
use super::client::AcmeHttp;
use super::error::AcmeError;
use super::files::Kept;
use super::proof::proof;
use crate::host::certificate::Certificate;
use crate::http::{HttpError, HttpSender};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Polling of an order while the authority works: the pauses double.
const POLLING: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// Problem type for an unknown account.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Challenge by which the authority validates a name.
pub(super) enum Way<'a> {
    /// `tls-alpn-01`, answered by the browsers' listener.
    Tls(&'a Certificate),
    /// `dns-01`, answered by the broker, which connects to one of the addresses.
    Dns { broker: &'a Broker, key: &'a Keypair, addresses: Vec<Multiaddr> },
}

impl Way<'_> {
    const fn challenge(&self) -> (ChallengeType, &'static str) {
        match self {
            Self::Tls(_) => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
            Self::Dns { .. } => (ChallengeType::Dns01, "dns-01"),
        }
    }
}

/// An authority with its files.
#[derive(Debug)]
pub(super) struct Authority<'a> {
    config: &'a AcmeConfig,
    kept: &'a Kept,
    http: &'a HttpSender,
    host: &'a str,
}

impl<'a> Authority<'a> {
    pub(super) const fn new(
        config: &'a AcmeConfig,
        kept: &'a Kept,
        http: &'a HttpSender,
        host: &'a str,
    ) -> Self {
        Self { config, kept, http, host }
    }

    /// Obtains a certificate for `name`. Returns its key and chain, both as PEM.
    pub(super) async fn obtain(
        &self,
        name: &str,
        way: &Way<'_>,
    ) -> Result<(String, String), AcmeError> {
        let mut order = self.order(name).await?;
        self.prove(&mut order, name, way).await?;
        let key = order.finalize().await.map_err(|error| self.failed(error))?;
        let chain = order.poll_certificate(&POLLING).await.map_err(|error| self.failed(error))?;
        Ok((key, chain))
    }

    /// Creates an order, with a new account if the authority does not know the stored one.
    async fn order(&self, name: &str) -> Result<Order, AcmeError> {
        let names = [Identifier::Dns(name.to_owned())];
        let new = NewOrder::new(&names);
        if let Some(account) = self.known_account().await? {
            match account.new_order(&new).await {
                Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {}
                result => return result.map_err(|error| self.failed(error)),
            }
        }
        let account = self.new_account().await?;
        account.new_order(&new).await.map_err(|error| self.failed(error))
    }

    async fn known_account(&self) -> Result<Option<Account>, AcmeError> {
        let kept = self.kept.clone();
        let Some(file) = spawn_blocking(move || kept.account()).await? else { return Ok(None) };
        let account = match serde_json::from_slice::<AccountCredentials>(&file) {
            Ok(credentials) => {
                let builder = Account::builder_with_http(Box::new(AcmeHttp(self.http.clone())));
                builder.from_credentials(credentials).await
            }
            Err(_) => Err(Error::Str("a part of the file")),
        };
        match account {
            Ok(account) => Ok(Some(account)),
            Err(error) if is_damage(&error) => {
                let host = self.host;
                tracing::warn!("the account file for {host} is damaged: a new account is created");
                Ok(None)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn new_account(&self) -> Result<Account, AcmeError> {
        let contact = self.config.contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(AcmeHttp(self.http.clone())));
        let made = builder.create(&new, self.config.directory.clone(), None).await;
        let (account, credentials) = made.map_err(|error| self.failed(error))?;
        let text = serde_json::to_vec(&credentials).map_err(|error| self.failed(error.into()))?;
        let files = self.kept.clone();
        spawn_blocking(move || files.keep_account(&text)).await??;
        Ok(account)
    }

    /// Completes the challenges of the order.
    async fn prove(&self, order: &mut Order, name: &str, way: &Way<'_>) -> Result<(), AcmeError> {
        // Keeps the responses in the listener until the authority has validated the name.
        let mut shown = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.failed(error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let (kind, word) = way.challenge();
            let Some(mut challenge) = authorization.challenge(kind) else {
                let (host, name) = (self.host.to_owned(), name.to_owned());
                return Err(AcmeError::NoCheck { host, name, way: word });
            };
            let expected = challenge.key_authorization();
            match way {
                Way::Tls(certificate) => {
                    let proof = proof(name, expected.digest().as_ref())?;
                    shown.push(certificate.prove(name, proof));
                }
                Way::Dns { broker, key, addresses } => {
                    broker.publish(key, &expected.dns_value(), addresses).await?;
                }
            }
            challenge.set_ready().await.map_err(|error| self.failed(error))?;
        }
        let why = match order.poll_ready(&POLLING).await {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => return Ok(()),
            Ok(_) => None,
            Err(Error::Api(problem)) => Some(words(&problem)),
            Err(error) => return Err(self.failed(error)),
        };
        let why = refusal(order).await.or(why).unwrap_or_else(|| "it gave no reason".to_owned());
        let (host, name) = (self.host.to_owned(), name.to_owned());
        Err(AcmeError::NotProved { host, name, why })
    }

    fn failed(&self, error: Error) -> AcmeError {
        let host = self.host.to_owned();
        match error {
            Error::Api(problem) => AcmeError::Authority { host, why: words(&problem) },
            Error::Json(error) => {
                AcmeError::Authority { host, why: format!("this is not ACME: {error}") }
            }
            Error::Other(error) => match error.downcast::<HttpError>() {
                Ok(error) => AcmeError::Http(*error),
                Err(error) => AcmeError::Authority { host, why: error.to_string() },
            },
            error => AcmeError::Authority { host, why: error.to_string() },
        }
    }
}

/// Returns `true` if the cause is the account file, and not the authority.
const fn is_damage(error: &Error) -> bool {
    matches!(error, Error::KeyRejected | Error::Crypto | Error::Str(_))
}

/// Returns the authority's reason for a failed validation, which is part of the challenge object.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let error = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = error {
            return Some(words(problem));
        }
    }
    None
}

/// Returns the detail of a problem, or else its type, with the first subproblem.
fn words(problem: &Problem) -> String {
    let detail = |detail: &Option<String>, kind: &Option<String>| {
        detail.clone().or_else(|| kind.clone()).unwrap_or_else(|| "an error".to_owned())
    };
    let mut words = detail(&problem.detail, &problem.r#type);
    if let Some(part) = problem.subproblems.first() {
        words += &format!(" ({})", detail(&part.detail, &part.r#type));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_cited_in_its_own_words() {
        let problem = |text| words(&serde_json::from_str(text).expect("a problem"));
        assert_eq!(problem(r#"{"detail":"no such name","type":"urn:x"}"#), "no such name");
        assert_eq!(problem(r#"{"type":"urn:x"}"#), "urn:x");
        assert_eq!(problem("{}"), "an error");
        let parts = r#"{"detail":"two","subproblems":[{"detail":"a.example is blocked"}]}"#;
        assert_eq!(problem(parts), "two (a.example is blocked)");
    }
}
