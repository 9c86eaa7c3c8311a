//! What the process that runs a server provides to it.

use super::types::Reloaded;
use futures::future::BoxFuture;
use std::fmt;
use std::time::Duration;

/// Observer of calls to methods that exist.
pub trait RpcObserver: fmt::Debug + Send + Sync {
    /// Records the duration of an answered call, and whether it succeeded. The method is one of
    /// [`names`](super::names).
    fn answered(&self, method: &'static str, took: Duration, is_ok: bool);
}

/// Changes the log level while the process runs.
pub trait LogLevel: fmt::Debug + Send + Sync {
    /// Logs at this level from now on: a name such as `debug`. The error is one sentence.
    ///
    /// # Errors
    /// If there is no such level.
    fn set(&self, level: &str) -> Result<(), String>;
}

/// Reads this process's configuration again.
pub trait Reload: fmt::Debug + Send + Sync {
    /// Reads it, and puts in force what can change. The error is one sentence; nothing is changed
    /// then.
    fn reload(&self) -> BoxFuture<'static, Result<Reloaded, String>>;
}
