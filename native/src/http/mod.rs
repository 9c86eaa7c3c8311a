//! HTTP, as far as a node needs it: asking a server that takes JSON, and serving what is in memory.

mod call;
mod client;
mod server;

pub use call::CallError;
pub use client::{HttpClient, HttpConfig, HttpError, TlsFiles};
pub use server::{CONNECTION_TIME, CONNECTIONS, CONNECTIONS_PER_ADDRESS, HEADER_TIME};
pub(crate) use server::{PLAIN, only_get_and_head, start, text};
