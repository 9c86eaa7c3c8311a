//! Reasons why a request fails.

use std::path::PathBuf;
use std::time::Duration;

/// Reasons why a request fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The endpoint is not a URL.
    #[error("the endpoint is not a URL: write http://HOST:PORT, https://HOST or ws://HOST:PORT")]
    Url,
    /// The endpoint's scheme is not supported.
    #[error(
        "the endpoint is on {0}://, and only http://, https://, ws:// and wss:// are spoken: give \
         one of those"
    )]
    Scheme(String),
    /// A header can't be sent.
    #[error("the header {0:?} can't be sent over HTTP: correct its name or its value")]
    Header(String),
    /// A certificate or key can't be used.
    #[error("{} {why}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// The defect, and its remedy.
        why: String,
    },
    /// The operating system's trusted authorities can't be read.
    #[error("the system's certificate authorities can't be read: install them (ca-certificates)")]
    NoRoots,
    /// The host can't be reached.
    #[error("{host} is not reached: {why}")]
    Unreached {
        /// The host.
        host: String,
        /// The innermost cause.
        why: String,
    },
    /// The request timed out.
    #[error("{host} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// The host.
        host: String,
        /// The timeout.
        after: Duration,
    },
    /// The answer exceeds the limit.
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLong {
        /// The host.
        host: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The server answered with an error status.
    #[error("{host} answers with HTTP status {status}")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
}
