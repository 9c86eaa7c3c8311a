//! `opp2p devnet`: a whole network in one process, to watch and to measure.

use super::web::{Web, WebArgs};
use super::{End, Failure, NO, answer, remark, runtime};
use crate::devnet::{
    Member, Network, NetworkConfig, NetworkError, NetworkEvent, Publication, Report, Setup, Summary, draw,
    unix_seconds,
};
use crate::host::{HostEvent, HostEventKind};
use crate::page::{Page, PageError, PageStart};
use crate::screen::Screen;
use opp2p_core::chain::{BlockId, Fork};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How long the followers may take for the last block.
const LAST_BLOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// The same while one of them has yet to catch up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// The follower is killed after so many blocks, or a quarter of them all if that is less.
const BLOCKS_BEFORE_KILL: u64 = 5;
/// Blocks go on for at least so long after its start: what it missed it learns from the next one.
const REJOIN: Duration = Duration::from_secs(2);
/// Most blocks that it may miss: fewer than the books hold one by one.
const MOST_MISSED: u128 = 2000;
/// Published blocks whose place on the followers' disks is checked at the end: the newest.
const CHECKED: usize = 10_000;
/// Time between two frames of the live view.
const FRAME: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of followers.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    followers: u8,
    /// End after this many blocks [default: run until ended].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    blocks: Option<u64>,
    /// Seconds between two blocks; fractions are allowed.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = block_time)]
    block_time: Duration,
    /// Newest active fork: canyon, delta, ecotone, fjord, granite, holocene, isthmus or jovian.
    #[arg(long, value_name = "FORK", default_value = "jovian")]
    fork: Fork,
    /// Kill the last follower after a few blocks, and start it again after so long.
    #[arg(long, value_name = "SECONDS", value_parser = outage_length)]
    kill_follower_for: Option<Duration>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    web: WebArgs,
    /// Serve no observer page and let no browsers in [default: both, on loopback, at ports that are free].
    #[arg(long)]
    no_web: bool,
    /// Keep keys and blocks here, and go on from them next time [default: a temporary directory].
    #[arg(long = "data-dir", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn block_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use 0.01 to 3600 seconds".into())
}

fn outage_length(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use 0.1 to 3600 seconds".into())
}

impl Args {
    /// How many blocks are published before the follower is killed.
    fn blocks_before_kill(&self) -> u64 {
        self.blocks.map_or(BLOCKS_BEFORE_KILL, |blocks| (blocks / 4).clamp(1, BLOCKS_BEFORE_KILL))
    }

    /// Refuses an outage that the run has no room for.
    fn check(&self) -> Result<(), Failure> {
        let Some(outage) = self.kill_follower_for else { return Ok(()) };
        let (seconds, block_time) = (outage.as_secs_f64(), self.block_time.as_secs_f64());
        let blocks = |duration: Duration| duration.as_nanos().div_ceil(self.block_time.as_nanos().max(1));
        if blocks(outage) > MOST_MISSED {
            return Err(Failure::new(format!(
                "--kill-follower-for {seconds} is {} blocks of {block_time} s, and a follower may miss \
                 {MOST_MISSED}; use {} seconds or less",
                blocks(outage),
                MOST_MISSED as f64 * block_time
            )));
        }
        let after = blocks(outage + REJOIN);
        let Some(given) = self.blocks else { return Ok(()) };
        if u128::from(given.saturating_sub(self.blocks_before_kill())) < after {
            return Err(Failure::new(format!(
                "--blocks {given} is too few for --kill-follower-for {seconds}, as blocks must go on after \
                 the follower's start; use {} or more",
                u128::from(BLOCKS_BEFORE_KILL) + after
            )));
        }
        Ok(())
    }

    /// The observer page, unless it is switched off or there is none and it was not asked for.
    fn page(&self) -> Result<Option<Web>, Failure> {
        if self.no_web {
            return Ok(None);
        }
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match self.web.load_for(self.web.listen().unwrap_or(anywhere)) {
            Ok(web) => Ok(Some(web)),
            Err(error @ PageError::NotEmbedded) if self.web.listen().is_none() => {
                remark(format_args!("no observer page: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.check()?;
    let web = args.page()?;
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("opp2p-devnet-").tempdir().map_err(|error| {
            Failure::new(format!("can't make a temporary directory: {error}; give --data-dir"))
        })?),
    };
    let directory = temporary.as_ref().map(|made| made.path().to_path_buf()).or(args.data_dir.clone());
    let config = NetworkConfig {
        followers: usize::from(args.followers),
        block_time: args.block_time,
        fork: args.fork,
        directory: directory.unwrap_or_default(),
        browsers: web.is_some(),
    };
    let summary = runtime()?.block_on(watch(args, web, &config))?;
    let Some(summary) = summary else { return Ok(ExitCode::SUCCESS) };
    if args.json {
        answer(serde_json::to_string(&summary)?)?;
    } else {
        answer(&summary)?;
    }
    Ok(ExitCode::from(if summary.ok { 0 } else { NO }))
}

/// Where the run is shown.
enum Display {
    /// A live view.
    Screen(Box<Screen>),
    /// A line for each block on standard output.
    Lines,
    /// The same on standard error: standard output is for the summary.
    Aside,
}

impl Display {
    fn open(json: bool) -> Result<Self, Failure> {
        if json {
            return Ok(Self::Aside);
        }
        if !stdout().is_terminal() {
            return Ok(Self::Lines);
        }
        let screen = Screen::enter();
        let screen =
            screen.map_err(|error| Failure::new(format!("can't use the terminal: {error}; try `| cat`")))?;
        Ok(Self::Screen(Box::new(screen)))
    }

    /// Shows what is new; tells whether whoever watches wants to end.
    fn refresh(&mut self, report: &mut Report, now: Duration) -> Result<bool, Failure> {
        match self {
            Self::Screen(screen) => {
                let snapshot = report.snapshot(now);
                screen.show(|frame, colour| draw(frame, &snapshot, colour))?;
                Ok(screen.wants_quit()?)
            }
            Self::Lines => {
                while let Some(line) = report.next_line(now) {
                    if !answer(line)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Aside => {
                while let Some(line) = report.next_line(now) {
                    // The lines are company for the summary, which does not depend on them.
                    let _ = writeln!(stderr(), "{line}");
                }
                Ok(false)
            }
        }
    }

    /// Ends the live view, or writes the lines of the blocks that did not come to everybody.
    fn close(mut self, report: &mut Report) -> Result<(), Failure> {
        if !matches!(self, Self::Screen(_)) {
            self.refresh(report, Duration::MAX)?;
        }
        Ok(())
    }
}

/// The whole run; `None` if it was asked to end before there was a network.
async fn watch(args: &Args, web: Option<Web>, config: &NetworkConfig) -> Result<Option<Summary>, Failure> {
    let mut end = End::listen()?;
    let start = async {
        let (network, events) = Network::start(config).await?;
        network.meshed().await?;
        let page = match web {
            Some(web) => Some(web.start(page_start(&network)).await?),
            None => None,
        };
        Ok::<_, Failure>((network, events, page))
    };
    let (mut network, mut events, page) = tokio::select! {
        started = start => started?,
        () = end.asked() => return Ok(None),
    };
    let mut books = Books::open(&network, config, page.as_ref());

    let mut display = Display::open(args.json)?;
    let (published_sender, mut published) = mpsc::channel(16);
    let (enough, kill) = (Notify::new(), Notify::new());
    // Boxed so that they can be dropped before the network that they borrow.
    let mut producing = Box::pin(produce(&network, args, &enough, published_sender)?);
    let mut outage = Box::pin(outage(&network, args.kill_follower_for.unwrap_or_default(), &kill));
    let mut has_outage = args.kill_follower_for.is_some();
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // When the run turned from making blocks to waiting for those that are under way.
    let mut ending: Option<Instant> = None;
    let mut produced = false;
    loop {
        tokio::select! {
            Some((member, event)) = events.recv() => books.event(member, &event),
            Some(publication) = published.recv() => {
                books.published(&publication);
                if ending.is_none() && books.blocks.len() as u64 == args.blocks_before_kill() {
                    kill.notify_one();
                }
            }
            done = &mut outage, if has_outage => {
                has_outage = false;
                if let Err(error) = done {
                    books.failures.push(error.to_string());
                    ending.get_or_insert_with(Instant::now);
                    enough.notify_one();
                }
            }
            () = &mut producing, if !produced => {
                produced = true;
                ending.get_or_insert_with(Instant::now);
            }
            () = end.asked() => {
                // Who asks while the last blocks are under way does not want to wait for them.
                if ending.replace(Instant::now()).is_some() {
                    break;
                }
                enough.notify_one();
            }
            _ = frames.tick() => {
                for (member, status) in network.statuses() {
                    let status = status.borrow();
                    let number = |block: Option<BlockId>| block.map(|block| block.number);
                    books.report.peers(member, status.peers);
                    books.report.heights(member, number(status.head), number(status.highest));
                }
                let elapsed = books.elapsed();
                if display.refresh(&mut books.report, elapsed)? {
                    let again = ending.replace(Instant::now()).is_some();
                    if again && matches!(display, Display::Screen(_)) {
                        break;
                    }
                    enough.notify_one();
                }
                let catching_up = books.report.is_catching_up();
                let patience = if catching_up { CATCH_UP_TIMEOUT } else { LAST_BLOCK_TIMEOUT };
                let late = ending.is_some_and(|at| at.elapsed() > patience);
                let complete = produced && published.is_empty() && books.report.is_settled();
                if late || complete {
                    break;
                }
            }
        }
    }
    display.close(&mut books.report)?;
    drop((producing, outage));

    let elapsed = books.elapsed();
    let mut summary = books.report.summary(elapsed);
    summary.ok &= args.blocks.is_none_or(|wanted| summary.blocks >= wanted);
    let problems = tokio::select! {
        problems = books.problems(&mut network) => problems?,
        () = end.asked() => vec!["asked to end before the followers' disks were looked at".into()],
    };
    for problem in problems {
        remark(problem);
        summary.ok = false;
    }
    if let Some(page) = page {
        page.stop().await;
    }
    network.stop().await;
    Ok(Some(summary))
}

/// What the page is told: the devnet's chain from its beginning, and where browsers join.
fn page_start(network: &Network) -> PageStart {
    PageStart {
        chain: network.chain().clone(),
        signer: None,
        peers: network.browser_addresses().iter().map(ToString::to_string).collect(),
        from_genesis: true,
        name: "opp2p devnet".into(),
    }
}

/// Makes and publishes blocks at the block time until there are enough.
fn produce<'a>(
    network: &'a Network,
    args: &Args,
    enough: &'a Notify,
    published: mpsc::Sender<Publication>,
) -> Result<impl Future<Output = ()> + use<'a>, Failure> {
    let mut maker = network.maker(0)?;
    let mut ticks = interval(args.block_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let blocks = args.blocks.unwrap_or(u64::MAX);
    Ok(async move {
        for _ in 0..blocks {
            // Between two blocks only: one that is on its way would be missing in the books.
            tokio::select! {
                biased;
                () = enough.notified() => return,
                _ = ticks.tick() => {}
            }
            let publication = network.publish(maker.next(unix_seconds())).await;
            let failed = publication.result.is_err();
            // A chain with a hole can't go on.
            if published.send(publication).await.is_err() || failed {
                return;
            }
        }
    })
}

/// Kills the last follower when `kill` says so, and starts it again after `length`.
async fn outage(network: &Network, length: Duration, kill: &Notify) -> Result<(), NetworkError> {
    kill.notified().await;
    network.kill_last_follower().await?;
    sleep(length).await;
    network.restart_last_follower().await
}

/// What is known of the run.
struct Books {
    start: Instant,
    report: Report,
    /// The newest published blocks, for the look at the disks in the end.
    blocks: VecDeque<BlockId>,
    failures: Vec<String>,
}

impl Books {
    fn open(network: &Network, config: &NetworkConfig, page: Option<&Page>) -> Self {
        let report = Report::new(Setup {
            chain_id: crate::devnet::CHAIN_ID,
            fork: config.fork,
            block_time: config.block_time,
            sequencer: network.sequencer_info(),
            followers: network.follower_infos(),
            web: page.map(Page::url),
        });
        Self { start: Instant::now(), report, blocks: VecDeque::new(), failures: Vec::new() }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn event(&mut self, member: Member, event: &NetworkEvent) {
        let since_start = |at: Instant| at.saturating_duration_since(self.start);
        match event {
            NetworkEvent::Host(HostEvent { at, kind }) => match kind {
                HostEventKind::Verdict(verdict) => {
                    self.report.verdict(member, verdict.result, since_start(*at));
                }
                HostEventKind::Core(event) => self.report.event(member, event, since_start(*at)),
                HostEventKind::StoreFailed(error) => self.failures.push(format!("{member}: {error}")),
                _ => {}
            },
            NetworkEvent::Missed => self.failures.push(format!(
                "{member}: events came faster than they were read; its figures are incomplete"
            )),
            NetworkEvent::Killed { at, stored } => self.report.killed(member, *stored, since_start(*at)),
            NetworkEvent::Restarted { at } => self.report.restarted(member, since_start(*at)),
        }
        self.failures.truncate(20);
    }

    fn published(&mut self, publication: &Publication) {
        let Publication { block, transactions, bytes, at, result } = publication;
        match result {
            Ok(()) => {
                let at = at.saturating_duration_since(self.start);
                self.report.published(*block, *transactions, *bytes, at);
                if self.blocks.len() == CHECKED {
                    self.blocks.pop_front();
                }
                self.blocks.push_back(*block);
            }
            Err(error) => self.failures.push(format!("block {} was not published: {error}", block.number)),
        }
    }

    /// What went wrong, after a look at every follower's disk.
    async fn problems(mut self, network: &mut Network) -> Result<Vec<String>, Failure> {
        let last = self.blocks.back().copied();
        for (member, host) in network.hosts() {
            let mut status = host.status();
            let written = status.wait_for(|status| last.is_none() || status.stored == last);
            if tokio::time::timeout(LAST_BLOCK_TIMEOUT, written).await.is_err() {
                self.failures.push(format!("{member}: its last block is not on the disk after 10 s"));
            }
            for block in &self.blocks {
                let stored = host.stored_block(block.number)?.map(|stored| stored.hash());
                if stored != Some(block.hash) {
                    self.failures.push(format!("{member}: block {} is not on its disk", block.number));
                    break;
                }
            }
        }
        Ok(self.failures)
    }
}
