//! The feed into a stream of NATS JetStream.
//!
//! Each event is one message: its subject that of the feed, its payload the line of JSON, its `Nats-Msg-Id` the block's hash
//! (for a block that the chain came back to, the hash with `@` and the sequence number of the message before; for other events a
//! text of their own), and `Nats-Expected-Last-Subject-Sequence` or `Nats-Expected-Last-Msg-Id` the message that it must
//! follow. What is published when is
//! decided by [`FeedSink`].
//!
//! # The stream
//! If there is none of that name it is made: file storage, the newest [`MESSAGES_KEPT`] messages, one replica. Whoever wants
//! more replicas or other limits makes it himself, with the feed's subject among its subjects. Its last message of the feed
//! must stay, since it says where the feed goes on: no `max_age` that is shorter than an outage may be. When the subject is
//! purged, the feed begins anew.
//!
//! A server takes messages of 1 MB unless its `max_payload` says otherwise. A block's JSON may be longer; then the feed
//! stops at it, says so, and goes on when the server takes it.

use super::follow::{FollowError, read};
use super::{FeedMeter, json, position};
use crate::host::{HostHandle, Status};
use crate::panics::guard;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{ConnectOptions, Event, ServerAddr};
use opp2p_core::feed::{
    ACK_TIMEOUT, Ack, CONNECT_TIMEOUT, FeedEvent, FeedFailure, FeedSink, Follows, Page, Refusal, SinkStep,
    StepId, StreamEnd,
};
use opp2p_core::payload::Block;
use opp2p_core::time;
use rustls::{ClientConfig, RootCertStore};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Messages that a stream keeps that is made here: as many as the store keeps blocks by default, which is two days' at 2 s.
pub const MESSAGES_KEPT: i64 = 86_400;
/// Header with the chain's id, so that nobody feeds two chains to one subject.
const CHAIN: &str = "Opp2p-Chain-Id";

/// Where the feed goes.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Servers of one cluster.
    pub servers: Vec<ServerAddr>,
    /// The stream's name.
    pub stream: String,
    /// The subject of all messages.
    pub subject: String,
    /// File with credentials, as `nsc` makes it.
    pub credentials: Option<PathBuf>,
    /// The block that an empty stream begins with; `None`: the lowest that is kept.
    pub from: Option<u64>,
}

/// Why a feed can't be started. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// No URL of a NATS server.
    #[error(
        "--feed.nats: {url:?} is no address of a NATS server ({why}): write it as nats://HOST:4222 or tls://HOST:4222"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No name of a stream.
    #[error("--feed.nats.stream: {0:?} is no name of a stream: use letters, digits, - and _")]
    Stream(String),
    /// No subject that can be published to.
    #[error(
        "--feed.nats.subject: {0:?} is no subject: use words with dots between them, without spaces, * and >"
    )]
    Subject(String),
    /// The credentials can't be read.
    #[error("the NATS credentials {} can't be read: {why}", .file.display())]
    Credentials {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl NatsConfig {
    /// What is wrong with it, before anything is done.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), NatsError> {
        let is_word = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"*>/\\".contains(c))
        };
        if !is_word(&self.stream) || self.stream.contains('.') {
            return Err(NatsError::Stream(self.stream.clone()));
        }
        if !self.subject.split('.').all(is_word) || self.subject.starts_with('$') {
            return Err(NatsError::Subject(self.subject.clone()));
        }
        if let Some(file) = &self.credentials {
            let unreadable = |why: String| NatsError::Credentials { file: file.clone(), why };
            let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
            ConnectOptions::with_credentials(&text).map_err(|error| unreadable(error.to_string()))?;
        }
        Ok(())
    }

    /// Reads the addresses of servers, with commas between them.
    ///
    /// # Errors
    /// The first that is none.
    pub fn servers(text: &str) -> Result<Vec<ServerAddr>, NatsError> {
        // Without a password, which would be before that.
        let shown = |url: &str| url.rsplit('@').next().unwrap_or_default().to_owned();
        let wrong = |url: &str, why: String| NatsError::Url { url: shown(url), why };
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        let servers: Vec<ServerAddr> = urls
            .map(|url| match url.parse::<ServerAddr>() {
                Ok(server) if server.host().is_empty() => Err(wrong(url, "it names no host".into())),
                Ok(server) if server.is_websocket() => Err(wrong(url, "WebSockets are not spoken".into())),
                Ok(server) => Ok(server),
                Err(error) => Err(wrong(url, error.to_string())),
            })
            .collect::<Result<_, _>>()?;
        if servers.is_empty() { Err(wrong(text, "it is empty".into())) } else { Ok(servers) }
    }
}

/// A feed that runs until it is stopped or the node has.
#[derive(Debug)]
pub struct NatsFeed {
    meter: Arc<FeedMeter>,
    task: JoinHandle<()>,
}

impl NatsFeed {
    /// Begins to feed. A server that is not there is waited for.
    pub fn start(config: NatsConfig, host: HostHandle) -> Self {
        let meter = Arc::new(FeedMeter::default());
        host.tell_of_feed(Arc::clone(&meter));
        let driver = Driver::new(config, host, Arc::clone(&meter));
        let task = tokio::spawn(async move {
            guard("feed to NATS", driver.run()).await;
        });
        Self { meter, task }
    }

    /// How it is doing.
    pub fn meter(&self) -> Arc<FeedMeter> {
        Arc::clone(&self.meter)
    }

    /// Ends it. What is not in the stream yet comes after the next start.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for NatsFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What comes back.
enum Answer {
    Connected(StepId, Result<(Context, StreamEnd), FeedFailure>),
    Lost(StepId),
    Loaded(StepId, Result<Page<Block>, FollowError>),
    Acked(StepId, Result<Ack, Refusal>),
}

/// One connection, and the attempt that makes it.
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
    host: HostHandle,
    status: watch::Receiver<Status>,
    meter: Arc<FeedMeter>,
    start: Instant,
    sink: FeedSink<Block>,
    link: Option<Link>,
    /// At most one for each attempt, reading and publication under way.
    answers: mpsc::UnboundedSender<Answer>,
    answered: mpsc::UnboundedReceiver<Answer>,
}

impl Driver {
    fn new(config: NatsConfig, host: HostHandle, meter: Arc<FeedMeter>) -> Self {
        let mut status = host.status();
        let head = status.borrow_and_update().stored;
        let (answers, answered) = mpsc::unbounded_channel();
        let chain_id = host.core(|node, _| node.chain().chain_id);
        let sink = FeedSink::new(time::Instant::default(), config.from, head);
        Self {
            config,
            chain_id,
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
                // One is kept here, so it does not close.
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
                () = tokio::time::sleep_until(wakeup.unwrap_or_else(Instant::now)), if wakeup.is_some() => {}
            }
        }
    }

    fn problem(&self, why: &FeedFailure) -> String {
        format!("blocks are not fed to the stream {}: {why}", self.config.stream)
    }

    async fn act(&mut self, step: SinkStep<Block>) {
        match step {
            SinkStep::Connect(id) => {
                let (config, chain_id, answers) = (self.config.clone(), self.chain_id, self.answers.clone());
                // The connection before ends here.
                self.link = None;
                let attempt = tokio::spawn(async move {
                    let result = connect(&config, chain_id, id, &answers).await;
                    // Nobody waits for it any more if this fails.
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
            SinkStep::Publish { id, event, name, follows } => self.publish(id, event, &name, follows).await,
            SinkStep::Failing(why) => {
                let behind = self.sink.behind();
                tracing::warn!(
                    stream = self.config.stream, behind, %why,
                    "the feed can't be published; blocks wait in the store until it can"
                );
            }
            SinkStep::Working => {
                tracing::info!(
                    stream = self.config.stream,
                    behind = self.sink.behind(),
                    "the feed is published again"
                );
            }
        }
    }

    async fn publish(&self, id: StepId, event: FeedEvent<Block>, name: &str, follows: Follows) {
        let answers = self.answers.clone();
        let Some(context) = self.link.as_ref().and_then(|link| link.context.as_ref()) else { return };
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
            PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => Refusal::WrongLast,
            PublishErrorKind::MaxPayloadExceeded => Refusal::Failed(format!(
                "a message has {length} bytes and the server takes {most}: raise its max_payload"
            )),
            PublishErrorKind::StreamNotFound => {
                Refusal::Failed(format!("no stream takes {subject}: add it to the stream's subjects"))
            }
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
                let _ = answers.send(Answer::Acked(id, Err(refusal(error.kind(), &error, &subject))));
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        let now = self.now();
        match answer {
            Answer::Connected(id, Ok((context, end))) => {
                // One that was given up may have come after all.
                if let Some(link) = self.link.as_mut().filter(|link| link.id == id) {
                    link.context = Some(context);
                    self.sink.connected(id, end);
                }
            }
            Answer::Connected(id, Err(why)) => self.sink.disconnected(now, id, why),
            Answer::Lost(id) => {
                self.sink.disconnected(now, id, FeedFailure::Connection("the server is gone".into()));
            }
            Answer::Loaded(id, page) => self.sink.loaded(now, id, page.map_err(|error| error.to_string())),
            Answer::Acked(id, result) => self.sink.acked(now, id, result),
        }
    }
}

/// What TLS is done with. The program's parts use different libraries, so that none is the default.
fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Connects, finds or makes the stream, and finds its last message of this feed.
async fn connect(
    config: &NatsConfig,
    chain_id: u64,
    id: StepId,
    answers: &mpsc::UnboundedSender<Answer>,
) -> Result<(Context, StreamEnd), FeedFailure> {
    let unreached = |error: &dyn Display| {
        let servers: Vec<String> =
            config.servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        FeedFailure::Connection(format!("the NATS server {} can't be reached: {error}", servers.join(", ")))
    };
    let gone = answers.clone();
    let mut options = ConnectOptions::new()
        .name("opp2p feed")
        .connection_timeout(CONNECT_TIMEOUT / 2)
        // It is begun anew here, with a look at the stream's end.
        .max_reconnects(config.servers.len())
        .event_callback(move |event| {
            let gone = gone.clone();
            async move {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    let _ = gone.send(Answer::Lost(id));
                }
            }
        });
    let tls = tokio::task::spawn_blocking(tls).await.map_err(|error| unreached(&error))?;
    options = options.tls_client_config(tls.map_err(|error| unreached(&error))?);
    if let Some(file) = &config.credentials {
        options = options.credentials_file(file).await.map_err(|error| unreached(&error))?;
    }
    let client = options.connect(config.servers.clone()).await.map_err(|error| unreached(&error))?;
    let mut context = jetstream::new(client);
    context.set_timeout(ACK_TIMEOUT + Duration::from_secs(1));
    let name = &config.stream;
    let stream = match context.get_stream(name).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                let wanted = Config {
                    name: name.clone(),
                    subjects: vec![config.subject.clone()],
                    storage: StorageType::File,
                    max_messages: MESSAGES_KEPT,
                    ..Config::default()
                };
                tracing::info!(stream = name, subject = config.subject, "making the stream");
                context.create_stream(wanted).await.map_err(|error| {
                    FeedFailure::Refused(format!("the stream {name} can't be made: {error}"))
                })?
            }
            _ => {
                let why =
                    format!("the server does not tell of the stream {name}: {error}; is JetStream enabled?");
                return Err(FeedFailure::Refused(why));
            }
        },
    };
    let subject = &config.subject;
    // It is read before the feed's last message: what comes between makes the stream one that others write to.
    let sequence = stream.cached_info().state.last_sequence;
    let last = match stream.get_last_raw_message_by_subject(subject).await {
        Ok(last) => last,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
            return Ok((context, StreamEnd { sequence, last: None }));
        }
        Err(error) => {
            let why = format!("the last message of {subject} in the stream {name} can't be read: {error}");
            return Err(FeedFailure::Refused(why));
        }
    };
    let chain = last.headers.get(CHAIN).map(ToString::to_string);
    if chain.as_ref().is_some_and(|found| *found != chain_id.to_string()) {
        let chain = chain.unwrap_or_default();
        let why = format!("{subject} has blocks of chain {chain}: choose another with --feed.nats.subject");
        return Err(FeedFailure::Refused(why));
    }
    match position(&last.payload) {
        Some(position) => Ok((context, StreamEnd { sequence, last: Some((last.sequence, position)) })),
        None => Err(FeedFailure::Refused(format!(
            "the last message of {subject} in the stream {name} is not of a feed: choose another with \
             --feed.nats.subject"
        ))),
    }
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
    fn what_makes_no_sense_is_named() {
        assert!(config("OPP2P", "opp2p.10.blocks").check().is_ok());
        for (stream, subject) in
            [("", "a"), ("a.b", "a"), ("a b", "a"), ("a", ""), ("a", "a..b"), ("a", "a.*"), ("a", "$JS.a")]
        {
            assert!(config(stream, subject).check().is_err(), "{stream} {subject}");
        }
        let missing = NatsConfig { credentials: Some("/nowhere/creds".into()), ..config("a", "b") };
        assert!(matches!(missing.check(), Err(NatsError::Credentials { .. })));
    }

    #[test]
    fn servers_are_read_with_commas_between_them() {
        let servers = NatsConfig::servers("nats://a:1, tls://b").unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!((servers[1].host(), servers[1].port(), servers[1].tls_required()), ("b", 4222, true));
        for wrong in ["", ",", "http://a", "ws://a", "nats://"] {
            assert!(NatsConfig::servers(wrong).is_err(), "{wrong}");
        }
        let error = NatsConfig::servers("http://me:hidden@a").unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{error}");
    }
}
