//! Flags about the feed.

use super::{Failure, path};
use crate::feed::{FollowError, NatsConfig, NatsFeed, write_lines};
use crate::host::HostHandle;
use opp2p_core::feed::Position;
use std::io::ErrorKind;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Feed")]
pub(super) struct FeedArgs {
    /// Write accepted blocks, reorgs and omissions, one JSON object a line, to stdout.
    #[arg(id = "feed", long = "feed", env = "OPP2P_FEED", value_name = "WAY", value_parser = way)]
    way: Option<Way>,
    /// Begin with this block: --feed, and a stream that is empty. By default --feed begins with the next block, and an
    /// empty stream with the lowest block that is kept.
    #[arg(id = "feed_from", long = "feed.from", env = "OPP2P_FEED_FROM", value_name = "NUMBER")]
    from: Option<u64>,
    /// Publish the same to a stream of NATS JetStream, exactly once: nats://HOST:4222 or tls://HOST:4222, the servers of a
    /// cluster separated by commas.
    #[arg(
        id = "feed_nats",
        long = "feed.nats",
        env = "OPP2P_FEED_NATS",
        value_name = "URLS",
        hide_env_values = true
    )]
    nats: Option<String>,
    /// Name of the stream; it is made if there is none.
    #[arg(
        id = "feed_nats_stream",
        long = "feed.nats.stream",
        env = "OPP2P_FEED_NATS_STREAM",
        default_value = "OPP2P",
        value_name = "NAME"
    )]
    stream: String,
    /// Subject of the messages, one for each chain and node; by default opp2p.CHAIN-ID.blocks.
    #[arg(
        id = "feed_nats_subject",
        long = "feed.nats.subject",
        env = "OPP2P_FEED_NATS_SUBJECT",
        value_name = "SUBJECT"
    )]
    subject: Option<String>,
    /// File with credentials for the NATS server.
    #[arg(
        id = "feed_nats_creds", long = "feed.nats.creds", env = "OPP2P_FEED_NATS_CREDS", value_name = "FILE",
        value_parser = path()
    )]
    credentials: Option<PathBuf>,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nowhere: an empty environment variable is one that is not set.
    Nowhere,
    /// To standard output.
    Stdout,
}

fn way(text: &str) -> Result<Way, String> {
    match text {
        "" => Ok(Way::Nowhere),
        "stdout" => Ok(Way::Stdout),
        _ => Err("the feed goes to stdout; a stream is --feed.nats".into()),
    }
}

/// What is to be fed.
#[derive(Debug)]
pub(super) struct FeedPlan {
    lines: bool,
    from: Option<u64>,
    nats: Option<NatsConfig>,
}

impl FeedArgs {
    /// What the flags come to, for this chain.
    pub(super) fn plan(&self, chain_id: u64) -> Result<FeedPlan, Failure> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let nats = match given(&self.nats) {
            None => None,
            Some(urls) => {
                let config = NatsConfig {
                    servers: NatsConfig::servers(&urls)?,
                    stream: self.stream.clone(),
                    subject: given(&self.subject).unwrap_or_else(|| format!("opp2p.{chain_id}.blocks")),
                    credentials: self.credentials.clone().filter(|path| !path.as_os_str().is_empty()),
                    from: self.from,
                };
                config.check()?;
                Some(config)
            }
        };
        let lines = self.way == Some(Way::Stdout);
        Ok(FeedPlan { lines, from: self.from, nats })
    }
}

impl FeedPlan {
    /// Whether standard output is the feed's.
    pub(super) const fn has_lines(&self) -> bool {
        self.lines
    }

    /// Begins to feed a stream, if one is named.
    pub(super) fn start(&self, host: HostHandle) -> Option<NatsFeed> {
        let config = self.nats.clone()?;
        tracing::info!(stream = config.stream, subject = config.subject, "feeding NATS");
        Some(NatsFeed::start(config, host))
    }

    /// Writes lines to standard output until they can't be written any more.
    pub(super) async fn lines(&self, host: HostHandle) -> Failure {
        let position = self.from.map(|from| Position::Start { from: Some(from) });
        let ended = write_lines(host, position, tokio::io::stdout()).await;
        match ended {
            Err(FollowError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Failure::new("nobody reads the feed on standard output any more: the node ends")
            }
            Err(error) => Failure::new(error),
            Ok(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command, node};
    use super::*;
    use clap::Parser;

    fn planned(arguments: &[&str]) -> Result<FeedPlan, String> {
        let line = ["opp2p", "node", "--network", "base"].iter().chain(arguments);
        let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Node(args) = cli.command else { panic!("it is a node's") };
        node::feed(&args).plan(8453).map_err(|Failure(why)| why)
    }

    #[test]
    fn the_feed_s_flags_reach_it() {
        let plan = planned(&[]).unwrap();
        assert!(!plan.lines && plan.nats.is_none());
        let plan = planned(&["--feed", "stdout", "--feed.from", "7", "--feed.nats=nats://a,b:9"]).unwrap();
        assert!(plan.has_lines());
        let nats = plan.nats.expect("a stream");
        assert_eq!((nats.stream.as_str(), nats.subject.as_str()), ("OPP2P", "opp2p.8453.blocks"));
        assert_eq!((nats.servers.len(), nats.from, plan.from), (2, Some(7), Some(7)));
        let plan = planned(&["--feed.nats=a", "--feed.nats.stream=S", "--feed.nats.subject=x.y"]).unwrap();
        let nats = plan.nats.expect("a stream");
        assert_eq!((nats.stream.as_str(), nats.subject.as_str(), nats.credentials), ("S", "x.y", None));
        let plan = planned(&["--feed=", "--feed.nats=", "--feed.nats.creds="]).unwrap();
        assert!(!plan.lines && plan.nats.is_none());
    }

    #[test]
    fn what_can_not_be_fed_is_said_in_one_sentence() {
        for wrong in [
            &["--feed=file"][..],
            &["--feed.nats=http://a"],
            &["--feed.nats=a", "--feed.nats.stream=a.b"],
            &["--feed.nats=a", "--feed.nats.subject=a b"],
            &["--feed.nats=a", "--feed.nats.creds=/nowhere/at/all"],
            &["--feed.from=x"],
        ] {
            assert!(planned(wrong).is_err(), "{wrong:?}");
        }
    }
}
