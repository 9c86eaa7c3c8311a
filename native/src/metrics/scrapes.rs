//! The text of the metrics, shared by scrapes at about the same time.

use hyper::body::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Time for which a text is reused.
pub(super) const CACHE_TIME: Duration = Duration::from_millis(100);

/// Cache of the text, which is made at most once in [`CACHE_TIME`], and never twice at the same
/// time.
pub(super) struct Scrapes {
    make: Arc<dyn Fn() -> String + Send + Sync>,
    /// The last text, with the time at which it was complete.
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl fmt::Debug for Scrapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrapes").finish_non_exhaustive()
    }
}

impl Scrapes {
    /// Creates an empty cache. `make` makes the text; it may wait for locks and files.
    pub(super) fn new(make: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), last: Mutex::default() }
    }

    /// Returns the text; `None` if making it panicked, or the runtime is shutting down.
    pub(super) async fn text(&self) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < CACHE_TIME
        {
            return Some(text.clone());
        }
        let make = Arc::clone(&self.make);
        let text = Bytes::from(tokio::task::spawn_blocking(move || make()).await.ok()?);
        *last = Some((Instant::now(), text.clone()));
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_slow_text_does_not_block_the_runtime_and_is_made_once_for_all() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let (go_on, waits) = mpsc::channel::<()>();
        let waits = std::sync::Mutex::new(waits);
        let scrapes = Arc::new(Scrapes::new(move || {
            // Until the runtime, which has one thread, runs the line below.
            let waited = waits.lock().map(|waits| waits.recv_timeout(Duration::from_secs(60)));
            assert!(matches!(waited, Ok(Ok(()))), "the runtime is held");
            format!("text {}", counted.fetch_add(1, Ordering::SeqCst))
        }));
        let asked = (0..64).map(|_| {
            let scrapes = Arc::clone(&scrapes);
            tokio::spawn(async move { scrapes.text().await })
        });
        let asked: Vec<_> = asked.collect();
        tokio::task::yield_now().await;
        // A slow machine may need a second text for the rest.
        (0..64).for_each(|_| go_on.send(()).expect("it waits"));
        for text in join_all(asked).await {
            assert!(text.expect("no panic").is_some_and(|text| text.starts_with(b"text ")));
        }
        assert!(count.load(Ordering::SeqCst) < 64);
    }
}
