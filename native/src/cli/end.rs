//! Requests to end or to read the settings again, by signals.
//!
//! A thread of its own receives them, so that they work while every other thread waits. A pipe
//! whose reader does not read blocks the threads that write the log or the feed.
//!
//! # Bounds
//! Requests to end: one, and a second one ends the process. Requests to read the settings again:
//! one waits; further ones are the same request.

use super::{Failure, NO};
use std::io::{IsTerminal, stderr};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::time::{Instant, timeout_at};

/// Signals within this time count as one: `timeout` and others signal the process and its group.
const ONE_REQUEST: Duration = Duration::from_millis(250);
/// Time for the program to take note of a request. After it, the process ends at once: something
/// holds the task that would end it in order.
const PATIENCE: Duration = Duration::from_secs(5);

/// Receives the signals that ask to end: SIGINT, SIGTERM and SIGQUIT, as in the reference. It
/// receives them from its creation on, even while no task waits for them.
///
/// SIGHUP comes from a tool, such as logrotate, that wants a process to read its files again, or
/// from the end of a session. If the terminal that showed the log is gone, it asks to end.
#[derive(Debug)]
pub(super) struct End {
    requests: UnboundedReceiver<()>,
    hangups: Receiver<()>,
    noted: Arc<AtomicU64>,
}

/// Meaning of SIGHUP to a command, while its terminal is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    /// Read the settings again: see [`End::request`].
    Reloads,
    /// End if the log goes to a terminal, and do nothing otherwise, as under nohup.
    EndsOnTerminal,
}

impl End {
    /// Takes over the signals from the system, which would end the process at once. SIGHUP asks to
    /// end if the log goes to a terminal, and has no effect otherwise.
    pub(super) fn listen() -> Result<Self, Failure> {
        Self::with(Hangup::EndsOnTerminal)
    }

    /// As [`Self::listen`], for a program that reads its settings again at SIGHUP.
    pub(super) fn listen_and_reload() -> Result<Self, Failure> {
        Self::with(Hangup::Reloads)
    }

    fn with(hangup: Hangup) -> Result<Self, Failure> {
        let refused = |error| {
            Failure::new(format!("the system refused a signal handler or its thread: {error}"))
        };
        let (sender, requests) = unbounded_channel();
        let (hung_up, hangups) = channel(1);
        let noted = Arc::new(AtomicU64::new(0));
        let heeded = Arc::clone(&noted);
        let (ready, started) = std::sync::mpsc::channel();
        let receive = move || {
            let runtime = match Signals::runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                let signals = match Signals::listen(hangup, hung_up) {
                    Ok(signals) => signals,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                // The receiver waits for it.
                let _ = ready.send(Ok(()));
                signals.forward(&sender, &heeded).await;
            });
        };
        // Never joined: it ends with the process.
        thread::Builder::new().name("signals".into()).spawn(receive).map_err(refused)?;
        let lost = || refused(std::io::Error::other("its thread ended"));
        started.recv().map_err(|_| lost())?.map_err(refused)?;
        Ok(Self { requests, hangups, noted })
    }

    /// Completes when the process is asked to end, and again at the next request.
    pub(super) async fn asked(&mut self) {
        if self.requests.recv().await.is_none() {
            // The thread is gone, and so are the signals.
            std::future::pending::<()>().await;
        }
        self.noted.fetch_add(1, Ordering::Relaxed);
    }

    /// Completes with [`Request::End`] as [`Self::asked`] does, and with [`Request::Reload`] when
    /// the process is asked to read its settings again.
    pub(super) async fn request(&mut self) -> Request {
        tokio::select! {
            Some(()) = self.hangups.recv() => return Request::Reload,
            Some(()) = self.requests.recv() => {}
            else => std::future::pending::<()>().await,
        }
        self.noted.fetch_add(1, Ordering::Relaxed);
        Request::End
    }
}

/// A request by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To end.
    End,
    /// To read the settings again.
    Reload,
}

/// The signals of the process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
    meaning: Hangup,
    hung_up: Sender<()>,
    /// Whether the log went to a terminal at the start.
    had_terminal: bool,
}

impl Signals {
    /// Creates the runtime of the thread that receives them.
    fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }

    fn listen(meaning: Hangup, hung_up: Sender<()>) -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            meaning,
            hung_up,
            had_terminal: stderr().is_terminal(),
        })
    }

    /// Completes at the next signal that asks to end.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hangup.recv() => {
                    // A terminal that is gone does not answer as one any more.
                    if ends(self.meaning, self.had_terminal, stderr().is_terminal()) {
                        return;
                    }
                    // If one waits, this is the same request.
                    let _ = self.hung_up.try_send(());
                }
            }
        }
    }

    /// Passes requests on until the receiver is dropped. Ends the process if a request is not
    /// noted in time, and at a further request.
    async fn forward(mut self, requests: &UnboundedSender<()>, noted: &AtomicU64) {
        let (mut course, mut deadline) = (Course::default(), None::<Instant>);
        loop {
            let ended = match deadline {
                Some(deadline) => timeout_at(deadline, self.next()).await.is_err(),
                None => {
                    self.next().await;
                    false
                }
            };
            let is_noted = noted.load(Ordering::Relaxed) >= course.sent;
            if ended {
                if !is_noted {
                    exit(i32::from(NO));
                }
                deadline = None;
                continue;
            }
            let now = Instant::now();
            match course.asked(now, is_noted, requests.is_closed()) {
                Act::Nothing => {}
                Act::PassOn => {
                    deadline = Some(now + PATIENCE);
                    // If it was closed meanwhile, the process ends.
                    let _ = requests.send(());
                }
                Act::Exit => exit(i32::from(NO)),
            }
        }
    }
}

/// Returns `true` if SIGHUP asks to end.
const fn ends(meaning: Hangup, had_terminal: bool, has_terminal: bool) -> bool {
    match meaning {
        Hangup::Reloads => had_terminal && !has_terminal,
        Hangup::EndsOnTerminal => had_terminal,
    }
}

/// Requests to end so far.
#[derive(Debug, Default)]
struct Course {
    sent: u64,
    last: Option<Instant>,
}

/// What to do about a request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// It belongs to the one before.
    Nothing,
    /// The program is to end in order, or, at the second request, without waiting.
    PassOn,
    /// The process is to end now: the program does not hear.
    Exit,
}

impl Course {
    /// Decides about a request at `now`. `is_noted`: the program has heard all before it.
    /// `is_over`: the program waits for no request any more.
    fn asked(&mut self, now: Instant, is_noted: bool, is_over: bool) -> Act {
        if self.last.is_some_and(|last| now.duration_since(last) <= ONE_REQUEST) {
            return Act::Nothing;
        }
        if !is_noted || is_over {
            return Act::Exit;
        }
        self.last = Some(now);
        self.sent += 1;
        Act::PassOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_request_is_forwarded_and_ends_an_unresponsive_program() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut course = Course::default();
        assert_eq!(course.asked(at(0), true, false), Act::PassOn);
        // The same request: `timeout` signals a process and its group.
        assert_eq!(course.asked(at(3), true, false), Act::Nothing);
        assert_eq!(course.asked(at(300), true, false), Act::PassOn);
        assert_eq!(course.sent, 2);
        assert_eq!(course.asked(at(600), true, true), Act::Exit);
        let mut stuck = Course::default();
        assert_eq!(stuck.asked(at(0), true, false), Act::PassOn);
        assert_eq!(stuck.asked(at(300), false, false), Act::Exit);
    }

    #[test]
    fn a_hangup_ends_a_node_only_if_its_terminal_is_gone() {
        for (had, has, node, tool) in
            [(false, false, false, false), (true, true, false, true), (true, false, true, true)]
        {
            assert_eq!(ends(Hangup::Reloads, had, has), node, "{had} {has}");
            assert_eq!(ends(Hangup::EndsOnTerminal, had, has), tool, "{had} {has}");
        }
    }
}
