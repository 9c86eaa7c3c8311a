//! Nodes with metrics, and a parser of their text.

pub(crate) use super::kit::{PATIENCE, chain, signer};

use super::kit;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::metrics::{Metrics, MetricsConfig, RpcMeter, Source};
use opp2p_node::host::{Host, HostConfig, HostEvent, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// A node with its metrics served.
pub(crate) struct Measured {
    pub(crate) host: Host,
    pub(crate) metrics: Metrics,
    pub(crate) rpc: Arc<RpcMeter>,
    /// All events from the start on.
    pub(crate) events: broadcast::Receiver<HostEvent>,
}

pub(crate) fn config(directory: &Path, name: &str, peers: &[&Measured]) -> HostConfig {
    let peers = peers.iter().map(|peer| peer.host.address()).collect();
    kit::config(directory.join(name), peers)
}

impl Measured {
    pub(crate) async fn start(config: HostConfig) -> Self {
        let (host, events) = Host::start_heard(config).await.unwrap();
        let rpc = RpcMeter::new(["opp2p_self", "opp2p_peers"]);
        let sources = vec![Arc::clone(&rpc) as Arc<dyn Source>];
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = MetricsConfig { sources, ..MetricsConfig::new(listen) };
        let metrics = Metrics::start(config, host.handle()).await.unwrap();
        Self { host, metrics, rpc, events }
    }

    pub(crate) async fn follower(directory: &Path, name: &str, peers: &[&Self]) -> Self {
        Self::start(config(directory, name, peers)).await
    }

    pub(crate) async fn sequencer(directory: &Path) -> Self {
        Self::start(HostConfig {
            sequencer: Some(signer().into()),
            ..config(directory, "sequencer", &[])
        })
        .await
    }

    /// Waits until the node's status is as wanted.
    pub(crate) async fn until(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        kit::until(&self.host, wanted).await
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        Scrape::parse(&get(self.metrics.address(), "/metrics").await.1)
    }

    /// Scrapes until the sample is at least this.
    pub(crate) async fn until_at_least(&self, series: &str, least: f64) -> Scrape {
        let look = async {
            loop {
                let scrape = self.scrape().await;
                if scrape.get(series) >= Some(least) {
                    return scrape;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{series} is not {least} in time"))
    }

    pub(crate) async fn stop(self) {
        self.metrics.stop().await;
        self.host.stop().await;
    }
}

/// Publishes the next `count` blocks with the current time.
pub(crate) async fn publish(sequencer: &Measured, maker: &mut BlockMaker, count: usize) {
    for _ in 0..count {
        sequencer.host.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    }
}

/// Sends one request and returns the head and the body of the answer.
pub(crate) async fn request(address: SocketAddr, request: &str) -> (String, String) {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = timeout(PATIENCE, talk).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (String, String) {
    request(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

/// Contents of one scrape.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// Type by family.
    pub(crate) types: BTreeMap<String, String>,
    /// Help by family.
    pub(crate) help: BTreeMap<String, String>,
    /// Value by series, with labels as written.
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(
                    scrape.types.insert(name.into(), kind.into()).is_none(),
                    "{name} is there twice"
                );
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                scrape.help.insert(name.into(), help.into());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                assert!(
                    scrape.samples.insert(series.into(), value).is_none(),
                    "{series} is there twice"
                );
            }
        }
        scrape
    }

    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// Returns the series of a family as label names and values.
    pub(crate) fn labels(&self, family: &str) -> Vec<Vec<(String, String)>> {
        let histogram = self.types.get(family).is_some_and(|kind| kind == "histogram");
        let suffixes: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        let each = self.samples.keys().filter_map(|series| {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let suffix = name.strip_prefix(family)?;
            suffixes.contains(&suffix).then(|| {
                let labels =
                    labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty());
                labels
                    .map(|label| {
                        let (name, value) = label.split_once('=').unwrap();
                        (name.to_owned(), value.trim_matches('"').to_owned())
                    })
                    .collect()
            })
        });
        each.collect()
    }

    /// Returns the names of a family's labels, without a histogram's own.
    pub(crate) fn label_names(&self, family: &str) -> BTreeSet<String> {
        let all = self.labels(family).into_iter().flatten().map(|(name, _)| name);
        all.filter(|name| name != "le").collect()
    }
}
