//! Errors while obtaining a certificate.

use super::files::NotWritten;
use crate::http::HttpError;
use std::time::Duration;
use tokio::task::JoinError;

/// Reason why a node could not obtain a certificate, as a clause.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum AcmeError {
    /// An HTTP request failed, or its settings are unusable.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The authority answered with an error, or does not speak ACME.
    #[error("{host} answers: {why}")]
    Authority { host: String, why: String },
    /// The authority could not validate the name.
    #[error("{host} could not validate {name}: {why}")]
    NotProved { host: String, name: String, why: String },
    /// The authority does not offer the challenge that this node supports.
    #[error("{host} offers no {way} challenge for {name}")]
    NoCheck { host: String, name: String, way: &'static str },
    /// The broker did not publish the challenge response.
    #[error("the broker {host} rejected this node: {why}")]
    Broker { host: String, why: String },
    /// The certificate is unusable.
    #[error("{host} issued an unusable certificate: {why}")]
    Unusable { host: String, why: String },
    /// The challenge response could not be created.
    #[error("the response to the challenge could not be created: {0}")]
    Proof(String),
    /// The thread that accesses the files panicked or was cancelled.
    #[error("the files could not be accessed: {0}")]
    Disk(#[from] JoinError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] NotWritten),
    /// The node does not know its public address.
    #[error("this node does not know its public address: set p2p.advertise.ip")]
    NoAddress,
    /// The attempt took too long.
    #[error("{host} did not finish within {} s", after.as_secs())]
    Timeout { host: String, after: Duration },
}
