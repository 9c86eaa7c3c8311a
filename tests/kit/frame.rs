//! The frame around the tests: their names, their runtimes, and their time limits.

use libtest_mimic::{Failed, Trial};
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// A test.
pub(crate) type Run = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Returns the tests of the listed modules, each with its name: `module::function`.
macro_rules! trials {
    ($($module:ident: $($name:ident),+;)+) => {
        vec![$($($crate::kit::named(
            concat!(stringify!($module), "::", stringify!($name)),
            || Box::pin($module::$name()),
        )),+),+]
    };
}
pub(crate) use trials;

pub(crate) fn named(name: &'static str, run: Run) -> (&'static str, Run) {
    (name, run)
}

/// Creates a runtime with two threads.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}

/// Makes a test that runs in a runtime of its own, and fails after `limit`.
pub(crate) fn trial<F: Future<Output = ()>>(
    name: impl Into<String>,
    limit: Duration,
    run: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let ended = runtime().block_on(async { timeout(limit, run()).await });
        ended.map_err(|_| Failed::from(format!("it does not end within {} s", limit.as_secs())))
    })
}
