//! Values whose end takes time, such as threads that still write to the disk.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A value that is dropped on a thread for blocking work, since that waits: on a task it would hold
/// one of the few threads that carry the network. Outside of a runtime it is dropped in place.
#[derive(Debug)]
pub(super) struct OffRuntime<T: Send + 'static> {
    /// `None` only while this is being dropped.
    held: Option<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    value: T,
    /// Dropped after the value.
    _end: mpsc::Sender<Infallible>,
}

impl<T: Send + 'static> OffRuntime<T> {
    /// Wraps a value. The channel of `end` closes when all values with that channel are dropped.
    pub(super) fn new(value: T, end: &mpsc::Sender<Infallible>) -> Self {
        Self { held: Some(Held { value, _end: end.clone() }) }
    }

    /// Drops the value in place, and waits for its end.
    pub(super) fn end(mut self) {
        drop(self.held.take());
    }
}

const HELD: &str = "a value is held until it is dropped";

impl<T: Send + 'static> Deref for OffRuntime<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held.as_ref().expect(HELD).value
    }
}

impl<T: Send + 'static> DerefMut for OffRuntime<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.as_mut().expect(HELD).value
    }
}

impl<T: Send + 'static> Drop for OffRuntime<T> {
    fn drop(&mut self) {
        if let (Some(held), Ok(runtime)) = (self.held.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(held)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as threads;
    use std::time::Duration;

    /// Waits, when it is dropped, until it is let go.
    struct Slow(threads::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.recv_timeout(Duration::from_secs(60)).expect("the runtime goes on");
        }
    }

    #[tokio::test]
    async fn a_slow_drop_does_not_block_the_runtime() {
        let (let_go, waits) = threads::channel();
        let (end, mut ended) = mpsc::channel(1);
        let slow = OffRuntime::new(Slow(waits), &end);
        drop(end);
        tokio::spawn(async move { drop(slow) }).await.expect("no panic");
        // There is one thread, which the value would hold.
        let_go.send(()).expect("it waits");
        assert!(ended.recv().await.is_none());
    }

    #[test]
    fn outside_a_runtime_the_value_is_dropped_at_once() {
        let (end, mut ended) = mpsc::channel(1);
        let value = OffRuntime::new(vec![1], &end);
        drop((end, value));
        assert!(ended.blocking_recv().is_none());
    }
}
