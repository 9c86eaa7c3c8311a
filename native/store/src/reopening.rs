//! Reopening of a file that was closed after a failure. Reopening checks the whole file, which
//! takes time in proportion to its size.
//!
//! Strangers can cause reads, so a reader never waits long, and does not retry soon after a failed
//! attempt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::StoreError;

/// Maximum time that a reader waits while another thread opens the file.
const READERS_WAIT: Duration = Duration::from_secs(5);

/// Time for which readers get the error of a failed attempt, as a multiple of the attempt's
/// duration.
const FAILED_FACTOR: u32 = 16;

/// Limits on that time.
const FAILED_FOR: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15 * 60));

/// State of the attempts.
#[derive(Debug, Default)]
pub(super) struct Reopening {
    state: Mutex<State>,
    ended: Condvar,
    /// Duration of the last attempt, in milliseconds.
    took: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// Error after which the file was closed.
    cause: Option<StoreError>,
    /// Time and error of the last attempt, if it failed.
    failed: Option<(Instant, StoreError)>,
}

impl Reopening {
    /// Returns the duration of the last opening.
    pub(super) fn took(&self) -> Duration {
        Duration::from_millis(self.took.load(Ordering::Relaxed))
    }

    /// Records the duration of an opening that began at `start`.
    pub(super) fn note(&self, start: Instant) {
        let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.took.store(took, Ordering::Relaxed);
    }

    /// Records why the file is closed.
    pub(super) fn closed(&self, cause: StoreError) {
        self.state().cause = Some(cause);
    }

    /// Opens the file with `open`, unless another thread is opening it: then waits for that. After
    /// `Ok`, the caller checks again whether the file is open.
    ///
    /// # Errors
    /// The reason why the file is not open. For a reader, that includes another thread that is
    /// still opening the file, and an attempt that failed a short time ago.
    pub(super) fn run(
        &self,
        is_reading: bool,
        open: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.is_running {
            let wait = if is_reading { READERS_WAIT } else { Duration::MAX };
            let waited = self.ended.wait_timeout_while(state, wait, |state| state.is_running);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            return match (state.is_running, state.cause.clone()) {
                (true, Some(cause)) => Err(cause),
                _ => Ok(()),
            };
        }
        if let Some((at, error)) = &state.failed
            && is_reading
            && at.elapsed() < (self.took() * FAILED_FACTOR).clamp(FAILED_FOR.0, FAILED_FOR.1)
        {
            return Err(error.clone());
        }
        state.is_running = true;
        drop(state);
        let start = Instant::now();
        let opened = open();
        self.note(start);
        let mut state = self.state();
        state.is_running = false;
        state.failed = opened.as_ref().err().map(|error| (Instant::now(), error.clone()));
        drop(state);
        self.ended.notify_all();
        opened
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the state is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, mpsc};
    use std::thread;

    fn error(doing: &'static str) -> StoreError {
        let source = Arc::new(io::Error::other("a test"));
        StoreError::Io { path: "blocks".into(), doing, source }
    }

    fn doing<T>(result: &Result<T, StoreError>) -> &'static str {
        match result {
            Err(StoreError::Io { doing, .. }) => doing,
            _ => "it is open",
        }
    }

    #[test]
    fn a_reader_does_not_wait_for_a_long_check_of_the_file() {
        let reopening = Arc::new(Reopening::default());
        reopening.closed(error("writing"));
        let ((opens, is_open), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        let for_writer = Arc::clone(&reopening);
        let writer = thread::spawn(move || {
            for_writer.run(false, || {
                opens.send(()).expect("waited for");
                // Until the reader has its result.
                let _ = ended.recv();
                Ok(())
            })
        });
        is_open.recv().expect("it is opened");
        let read = reopening.run(true, || panic!("another thread opens it"));
        assert_eq!(doing(&read), "writing");
        drop(end);
        writer.join().expect("no panic").expect("opens");
        reopening.run(true, || Ok(())).expect("opens");
    }

    #[test]
    fn a_reader_gets_the_last_error_while_a_writer_retries() {
        let reopening = Reopening::default();
        assert_eq!(doing(&reopening.run(true, || Err(error("opening")))), "opening");
        let again = reopening.run(true, || panic!("it was just tried"));
        assert_eq!(doing(&again), "opening");
        reopening.run(false, || Ok(())).expect("opens");
        reopening.run(true, || Ok(())).expect("opens");
    }
}
