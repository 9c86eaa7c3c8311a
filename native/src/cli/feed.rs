//! Flags for the feed.

use super::values::whole_number;
use super::{Failure, path};
use crate::feed::{FollowError, NatsConfig, NatsFeed, write_lines};
use opp2p_core::chain::BlockId;
use opp2p_core::feed::{Position, Tip};
use opp2p_node::host::HostHandle;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Default name of the stream.
const STREAM: &str = "OPP2P";

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Feed")]
pub(super) struct FeedArgs {
    /// Write accepted blocks, reorgs and omissions, one JSON object a line, to stdout.
    #[arg(id = "feed", long = "feed", env = "OPP2P_FEED", value_name = "WAY", value_parser = way)]
    way: Option<Way>,
    /// Begin with this block: --feed, and a stream that is empty. By default --feed begins with the
    /// next block, and an empty stream with the lowest block that is kept.
    #[arg(
        id = "feed_from", long = "feed.from", env = "OPP2P_FEED_FROM",
        value_name = "NUMBER", value_parser = whole_number
    )]
    from: Option<u64>,
    /// Go on after this block, the last one that a reader of --feed has. If it is no longer in the
    /// chain, the feed begins with the reorg that removed it.
    #[arg(
        id = "feed_after",
        long = "feed.after",
        env = "OPP2P_FEED_AFTER",
        value_name = "NUMBER:HASH",
        value_parser = after,
        conflicts_with = "feed_from"
    )]
    after: Option<After>,
    /// Publish the same to a stream of NATS JetStream, exactly once: nats://HOST:4222 or
    /// tls://HOST:4222, the servers of a cluster separated by commas.
    #[arg(
        id = "feed_nats",
        long = "feed.nats",
        env = "OPP2P_FEED_NATS",
        value_name = "URLS",
        hide_env_values = true
    )]
    nats: Option<String>,
    /// Name of the stream; created if it does not exist.
    #[arg(
        id = "feed_nats_stream",
        long = "feed.nats.stream",
        env = "OPP2P_FEED_NATS_STREAM",
        default_value = STREAM,
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
        id = "feed_nats_creds", long = "feed.nats.creds", env = "OPP2P_FEED_NATS_CREDS",
        value_name = "FILE",
        value_parser = path()
    )]
    credentials: Option<PathBuf>,
}

/// Destination of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// None: an empty environment variable counts as unset.
    Nowhere,
    /// Standard output.
    Stdout,
}

fn way(text: &str) -> Result<Way, String> {
    match text {
        "" => Ok(Way::Nowhere),
        "stdout" => Ok(Way::Stdout),
        _ => Err("the feed goes to stdout; a stream is --feed.nats".into()),
    }
}

/// The last block that a reader has, or `None`: an empty environment variable counts as unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct After(Option<BlockId>);

fn after(text: &str) -> Result<After, String> {
    if text.is_empty() {
        return Ok(After(None));
    }
    let id = text.split_once(':').and_then(|(number, hash)| {
        let digits = hash.strip_prefix("0x").filter(|digits| digits.len() == 64)?;
        Some(BlockId { number: number.parse().ok()?, hash: digits.parse().ok()? })
    });
    id.map(|id| After(Some(id))).ok_or_else(|| "use NUMBER:HASH, such as 7:0x5f…".into())
}

/// The feeds to run.
#[derive(Debug)]
pub(super) struct FeedPlan {
    lines: bool,
    /// The end of the reader's log; `None` to begin with the next block.
    position: Option<Position>,
    nats: Option<NatsConfig>,
}

impl FeedArgs {
    /// Returns the default subject, if a stream is fed.
    pub(super) fn subject(&self, chain_id: u64) -> Option<String> {
        self.nats.as_ref().filter(|urls| !urls.is_empty()).map(|_| subject_of(chain_id))
    }

    /// Returns the feeds that the flags ask for on this chain.
    pub(super) fn plan(&self, chain_id: u64) -> Result<FeedPlan, Failure> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let nats = match given(&self.nats) {
            None => None,
            Some(urls) => Some(self.nats(&urls, chain_id)?),
        };
        let lines = self.way == Some(Way::Stdout);
        let after = self.after.and_then(|After(id)| id);
        let idle = |flag: &str, needed: &str| {
            Err(Failure::new(format!("{flag} has no effect without {needed}: give both or none")))
        };
        if nats.is_none() {
            let is_given = [
                ("--feed.nats.stream", self.stream != STREAM),
                ("--feed.nats.subject", given(&self.subject).is_some()),
                (
                    "--feed.nats.creds",
                    self.credentials.as_ref().is_some_and(|path| !path.as_os_str().is_empty()),
                ),
                ("--feed.from", self.from.is_some() && !lines),
            ];
            match is_given.iter().find(|(_, is_given)| *is_given) {
                Some(("--feed.from", _)) => return idle("--feed.from", "--feed or --feed.nats"),
                Some((flag, _)) => return idle(flag, "--feed.nats"),
                None => {}
            }
        }
        if after.is_some() && !lines {
            return idle("--feed.after", "--feed");
        }
        let after = after.map(|id| Position::At(Tip::new(id)));
        let from = self.from.map(|from| Position::Start { from: Some(from) });
        Ok(FeedPlan { lines, position: after.or(from), nats })
    }

    /// Returns the stream of these servers to feed.
    #[cfg(feature = "nats")]
    fn nats(&self, urls: &str, chain_id: u64) -> Result<NatsConfig, Failure> {
        let subject = self.subject.clone().filter(|text| !text.is_empty());
        let config = NatsConfig {
            servers: NatsConfig::servers(urls)?,
            stream: self.stream.clone(),
            subject: subject.unwrap_or_else(|| subject_of(chain_id)),
            credentials: self.credentials.clone().filter(|path| !path.as_os_str().is_empty()),
            from: self.from,
        };
        config.check()?;
        Ok(config)
    }

    #[cfg(not(feature = "nats"))]
    fn nats(&self, _: &str, _: u64) -> Result<NatsConfig, Failure> {
        Err(Failure::new("--feed.nats: this program was built without its feature nats"))
    }
}

/// Returns the default subject of a chain's messages.
fn subject_of(chain_id: u64) -> String {
    format!("opp2p.{chain_id}.blocks")
}

impl FeedPlan {
    /// Returns `true` if the feed uses standard output.
    pub(super) const fn has_lines(&self) -> bool {
        self.lines
    }

    /// Starts to feed a stream, if one is configured.
    pub(super) fn start(&self, host: HostHandle) -> Option<NatsFeed> {
        self.nats.clone().map(|config| NatsFeed::start(config, host))
    }

    /// Writes lines to standard output until that fails.
    pub(super) async fn lines(&self, host: HostHandle) -> Failure {
        let ended = write_lines(host, self.position, tokio::io::stdout()).await;
        match ended {
            Err(FollowError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Failure::new("the reader of the feed on standard output is gone: the node ends")
            }
            Err(error) => Failure::new(error),
            Ok(never) => match never {},
        }
    }
}

#[cfg(all(test, feature = "nats"))]
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
    fn feed_flags_reach_the_feed() {
        let plan = planned(&[]).unwrap();
        assert!(!plan.lines && plan.nats.is_none());
        let plan =
            planned(&["--feed", "stdout", "--feed.from", "7", "--feed.nats=nats://a,b:9"]).unwrap();
        assert!(plan.has_lines());
        let nats = plan.nats.expect("a stream");
        assert_eq!((nats.stream.as_str(), nats.subject.as_str()), ("OPP2P", "opp2p.8453.blocks"));
        let start = Some(Position::Start { from: Some(7) });
        assert_eq!((nats.servers.len(), nats.from, plan.position), (2, Some(7), start));
        let plan =
            planned(&["--feed.nats=a", "--feed.nats.stream=S", "--feed.nats.subject=x.y"]).unwrap();
        let nats = plan.nats.expect("a stream");
        assert_eq!(
            (nats.stream.as_str(), nats.subject.as_str(), nats.credentials),
            ("S", "x.y", None)
        );
        let plan = planned(&["--feed=", "--feed.nats=", "--feed.nats.creds="]).unwrap();
        assert!(!plan.lines && plan.nats.is_none());
    }

    #[test]
    fn invalid_feed_settings_are_refused_in_one_sentence() {
        for wrong in [
            &["--feed=file"][..],
            &["--feed.nats=http://a"],
            &["--feed.nats=a", "--feed.nats.stream=a.b"],
            &["--feed.nats=a", "--feed.nats.subject=a b"],
            &["--feed.nats=a", "--feed.nats.creds=/nowhere/at/all"],
            &["--feed.from=x"],
            &["--feed.from=5"],
            &["--feed.nats.stream=A"],
            &["--feed.nats.subject=a.b"],
            &["--feed=stdout", "--feed.nats.creds=/a"],
            &["--feed=stdout", "--feed.after=7"],
            &["--feed=stdout", "--feed.after=7:0xab"],
        ] {
            assert!(planned(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_reader_continues_after_its_last_block() {
        let hash = format!("0x{}", "ab".repeat(32));
        let last = format!("7:{hash}");
        let plan = planned(&["--feed=stdout", "--feed.after", &last]).unwrap();
        let id = BlockId { number: 7, hash: hash.parse().expect("a hash") };
        assert_eq!(plan.position, Some(Position::At(Tip::new(id))));
        assert_eq!(planned(&["--feed=stdout", "--feed.after="]).unwrap().position, None);
        let why = planned(&["--feed.after", &last]).unwrap_err();
        assert!(why.contains("--feed.after has no effect without --feed"), "{why}");
        assert!(planned(&["--feed=stdout", "--feed.from=7", "--feed.after", &last]).is_err());
    }
}
