//! `opp2p devnet`: a complete network in one process, to watch and to measure.

use super::devnet_ports::Ports;
use super::devnet_record::{Ending, Record};
use super::flags::sentence;
use super::listeners::{self, Listener};
use super::values::any_port;
use super::web::{Web, WebArgs};
use super::{End, Failure, NO, answer, devnet_engines, devnet_join, devnet_page, remark, runtime};
use crate::devnet::{
    Cue, Engines, Links, Member, Network, NetworkConfig, NetworkError, NetworkEvent, Program,
    Report, Scenario, Stage, Summary,
};
use crate::page::{Page, PageError};
#[cfg(feature = "tui")]
use crate::screen::Screen;
use opp2p_core::chain::Fork;
use opp2p_node::host::tcp_port;
use std::io::{Write, stderr};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

/// Number of blocks before the follower is killed, or a quarter of all blocks if that is less.
const BLOCKS_BEFORE_KILL: u64 = 5;
/// Minimum time that blocks continue after the follower's restart: it learns of the missed ones
/// from the next one.
const REJOIN: Duration = Duration::from_secs(2);
/// Maximum number of blocks that it may miss: fewer than the record keeps.
const MAX_MISSED_BLOCKS: u128 = 2000;
/// Interval between two frames of the live view.
const FRAME: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of followers.
    #[arg(
        long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=64)
    )]
    followers: u8,
    /// End after this many blocks and all scenarios [default: run until ended].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    blocks: Option<u64>,
    /// Seconds between two blocks; fractions are allowed [default: 2, and 0.2 with --fork denim].
    #[arg(long, value_name = "SECONDS", value_parser = block_time)]
    block_time: Option<Duration>,
    /// Newest active fork, with all that it builds on: canyon, delta, ecotone, fjord, granite,
    /// holocene, isthmus, jovian; then karst, lagoon; or Base's azul, beryl, cobalt, denim.
    #[arg(long, value_name = "FORK", default_value = "jovian")]
    fork: Fork,
    /// Kill the last follower after a few blocks, and restart it after this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = outage_length)]
    kill_follower_for: Option<Duration>,
    /// Make something happen after the run's block BLOCK [default: 5], or later, as soon as the
    /// chain is long enough: reorg, equivocation, rewind, partition, lying-peer, 200ms. May be
    /// repeated; one scenario waits for the end of another. In the live view keys begin them.
    #[arg(long = "scenario", value_name = "NAME[@BLOCK]")]
    scenarios: Vec<Cue>,
    /// Start two execution clients, op-geth or op-reth from the path: one builds the sequencer's
    /// blocks, the other executes those of the first follower.
    #[arg(long)]
    engines: bool,
    /// When the network is up, print one JSON object with all that others need to join: the chain's
    /// rollup.json, its signer, the addresses of the nodes and for browsers, and the page.
    #[arg(long)]
    print_config: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
    /// Keep keys, blocks and ports here, and go on from them next time [default: a temporary
    /// directory]. The chain's rollup.json is written here too, and standard error says
    /// how a node can join.
    #[arg(long = "data-dir", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    web: WebArgs,
    /// TCP port on loopback for browsers' WebSockets; 0 lets the system choose [default: the last
    /// one of the data directory if it is free, else the system's choice].
    #[arg(long = "p2p.listen.ws", value_name = "PORT", value_parser = any_port)]
    ws: Option<u16>,
    /// Serve no observer page and let no browsers in [default: both, on loopback, at free ports].
    #[arg(long)]
    no_web: bool,
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
    /// Returns the number of blocks to publish before the follower is killed.
    fn blocks_before_kill(&self) -> u64 {
        self.blocks.map_or(BLOCKS_BEFORE_KILL, |blocks| (blocks / 4).clamp(1, BLOCKS_BEFORE_KILL))
    }

    /// Returns the block interval that the fork requires; `None` if any will do.
    fn interval_of_fork(&self) -> Option<Duration> {
        (self.fork == Fork::Denim).then_some(Duration::from_millis(200))
    }

    fn block_time(&self) -> Duration {
        self.block_time.or(self.interval_of_fork()).unwrap_or(Duration::from_secs(2))
    }

    /// Refuses a block time that the fork does not allow, and an outage that does not fit into the
    /// run.
    fn check(&self) -> Result<(), Failure> {
        if let (Some(given), Some(interval)) = (self.block_time, self.interval_of_fork())
            && given != interval
        {
            return Err(Failure::new(format!(
                "--block-time {}: with --fork {} a block comes every {} s; leave --block-time out",
                given.as_secs_f64(),
                self.fork,
                interval.as_secs_f64()
            )));
        }
        let Some(outage) = self.kill_follower_for else { return Ok(()) };
        let interval = self.block_time();
        let (seconds, block_time) = (outage.as_secs_f64(), interval.as_secs_f64());
        let blocks = |duration: Duration| duration.as_nanos().div_ceil(interval.as_nanos().max(1));
        if blocks(outage) > MAX_MISSED_BLOCKS {
            return Err(Failure::new(format!(
                "--kill-follower-for {seconds} is {} blocks of {block_time} s, and a follower may \
                 miss {MAX_MISSED_BLOCKS}; use {} seconds or less",
                blocks(outage),
                MAX_MISSED_BLOCKS as f64 * block_time
            )));
        }
        let after = blocks(outage + REJOIN);
        let Some(given) = self.blocks else { return Ok(()) };
        if u128::from(given.saturating_sub(self.blocks_before_kill())) < after {
            return Err(Failure::new(format!(
                "--blocks {given} is too few for --kill-follower-for {seconds}, as blocks must go \
                 on after the follower's start; use {} or more",
                u128::from(BLOCKS_BEFORE_KILL) + after
            )));
        }
        Ok(())
    }

    fn obstacle(&self, scenario: Scenario) -> Option<String> {
        let followers = usize::from(self.followers);
        let has_outage = self.kill_follower_for.is_some();
        scenario.obstacle(followers, self.fork, self.block_time(), self.engines, has_outage)
    }

    /// Refuses scenarios that this devnet can't play, or that its run does not reach.
    fn check_scenarios(&self) -> Result<(), Failure> {
        for Cue { scenario, block } in &self.scenarios {
            if let Some(obstacle) = self.obstacle(*scenario) {
                return Err(Failure::new(format!("--scenario {scenario}: {obstacle}")));
            }
            if let (Some(block), Some(blocks)) = (block, self.blocks)
                && *block > blocks
            {
                return Err(Failure::new(format!(
                    "--scenario {scenario}@{block} begins after the last of --blocks {blocks}; \
                     use a lower number after @"
                )));
            }
        }
        Ok(())
    }

    /// Returns the ports for browsers: those of the flags, or else of the last run in the data
    /// directory. Refuses flags that contradict each other.
    fn ports(&self) -> Result<Ports, Failure> {
        let last = self.data_dir.as_deref().map(Ports::read).unwrap_or_default();
        let listen = self.web.listen();
        for (flag, is_given) in
            [("--web.listen", listen.is_some()), ("--p2p.listen.ws", self.ws.is_some())]
        {
            if self.no_web && is_given {
                return Err(Failure::new(format!(
                    "both --no-web and {flag} are specified: leave out one"
                )));
            }
        }
        if let Some(port) = self.ws {
            let ip = Ipv4Addr::LOCALHOST.into();
            let mut all = vec![Listener { flag: "--p2p.listen.ws", ip, port }];
            let page =
                listen.map(|at| Listener { flag: "--web.listen", ip: at.ip(), port: at.port() });
            all.extend(page);
            listeners::check(&all)?;
            listeners::check_port(ip, port, "--p2p.listen.ws")?;
        }
        let mut ports = last.with(self.ws, listen.map(|at| at.port()));
        // A port that is given may be the other one of the last run.
        if ports.ws == ports.web {
            match self.ws {
                Some(_) => ports.web = 0,
                None => ports.ws = 0,
            }
        }
        Ok(ports)
    }

    /// Returns the program of the execution clients, if they are asked for.
    fn program(&self) -> Result<Option<Program>, Failure> {
        let others = [
            (self.data_dir.is_some(), "--data-dir: the execution clients' chain is always new"),
            (
                self.kill_follower_for.is_some(),
                "--kill-follower-for: a follower starts again without its execution client",
            ),
        ];
        match (self.engines, others.iter().find(|(is_given, _)| *is_given)) {
            (false, _) => Ok(None),
            (true, Some((_, why))) => {
                Err(Failure::new(format!("--engines with {why}; leave out one")))
            }
            (true, None) => devnet_engines::program(self.fork, self.block_time()).map(Some),
        }
    }

    /// Returns the observer page, unless it is off, or it is not embedded and was not requested.
    fn page(&self, port: u16) -> Result<Option<Web>, Failure> {
        if self.no_web {
            return Ok(None);
        }
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self.web.load_for(self.web.listen().unwrap_or(own)) {
            Ok(web) => Ok(Some(web)),
            Err(error @ PageError::NotEmbedded) if self.web.listen().is_none() => {
                remark(format_args!("no observer page: {}", sentence(&error)));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    args.check()?;
    args.check_scenarios()?;
    let ports = args.ports()?;
    let program = args.program()?;
    let web = args.page(ports.web)?;
    // Before there is anything to clean up. It is dropped last, since without it a signal ends the
    // process at once.
    let mut end = End::listen()?;
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => {
            Some(tempfile::Builder::new().prefix("opp2p-devnet-").tempdir().map_err(|error| {
                Failure::new(format!("can't make a temporary directory: {error}; give --data-dir"))
            })?)
        }
    };
    let directory =
        temporary.as_ref().map(|made| made.path().to_path_buf()).or(args.data_dir.clone());
    let directory = directory.unwrap_or_default();
    let runtime = runtime()?;
    let watched = play(args, web, ports, program.as_ref(), directory, &mut end);
    let summary = runtime.block_on(watched)?;
    let Some(summary) = summary else { return Ok(ExitCode::SUCCESS) };
    if args.json {
        answer(serde_json::to_string(&summary)?)?;
    } else {
        answer(&summary)?;
    }
    Ok(ExitCode::from(if summary.ok { 0 } else { NO }))
}

/// Runs the devnet in this directory, with execution clients if there is a program for them; `None`
/// if it was asked to end before the network was up. The clients have ended when this returns.
async fn play(
    args: &Args,
    web: Option<Web>,
    ports: Ports,
    program: Option<&Program>,
    directory: PathBuf,
    end: &mut End,
) -> Result<Option<Summary>, Failure> {
    let mut engines = tokio::select! {
        // The same signal may have ended the clients.
        biased;
        () = end.asked() => return Ok(None),
        started = devnet_engines::start(program, &directory) => started?,
    };
    let config = NetworkConfig {
        followers: usize::from(args.followers),
        block_time: args.block_time(),
        fork: args.fork,
        directory,
        browsers: (web.is_some() || args.ws.is_some()).then_some(ports.ws),
        genesis: engines.as_ref().map(Engines::genesis),
    };
    watch(args, web, ports, &config, engines.as_mut(), end).await
}

/// Destination of the run's output.
enum Display {
    /// A live view.
    #[cfg(feature = "tui")]
    Screen(Box<Screen>),
    /// A line per block on standard output.
    Lines,
    /// A line per block on standard error: standard output is for the summary.
    Aside,
}

impl Display {
    fn open(json: bool) -> Result<Self, Failure> {
        if json {
            return Ok(Self::Aside);
        }
        #[cfg(feature = "tui")]
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            let screen = Screen::enter().map_err(|error| {
                Failure::new(format!("can't use the terminal: {error}; try `| cat`"))
            })?;
            return Ok(Self::Screen(Box::new(screen)));
        }
        Ok(Self::Lines)
    }

    /// Returns `true` if this is the live view.
    const fn is_live(&self) -> bool {
        !matches!(self, Self::Lines | Self::Aside)
    }

    /// Shows the news. Returns `true` if the output is closed.
    fn refresh(&mut self, report: &mut Report, now: Duration) -> Result<bool, Failure> {
        match self {
            #[cfg(feature = "tui")]
            Self::Screen(screen) => {
                let snapshot = report.snapshot(now);
                screen.show(|frame, colour| crate::devnet::draw(frame, &snapshot, colour))?;
                Ok(false)
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
                    // The lines only accompany the summary, so an error does not matter.
                    let _ = writeln!(stderr(), "{line}");
                }
                Ok(false)
            }
        }
    }

    /// Passes on the scenarios whose keys were pressed. Returns `true` if the user wants to quit.
    #[cfg_attr(not(feature = "tui"), allow(unused_variables))]
    fn keys(&mut self, asked: &mpsc::Sender<Scenario>) -> Result<bool, Failure> {
        match self {
            #[cfg(feature = "tui")]
            Self::Screen(screen) => Ok(screen.pressed(|key| {
                if let Some(scenario) = Scenario::of_key(key) {
                    // If too many wait already, the key has no effect.
                    let _ = asked.try_send(scenario);
                }
            })?),
            Self::Lines | Self::Aside => Ok(false),
        }
    }

    /// Ends the live view, or writes the lines of the blocks that did not reach all followers.
    fn close(mut self, report: &mut Report) -> Result<(), Failure> {
        if !self.is_live() {
            self.refresh(report, Duration::MAX)?;
        }
        Ok(())
    }
}

/// Runs the devnet; `None` if it was asked to end before the network was up.
async fn watch(
    args: &Args,
    web: Option<Web>,
    ports: Ports,
    config: &NetworkConfig,
    mut engines: Option<&mut Engines>,
    end: &mut End,
) -> Result<Option<Summary>, Failure> {
    let (mut network, mut events, page) = tokio::select! {
        started = start(args, web, config) => started?,
        () = end.asked() => return Ok(None),
    };
    introduce(args, ports, &network, page.as_ref(), config, engines.as_deref())?;
    let mut record = Record::open(&network, config, page.as_ref());
    let ((teller, mut news), (asker, asked)) = (mpsc::channel(16), mpsc::channel(16));
    let has_outage = args.kill_follower_for.is_some();
    let stage = Stage::new(&network, config, &args.scenarios, args.blocks, has_outage, teller)?;
    let (stage, links) = devnet_engines::link(stage, &network, engines.as_deref())?;
    let mut display = Display::open(args.json)?;
    let (enough, kill) = (Notify::new(), Notify::new());
    // Boxed so that they can be dropped before the network that they borrow.
    let mut producing = Box::pin(stage.run(args.blocks.unwrap_or(u64::MAX), &enough, asked));
    let mut outage = Box::pin(outage(&network, args.kill_follower_for.unwrap_or_default(), &kill));
    let mut ending = Ending::new(&enough);
    let (mut frames, mut produced, mut outage_done) = (frames(), false, !has_outage);
    loop {
        tokio::select! {
            // The news come before the events that follow from them.
            biased;
            Some(news) = news.recv() => {
                record.news(&news);
                if !ending.has_begun() && record.blocks.len() as u64 == args.blocks_before_kill() {
                    kill.notify_one();
                }
            }
            done = &mut outage, if !outage_done => {
                outage_done = true;
                if let Err(error) = done {
                    record.failures.push(error.to_string());
                    ending.begin();
                }
            }
            () = &mut producing, if !produced => {
                produced = true;
                ending.begin();
            }
            () = end.asked() => {
                // A second request during that time means not to wait.
                if ending.begin() {
                    break;
                }
            }
            _ = frames.tick() => {
                record.look_at(&network);
                if let Some(failure) = ending.failure(engines.as_deref_mut()) {
                    record.failures.push(failure);
                    ending.begin();
                }
                let elapsed = record.elapsed();
                let quits = display.refresh(&mut record.report, elapsed)? || display.keys(&asker)?;
                if quits && ending.begin() && display.is_live() {
                    break;
                }
                if ending.is_over(&record, produced && news.is_empty()) {
                    break;
                }
            }
            Some((member, event)) = events.recv() => record.event(member, &event),
        }
    }
    display.close(&mut record.report)?;
    drop((producing, outage));
    let summary = sum_up(args, record, &mut network, end).await?;
    tokio::select! {
        () = stop(network, page, links) => {}
        // The execution clients end in any case.
        () = end.asked() => {}
    }
    Ok(Some(summary))
}

async fn stop(network: Network, page: Option<Page>, links: Option<Links>) {
    if let Some(links) = links {
        links.stop().await;
    }
    if let Some(page) = page {
        page.stop().await;
    }
    network.stop().await;
}

fn frames() -> Interval {
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    frames
}

/// Says how others can join, as far as the flags ask for it.
fn introduce(
    args: &Args,
    ports: Ports,
    network: &Network,
    page: Option<&Page>,
    config: &NetworkConfig,
    engines: Option<&Engines>,
) -> Result<(), Failure> {
    if args.data_dir.is_some() {
        keep(ports, network, page, config)?;
    }
    if args.print_config {
        answer(devnet_join::config(network, page, engines))?;
    }
    Ok(())
}

/// Writes the chain and the ports into the network's folder, for further nodes and the next run.
fn keep(
    ports: Ports,
    network: &Network,
    page: Option<&Page>,
    config: &NetworkConfig,
) -> Result<(), Failure> {
    devnet_join::tell(&config.directory, network.chain(), &network.sequencer_info())?;
    let ws = network.browser_addresses().iter().find_map(tcp_port);
    let web = page.map(|page| page.address().port());
    // Without browsers, those of the last run are kept.
    ports.with(ws, web).write(&config.directory)
}

/// Returns the summary of a run, after looking at the followers' disks. Prints what is wrong.
async fn sum_up(
    args: &Args,
    record: Record,
    network: &mut Network,
    end: &mut End,
) -> Result<Summary, Failure> {
    if record.report.has_played(Scenario::Partition) {
        // The run may have ended within it.
        unblock(network).await;
    }
    let elapsed = record.elapsed();
    let mut summary = record.report.summary(elapsed);
    summary.ok &= args.blocks.is_none_or(|wanted| summary.blocks >= wanted);
    let problems = tokio::select! {
        problems = record.problems(network) => problems?,
        () = end.asked() => vec!["asked to end before the followers' disks were looked at".into()],
    };
    for problem in problems {
        remark(problem);
        summary.ok = false;
    }
    Ok(summary)
}

/// Events of the nodes.
type Events = mpsc::Receiver<(Member, NetworkEvent)>;

/// Starts the network and serves the page.
async fn start(
    args: &Args,
    web: Option<Web>,
    config: &NetworkConfig,
) -> Result<(Network, Events, Option<Page>), Failure> {
    let (network, events) = Network::start(config).await?;
    if args.data_dir.is_some() {
        // An earlier run may have been killed within a partition, which the follower remembers. It
        // was the last one of that run.
        for follower in 0..config.followers {
            network.cut_off(follower, false).await;
        }
    }
    network.meshed().await?;
    let page = match web {
        Some(web) => {
            let refresh = devnet_page::refresh(&network, args.block_time());
            Some(web.start(devnet_page::start(&network), Some(refresh)).await?)
        }
        None => None,
    };
    Ok((network, events, page))
}

/// Lets the last follower connect to the others again, which a partition prevents.
async fn unblock(network: &Network) {
    if let Some(last) = network.follower_infos().len().checked_sub(1) {
        network.cut_off(last, false).await;
    }
}

/// Kills the last follower on `kill`, and starts it again after `length`.
async fn outage(network: &Network, length: Duration, kill: &Notify) -> Result<(), NetworkError> {
    kill.notified().await;
    network.kill_last_follower().await?;
    sleep(length).await;
    network.restart_last_follower().await?;
    // It remembers whom it had blocked when it was killed.
    unblock(network).await;
    Ok(())
}
