//! Rate limit for log lines that others can cause.
//!
//! Every line that a peer can cause (a connection, a failed dial, a library's warning about
//! garbage) passes [`Limiter`]. It shows [`BURST`] lines per [`WINDOW`] and callsite, counts the
//! others, and reports their number in one line. The node's own lines about the chain are not
//! limited: only the sequencer can cause them. Nor are debug and trace lines, which the operator
//! asked for.
//!
//! # Bounds
//! A few numbers and at most [`MESSAGE`] bytes of text per callsite.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Maximum number of lines per callsite and window.
const BURST: u32 = 20;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(30);
/// Maximum size of a message in a summary, in bytes.
const MESSAGE: usize = 80;
/// Interval between two checks for ended windows.
const LOOK: Duration = Duration::from_secs(1);

/// Targets of the node's own lines, which are not limited. Lines of the node about peers have the
/// target [`PEERS`].
const OWN: [&str; 2] = ["opp2p::cli", "opp2p_core"];
/// Target of the node's lines that peers cause.
pub(super) const PEERS: &str = "opp2p::peers";

/// Counts log lines by callsite. Clones share their counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Limiter {
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

/// State of a callsite.
#[derive(Debug)]
struct Place {
    level: Level,
    target: &'static str,
    since: Instant,
    shown: u32,
    left_out: u64,
    /// Suppressed lines of ended windows that were not reported yet.
    unsaid: u64,
    /// The first suppressed message.
    message: String,
}

/// Report of a callsite's suppressed lines.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    target: &'static str,
    left_out: u64,
    message: String,
}

impl Limiter {
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if a line may be shown.
    fn admit(
        &self,
        metadata: &Metadata<'static>,
        now: Instant,
        message: impl FnOnce() -> String,
    ) -> bool {
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            level: *metadata.level(),
            target: metadata.target(),
            since: now,
            shown: 0,
            left_out: 0,
            unsaid: 0,
            message: String::new(),
        });
        place.end_window(now);
        if place.shown < BURST {
            place.shown += 1;
            return true;
        }
        if place.left_out == 0 && place.unsaid == 0 {
            place.message = message();
        }
        place.left_out = place.left_out.saturating_add(1);
        false
    }

    /// Returns the unreported suppressed lines of ended windows; with `all` also those of open
    /// windows.
    fn ended(&self, now: Instant, all: bool) -> Vec<Summary> {
        let mut places = self.places();
        let each = places.values_mut().filter_map(|place| {
            place.end_window(now);
            if all {
                place.unsaid = place.unsaid.saturating_add(std::mem::take(&mut place.left_out));
            }
            let left_out = std::mem::take(&mut place.unsaid);
            (left_out > 0).then(|| Summary {
                level: place.level,
                target: place.target,
                left_out,
                message: std::mem::take(&mut place.message),
            })
        });
        let mut ended: Vec<Summary> = each.collect();
        ended.sort_by(|a, b| b.left_out.cmp(&a.left_out).then_with(|| a.message.cmp(&b.message)));
        ended
    }

    /// Logs the suppressed lines.
    fn say(&self, all: bool) {
        // The lock must not be held here, since this logs too.
        for Summary { level, target, left_out, message } in self.ended(Instant::now(), all) {
            let seconds = WINDOW.as_secs();
            if level == Level::ERROR {
                tracing::error!(
                    from = target,
                    like = message,
                    "{left_out} more in the last {seconds} s"
                );
            } else if level == Level::WARN {
                tracing::warn!(
                    from = target,
                    like = message,
                    "{left_out} more in the last {seconds} s"
                );
            } else {
                tracing::info!(
                    from = target,
                    like = message,
                    "{left_out} more in the last {seconds} s"
                );
            }
        }
    }

    /// Reports suppressed lines at the end of each window from a separate thread, and the rest when
    /// the returned value is dropped. If the system refuses the thread, all of them are reported
    /// then.
    pub(super) fn watch(&self) -> Watch {
        let (alive, end) = std::sync::mpsc::channel::<()>();
        let limiter = self.clone();
        let looking = move || {
            while end.recv_timeout(LOOK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                limiter.say(false);
            }
        };
        // Never joined: it ends with its sender or with the process.
        let _ = thread::Builder::new().name("log-limit".into()).spawn(looking);
        Watch { limiter: self.clone(), _alive: alive }
    }
}

impl Place {
    fn end_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.unsaid = self.unsaid.saturating_add(std::mem::take(&mut self.left_out));
            self.shown = 0;
            self.since = now;
        }
    }
}

/// Reports suppressed lines while it lives.
#[derive(Debug)]
pub(super) struct Watch {
    limiter: Limiter,
    _alive: std::sync::mpsc::Sender<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.limiter.say(true);
    }
}

/// Returns `true` if a callsite is limited.
fn is_limited(metadata: &Metadata<'_>) -> bool {
    let is_in = |module: &str| {
        metadata
            .target()
            .strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    *metadata.level() <= Level::INFO && !OWN.into_iter().any(is_in)
}

impl<S> Filter<S> for Limiter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        !is_limited(metadata) || self.admit(metadata, Instant::now(), || message_of(event))
    }
}

/// Returns the beginning of an event's message, which may contain a peer's text.
fn message_of(event: &Event<'_>) -> String {
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // An error means that the limit is reached.
            let _ = write!(Short(&mut self.0), "{value:?}");
        }
    }
}

/// Accepts at most [`MESSAGE`] bytes of text, without line breaks.
struct Short<'a>(&'a mut String);

impl fmt::Write for Short<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() + character.len_utf8() > MESSAGE {
                return Err(fmt::Error);
            }
            self.0.push(if character.is_control() { ' ' } else { character });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io;
    use tracing::subscriber::with_default;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// A log's output.
    #[derive(Clone, Debug, Default)]
    pub(in super::super) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in super::super) fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone())
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// Returns the lines that `log` writes under the limit.
    fn written(log: impl FnOnce(&Limiter)) -> Vec<String> {
        let (limiter, written) = (Limiter::default(), Written::default());
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).without_time();
        let layer = layer.with_writer(written.clone()).with_filter(limiter.clone());
        with_default(tracing_subscriber::registry().with(layer), || log(&limiter));
        written.lines()
    }

    #[test]
    fn a_flood_becomes_a_few_lines_and_a_count() {
        let lines = written(|limiter| {
            for number in 0..100_000 {
                tracing::warn!(target: "libp2p_noise", number, "garbage\nfrom a peer");
            }
            limiter.say(true);
            limiter.say(true);
        });
        // The line break splits each line of the flood in two.
        let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(count("libp2p_noise: garbage"), 20, "{lines:#?}");
        let summary = lines.last().unwrap();
        assert!(summary.contains("99980 more in the last 30 s"), "{summary}");
        assert!(summary.contains("garbage from a peer") && summary.contains("WARN"), "{summary}");
        assert_eq!(count("more in the last"), 1);
    }

    #[test]
    fn each_place_has_its_own_limit_except_chain_events() {
        let lines = written(|_| {
            for number in 0..50 {
                tracing::info!(target: PEERS, number, "connected");
                tracing::info!(target: PEERS, number, "disconnected");
                tracing::error!(target: "opp2p::store", number, "not stored");
                tracing::info!(target: "opp2p::cli::log_events", number, "block");
                tracing::info!(target: "opp2p::client", number, "elsewhere");
                tracing::debug!(target: "libp2p_swarm", number, "asked for");
            }
        });
        let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(
            [count(" connected"), count("disconnected"), count("not stored"), count("elsewhere")],
            [20; 4]
        );
        assert_eq!([count("block"), count("asked for")], [50; 2]);
    }

    #[test]
    fn a_new_window_shows_lines_again_and_counts_the_omitted_ones() {
        let limiter = Limiter::default();
        let start = Instant::now();
        let metadata = some_metadata();
        let shown = |at: Duration| limiter.admit(metadata, start + at, || "like this".into());
        assert_eq!((0..100).filter(|_| shown(Duration::ZERO)).count(), 20);
        assert_eq!(limiter.ended(start + WINDOW - LOOK, false), []);
        let shown = |at: Duration| limiter.admit(metadata, start + at, || "never asked".into());
        // Two windows ended unchecked.
        assert_eq!((0..30).filter(|_| shown(WINDOW)).count(), 20);
        assert!(shown(WINDOW * 2));
        let ended = limiter.ended(start + WINDOW * 2, false);
        let expected =
            Summary { level: Level::WARN, target: "x", left_out: 90, message: "like this".into() };
        assert_eq!(ended, [expected]);
        assert_eq!(limiter.ended(start + WINDOW * 9, true), []);
        assert_eq!(limiter.places().len(), 1);
    }

    fn some_metadata() -> &'static Metadata<'static> {
        use tracing::Callsite;
        struct Site;
        impl Callsite for Site {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                &METADATA
            }
        }
        static SITE: Site = Site;
        static METADATA: Metadata<'static> = tracing::metadata! {
            name: "x", target: "x", level: Level::WARN, fields: &[], callsite: &SITE,
            kind: tracing::metadata::Kind::EVENT,
        };
        &METADATA
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut text = String::new();
        let long = "ä".repeat(1000);
        assert!(write!(Short(&mut text), "{long}").is_err());
        assert_eq!(text, "ä".repeat(40));
    }
}
