//! HTTP for a node: a JSON client, also over a WebSocket, and a server of in-memory content.

mod call;
mod client;
mod error;
mod sender;
mod server;
mod ws;

pub use call::CallError;
pub use client::{HttpClient, HttpConfig, TlsFiles};
pub use error::HttpError;
pub use sender::HttpSender;
pub use server::{
    Answer, Answering, CONNECTION_TIME, CONNECTIONS, CONNECTIONS_PER_ADDRESS, HEADER_TIME,
};
pub use server::{PLAIN, only_get_and_head, start, text};
