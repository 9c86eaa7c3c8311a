//! HTTP, as far as a node needs it: asking a server that takes JSON.

mod client;

pub use client::{HttpClient, HttpConfig, HttpError, TlsFiles};
