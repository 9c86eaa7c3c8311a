//! Reasons why a node obtains no certificate.

use super::files::NotWritten;
use crate::http::HttpError;
use std::time::Duration;
use tokio::task::JoinError;

/// Reason why a node obtains no certificate, as a clause that follows "no certificate".
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum AcmeError {
    /// The authority's or the broker's address, or the file of authorities, can't be used.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The authority's answer is an error, or is not ACME.
    #[error("{host} answers: {why}")]
    Authority { host: String, why: String },
    /// The authority could not check the name.
    #[error("{host} could not check {name}: {why}")]
    NotProved { host: String, name: String, why: String },
    /// The authority offers no check that this node can pass.
    #[error("{host} offers no check of {name} by {way}")]
    NoCheck { host: String, name: String, way: &'static str },
    /// The broker does not publish the proof.
    #[error("the broker {host} refuses this node: {why}")]
    Broker { host: String, why: String },
    /// The certificate can't be used.
    #[error("{host} issued a certificate that can't be used: {why}")]
    Unusable { host: String, why: String },
    /// The proof can't be made.
    #[error("the proof for the authority can't be made: {0}")]
    Proof(String),
    /// The disk's part of the work did not end.
    #[error("the files can't be used: {0}")]
    Disk(#[from] JoinError),
    /// A file can't be written.
    #[error(transparent)]
    File(#[from] NotWritten),
    /// The node does not know its address.
    #[error("this node does not know its public address: set p2p.advertise.ip")]
    NoAddress,
    /// The attempt took too long.
    #[error("{host} did not finish within {} s", after.as_secs())]
    Timeout { host: String, after: Duration },
}
