//! The feed into a NATS JetStream stream.
//!
//! Each event is one message on the feed's subject, with the line of JSON as its payload.
//! `Nats-Msg-Id` is the block's hash; for a block to which the chain returned, it is the hash, `@`
//! and the sequence number of the previous message; other events have ids of their own.
//! `Nats-Expected-Last-Subject-Sequence` or `Nats-Expected-Last-Msg-Id` names the message that it
//! must follow. [`FeedSink`] decides on the publications.
//!
//! # The stream
//! If no stream of that name exists, the feed creates it: file storage, one replica, and room for
//! two days of messages at the chain's block interval, within 40 GB. Operators who want more
//! replicas or other limits create the stream themselves, with the feed's subject among its
//! subjects. The feed's last message must stay in the stream, since it marks where the feed
//! continues; so `max_age` must not be shorter than any outage. That is why the feed limits the
//! number of messages instead of their age. When the subject is purged, the feed starts over.
//!
//! A server accepts messages of up to 1 MB unless its `max_payload` says otherwise. A block's JSON
//! may be longer; then the feed stops at that block, reports it, and continues once the server
//! accepts it.

use super::follow::{FollowError, read};
use super::{FeedMeter, json, position};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{ConnectOptions, Event, ServerAddr};
use opp2p_core::feed::{
    ACK_TIMEOUT, Ack, CONNECT_TIMEOUT, FeedEvent, FeedFailure, FeedSink, Follows, Page, Refusal,
    SinkStep, StepId, StreamEnd,
};
use opp2p_core::payload::Block;
use opp2p_core::time;
use opp2p_node::host::{HostHandle, Status};
use opp2p_node::panics::guard;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Time span whose blocks a stream created by the feed keeps: the store's default.
const RETENTION_TIME: Duration = Duration::from_secs(48 * 60 * 60);
/// Maximum size of a stream created by the feed, in bytes: a block is about twice as long as in the
/// compressed store. The server reserves this much space.
const RETENTION_BYTES: i64 = 40_000_000_000;
/// Header with the chain's id, which prevents two chains from feeding one subject.
const CHAIN: &str = "Opp2p-Chain-Id";

/// Destination of the feed.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Servers of one cluster.
    pub servers: Vec<ServerAddr>,
    /// The stream's name.
    pub stream: String,
    /// The subject of all messages.
    pub subject: String,
    /// Credentials file, as written by `nsc`.
    pub credentials: Option<PathBuf>,
    /// First block for an empty stream; `None` for the lowest stored block.
    pub from: Option<u64>,
}

/// Reasons why a feed can't start. Each message is one sentence that includes the remedy.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The URL is not that of a NATS server.
    #[error(
        "{url:?} is not an address of a NATS server ({why}): write it as nats://HOST:4222 or \
         tls://HOST:4222"
    )]
    Url {
        /// The rejected text.
        url: String,
        /// The reason.
        why: String,
    },
    /// The stream's name is invalid.
    #[error("{0:?} is not a name of a stream: use letters, digits, - and _")]
    Stream(String),
    /// The subject can't be published to.
    #[error("{0:?} is not a subject: use words with dots between them, without spaces, * and >")]
    Subject(String),
    /// The credentials can't be read.
    #[error("the NATS credentials {} can't be read: {why}", .file.display())]
    Credentials {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: String,
    },
}

impl NatsConfig {
    /// Checks the settings without side effects.
    ///
    /// # Errors
    /// The first invalid setting.
    pub fn check(&self) -> Result<(), NatsError> {
        let is_word = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| !c.is_whitespace() && !c.is_control() && !"*>/\\".contains(c))
        };
        if !is_word(&self.stream) || self.stream.contains('.') {
            return Err(NatsError::Stream(self.stream.clone()));
        }
        if !self.subject.split('.').all(is_word) || self.subject.starts_with('$') {
            return Err(NatsError::Subject(self.subject.clone()));
        }
        if let Some(file) = &self.credentials {
            let unreadable = |why: String| NatsError::Credentials { file: file.clone(), why };
            let text =
                std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
            ConnectOptions::with_credentials(&text)
                .map_err(|error| unreadable(error.to_string()))?;
        }
        Ok(())
    }

    /// Parses a comma-separated list of server addresses.
    ///
    /// # Errors
    /// The first invalid address.
    pub fn servers(text: &str) -> Result<Vec<ServerAddr>, NatsError> {
        // Hides the password, which would precede the `@`.
        let shown = |url: &str| url.rsplit('@').next().unwrap_or_default().to_owned();
        let wrong = |url: &str, why: String| NatsError::Url { url: shown(url), why };
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        let servers: Vec<ServerAddr> = urls
            .map(|url| match url.parse::<ServerAddr>() {
                Ok(server) if server.host().is_empty() => {
                    Err(wrong(url, "it names no host".into()))
                }
                Ok(server) if server.is_websocket() => {
                    Err(wrong(url, "WebSockets are not spoken".into()))
                }
                Ok(server) => Ok(server),
                Err(error) => Err(wrong(url, error.to_string())),
            })
            .collect::<Result<_, _>>()?;
        if servers.is_empty() { Err(wrong(text, "it is empty".into())) } else { Ok(servers) }
    }
}

/// A feed that runs until it is stopped or the node stops.
#[derive(Debug)]
pub struct NatsFeed {
    meter: Arc<FeedMeter>,
    task: JoinHandle<()>,
}

impl NatsFeed {
    /// Starts the feed. If no server can be reached, it waits for one.
    pub fn start(config: NatsConfig, host: HostHandle) -> Self {
        tracing::info!(stream = config.stream, subject = config.subject, "feeding NATS");
        let meter = Arc::new(FeedMeter::default());
        host.set_feed(meter.problems());
        let driver = Driver::new(config, host, Arc::clone(&meter));
        let task = tokio::spawn(async move {
            guard("feed to NATS", driver.run()).await;
        });
        Self { meter, task }
    }

    /// Returns the feed's progress.
    pub fn meter(&self) -> Arc<FeedMeter> {
        Arc::clone(&self.meter)
    }

    /// Stops the feed. Events that are not yet in the stream follow after the next start.
    pub async fn stop(mut self) {
        self.task.abort();
        // The task is cancelled, so an error is expected.
        let _ = (&mut self.task).await;
    }
}

impl Drop for NatsFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Results of the driver's tasks.
enum Answer {
    Connected(StepId, Result<(Context, StreamEnd), FeedFailure>),
    Lost(StepId),
    Loaded(StepId, Result<Page<Block>, FollowError>),
    Acked(StepId, Result<Ack, Refusal>),
}

/// One connection, and the task that establishes it.
struct Link {
    id: StepId,
    attempt: JoinHandle<()>,
    context: Option<Context>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.attempt.abort();
    }
}

struct Driver {
    config: NatsConfig,
    chain_id: u64,
    /// Maximum number of messages in a stream that the feed creates.
    messages_kept: i64,
    host: HostHandle,
    status: watch::Receiver<Status>,
    meter: Arc<FeedMeter>,
    start: Instant,
    sink: FeedSink<Block>,
    link: Option<Link>,
    /// In practice bounded: at most one result for each attempt, read and publication in progress.
    answers: mpsc::UnboundedSender<Answer>,
    answered: mpsc::UnboundedReceiver<Answer>,
}

impl Driver {
    fn new(config: NatsConfig, host: HostHandle, meter: Arc<FeedMeter>) -> Self {
        let mut status = host.status();
        let head = status.borrow_and_update().stored;
        let (answers, answered) = mpsc::unbounded_channel();
        let (chain_id, interval) = host
            .core(|node, _| (node.chain().chain_id, node.chain().schedule().shortest_interval()));
        let sink = FeedSink::new(time::Instant::default(), config.from, head);
        Self {
            config,
            chain_id,
            messages_kept: messages_kept(interval),
            host,
            status,
            meter,
            start: Instant::now(),
            sink,
            link: None,
            answers,
            answered,
        }
    }

    fn now(&self) -> time::Instant {
        time::Instant::from_start(self.start.elapsed())
    }

    async fn run(mut self) {
        let mut stored = self.status.borrow().stored;
        loop {
            while let Some(step) = self.sink.poll(self.now()) {
                self.act(step).await;
            }
            let problem = self.sink.failure().map(|why| self.problem(why));
            self.meter.set(self.sink.published(), self.sink.behind(), problem);
            let wakeup = self.sink.next_wakeup().map(|at| self.start + at.since_start());
            tokio::select! {
                // The driver keeps a sender, so the channel does not close.
                Some(answer) = self.answered.recv() => self.take(answer),
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = self.status.borrow_and_update().stored;
                    if let Some(head) = now.filter(|_| now != stored) {
                        stored = now;
                        self.sink.stored(head);
                    }
                }
                () = tokio::time::sleep_until(wakeup.unwrap_or_else(Instant::now)),
                if wakeup.is_some() => {}
            }
        }
    }

    fn problem(&self, why: &FeedFailure) -> String {
        format!("{why} (stream {})", self.config.stream)
    }

    async fn act(&mut self, step: SinkStep<Block>) {
        match step {
            SinkStep::Connect(id) => {
                let (config, chain_id, kept, answers) =
                    (self.config.clone(), self.chain_id, self.messages_kept, self.answers.clone());
                // Closes the previous connection.
                self.link = None;
                let attempt = tokio::spawn(async move {
                    let result = connect(&config, chain_id, kept, id, &answers).await;
                    // Fails only if the driver is gone.
                    let _ = answers.send(Answer::Connected(id, result));
                });
                self.link = Some(Link { id, attempt, context: None });
            }
            SinkStep::Load(id, query) => {
                let (host, answers) = (self.host.clone(), self.answers.clone());
                tokio::spawn(async move {
                    let _ = answers.send(Answer::Loaded(id, read(host, query).await));
                });
            }
            SinkStep::Publish { id, event, name, follows } => {
                self.publish(id, event, &name, follows).await;
            }
            SinkStep::Failing(why) => {
                let behind = self.sink.behind();
                // The outage itself is reported as a trouble, with its own log line.
                tracing::debug!(
                    stream = self.config.stream, behind, %why,
                    "the feed can't be published; blocks wait in the store until it can"
                );
            }
            SinkStep::Working => {
                tracing::debug!(
                    stream = self.config.stream,
                    behind = self.sink.behind(),
                    "the feed is published again"
                );
            }
        }
    }

    async fn publish(&self, id: StepId, event: FeedEvent<Block>, name: &str, follows: Follows) {
        let answers = self.answers.clone();
        let Some(context) = self.link.as_ref().and_then(|link| link.context.as_ref()) else {
            return;
        };
        let line = json(&event);
        let length = line.len();
        let message = PublishMessage::build()
            .message_id(name)
            .expected_stream(&self.config.stream)
            .header(CHAIN, self.chain_id.to_string().as_str())
            .payload(line.into());
        let message = match follows {
            Follows::Number(number) => message.expected_last_subject_sequence(number),
            Follows::Name(name) => message.expected_last_message_id(name),
        };
        let (subject, most) = (self.config.subject.clone(), context.client().max_payload());
        let refusal = move |kind: PublishErrorKind, error: &dyn Display, subject: &str| match kind {
            PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
                Refusal::WrongLast
            }
            PublishErrorKind::MaxPayloadExceeded => Refusal::Failed(format!(
                "a message has {length} bytes and the server takes {most}: raise its max_payload"
            )),
            PublishErrorKind::StreamNotFound => Refusal::Failed(format!(
                "no stream takes {subject}: add it to the stream's subjects"
            )),
            _ => Refusal::Failed(format!("the server did not take a message: {error}")),
        };
        match context.send_publish(subject.clone(), message).await {
            Ok(ack) => {
                tokio::spawn(async move {
                    let result = match ack.await {
                        Ok(ack) => Ok(Ack { sequence: ack.sequence, is_duplicate: ack.duplicate }),
                        Err(error) => Err(refusal(error.kind(), &error, &subject)),
                    };
                    let _ = answers.send(Answer::Acked(id, result));
                });
            }
            Err(error) => {
                let _ =
                    answers.send(Answer::Acked(id, Err(refusal(error.kind(), &error, &subject))));
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        let now = self.now();
        match answer {
            Answer::Connected(id, Ok((context, end))) => {
                // An abandoned attempt may still succeed: its result is ignored.
                if let Some(link) = self.link.as_mut().filter(|link| link.id == id) {
                    link.context = Some(context);
                    self.sink.connected(id, end);
                }
            }
            Answer::Connected(id, Err(why)) => self.sink.disconnected(now, id, why),
            Answer::Lost(id) => {
                self.sink.disconnected(
                    now,
                    id,
                    FeedFailure::Connection("the server is gone".into()),
                );
            }
            Answer::Loaded(id, page) => {
                self.sink.loaded(now, id, page.map_err(|error| error.to_string()));
            }
            Answer::Acked(id, result) => self.sink.acked(now, id, result),
        }
    }
}

/// Returns the number of messages in [`RETENTION_TIME`] at one block per `interval`.
fn messages_kept(interval: Duration) -> i64 {
    let messages = RETENTION_TIME.as_millis() / interval.as_millis().max(1);
    i64::try_from(messages).unwrap_or(i64::MAX).max(1)
}

/// Returns the TLS configuration. It names its crypto provider because the program's dependencies
/// use different ones, so there is no default.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Connects, finds or creates the stream, and finds the feed's last message in it.
async fn connect(
    config: &NatsConfig,
    chain_id: u64,
    messages_kept: i64,
    id: StepId,
    answers: &mpsc::UnboundedSender<Answer>,
) -> Result<(Context, StreamEnd), FeedFailure> {
    let context = server(config, id, answers).await.map_err(|error| {
        let servers = config.servers.iter();
        let servers: Vec<String> =
            servers.map(|server| format!("{}:{}", server.host(), server.port())).collect();
        let servers = servers.join(", ");
        FeedFailure::Connection(format!("the NATS server {servers} can't be reached: {error}"))
    })?;
    let (name, subject) = (&config.stream, &config.subject);
    let stream = stream(&context, config, messages_kept).await?;
    // Read before the feed's last message: if a message arrives in between, the numbers show that
    // the stream has other writers.
    let sequence = stream.cached_info().state.last_sequence;
    let last = match stream.get_last_raw_message_by_subject(subject).await {
        Ok(last) => last,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
            return Ok((context, StreamEnd { sequence, last: None }));
        }
        Err(error) => {
            let why = format!(
                "the last message of {subject} in the stream {name} can't be read: {error}"
            );
            return Err(FeedFailure::Refused(why));
        }
    };
    let chain = last.headers.get(CHAIN).map(ToString::to_string);
    if chain.as_ref().is_some_and(|found| *found != chain_id.to_string()) {
        let chain = chain.unwrap_or_default();
        let why = format!("{subject} has blocks of chain {chain}: choose another subject");
        return Err(FeedFailure::Refused(why));
    }
    match position(&last.payload) {
        Some(position) => {
            Ok((context, StreamEnd { sequence, last: Some((last.sequence, position)) }))
        }
        None => Err(FeedFailure::Refused(format!(
            "the last message of {subject} in the stream {name} is not of a feed: choose another \
             subject"
        ))),
    }
}

/// Connects to a server.
async fn server(
    config: &NatsConfig,
    id: StepId,
    answers: &mpsc::UnboundedSender<Answer>,
) -> Result<Context, Box<dyn Error + Send + Sync>> {
    let gone = answers.clone();
    let mut options = ConnectOptions::new()
        .name("opp2p feed")
        .connection_timeout(CONNECT_TIMEOUT / 2)
        // The driver reconnects itself, since it has to read the end of the stream again.
        .max_reconnects(config.servers.len())
        .event_callback(move |event| {
            let gone = gone.clone();
            async move {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    let _ = gone.send(Answer::Lost(id));
                }
            }
        });
    options = options.tls_client_config(tokio::task::spawn_blocking(tls).await??);
    if let Some(file) = &config.credentials {
        options = options.credentials_file(file).await?;
    }
    let mut context = jetstream::new(options.connect(config.servers.clone()).await?);
    context.set_timeout(ACK_TIMEOUT + Duration::from_secs(1));
    Ok(context)
}

/// Finds the stream, or creates it.
async fn stream(
    context: &Context,
    config: &NatsConfig,
    messages_kept: i64,
) -> Result<Stream, FeedFailure> {
    let name = &config.stream;
    let error = match context.get_stream(name).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    if !matches!(
        error.kind(),
        GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND
    ) {
        return Err(FeedFailure::Refused(format!(
            "the server does not tell of the stream {name}: {error}; is JetStream enabled?"
        )));
    }
    let wanted = Config {
        name: name.clone(),
        subjects: vec![config.subject.clone()],
        storage: StorageType::File,
        max_messages: messages_kept,
        max_bytes: RETENTION_BYTES,
        ..Config::default()
    };
    tracing::info!(stream = name, subject = config.subject, "making the stream");
    context.create_stream(wanted).await.map_err(|error| {
        FeedFailure::Refused(format!(
            "the stream {name} can't be made: {error}; if the server has less than {} GB, make the \
             stream with limits of your own",
            RETENTION_BYTES / 1_000_000_000
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(stream: &str, subject: &str) -> NatsConfig {
        NatsConfig {
            servers: NatsConfig::servers("nats://localhost").unwrap(),
            stream: stream.into(),
            subject: subject.into(),
            credentials: None,
            from: None,
        }
    }

    #[test]
    fn invalid_nats_settings_are_refused() {
        assert!(config("OPP2P", "opp2p.10.blocks").check().is_ok());
        for (stream, subject) in [
            ("", "a"),
            ("a.b", "a"),
            ("a b", "a"),
            ("a", ""),
            ("a", "a..b"),
            ("a", "a.*"),
            ("a", "$JS.a"),
        ] {
            assert!(config(stream, subject).check().is_err(), "{stream} {subject}");
        }
        let missing = NatsConfig { credentials: Some("/nowhere/creds".into()), ..config("a", "b") };
        assert!(matches!(missing.check(), Err(NatsError::Credentials { .. })));
    }

    #[test]
    fn a_stream_keeps_two_days_of_blocks_at_any_interval() {
        assert_eq!(messages_kept(Duration::from_secs(2)), 86_400);
        assert_eq!(messages_kept(Duration::from_millis(200)), 864_000);
        assert!(messages_kept(Duration::ZERO) > 0 && messages_kept(Duration::MAX) == 1);
    }

    #[test]
    fn servers_are_separated_by_commas() {
        let servers = NatsConfig::servers("nats://a:1, tls://b").unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(
            (servers[1].host(), servers[1].port(), servers[1].tls_required()),
            ("b", 4222, true)
        );
        for wrong in ["", ",", "http://a", "ws://a", "nats://"] {
            assert!(NatsConfig::servers(wrong).is_err(), "{wrong}");
        }
        let error = NatsConfig::servers("http://me:hidden@a").unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{error}");
    }
}
