//! `opp2p watch`: a live view of a running node; without a terminal, a line for each new head.

use super::super::{End, Failure, answer, runtime};
#[cfg(feature = "tui")]
use super::watch_draw::draw;
use super::watch_view::View;
use super::{Node, NodeArgs, READ};
use crate::rpc::types::{NodeStatus, PeerDump, VerdictInfo};
#[cfg(feature = "tui")]
use crate::screen::Screen;
use crate::text::{count, short_hash};
use serde_json::json;
#[cfg(feature = "tui")]
use std::io::{IsTerminal, stdout};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// Interval between two queries of the node.
const ASKING: Duration = Duration::from_secs(1);
/// Interval between two checks of the keyboard.
#[cfg(feature = "tui")]
const LOOKING: Duration = Duration::from_millis(100);
/// Maximum number of verdicts to show.
const VERDICTS: usize = 64;
/// Number of failed queries after which a view without a terminal gives up.
const PATIENCE: u32 = 10;

#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// Watches until told to end.
pub(in super::super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let node = args.node.node(READ)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut end = End::listen()?;
        // A wrong address must be reported on the ordinary screen.
        let first = tokio::select! {
            () = end.asked() => return Ok(()),
            first = look(&node) => first?,
        };
        #[cfg(feature = "tui")]
        if stdout().is_terminal() {
            return show(&node, first, &mut end).await;
        }
        lines(&node, first, &mut end).await
    });
    // A line that waits for a reader who does not read must not hold the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Queries the node's current state.
async fn look(node: &Node) -> Result<View, Failure> {
    let status: NodeStatus = node.call("opp2p_nodeStatus", json!([])).await?;
    let peers: PeerDump = node.call("opp2p_peers", json!([true])).await?;
    let verdicts: Vec<VerdictInfo> = node.call("opp2p_recentVerdicts", json!([VERDICTS])).await?;
    let peers = peers.peers.into_values().collect();
    Ok(View { status, peers, verdicts, trouble: None, silent: Duration::ZERO })
}

/// Queries the node again and again, without end, and sends what it answers.
async fn poll_status(node: &Node, answers: mpsc::Sender<Result<View, Failure>>) {
    let mut asking = interval(ASKING);
    asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        asking.tick().await;
        if answers.send(look(node).await).await.is_err() {
            return;
        }
    }
}

#[cfg(feature = "tui")]
async fn show(node: &Node, mut view: View, end: &mut End) -> Result<(), Failure> {
    let mut screen = Screen::enter()
        .map_err(|error| Failure::new(format!("can't use the terminal: {error}; try `| cat`")))?;
    let mut looking = interval(LOOKING);
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (sender, mut answers) = mpsc::channel(1);
    // Beside the keys: a query may take as long as a node does not answer.
    let mut asking = pin!(poll_status(node, sender));
    let mut heard = Instant::now();
    loop {
        view.silent = heard.elapsed();
        screen.show(|frame, colour| draw(frame, &view, colour))?;
        tokio::select! {
            () = end.asked() => return Ok(()),
            _ = looking.tick() => if screen.wants_quit()? { return Ok(()) },
            () = &mut asking => return Ok(()),
            Some(answer) = answers.recv() => match answer {
                Ok(now) => (view, heard) = (now, Instant::now()),
                Err(Failure(why)) => view.trouble = Some(why),
            },
        }
    }
}

async fn lines(node: &Node, mut view: View, end: &mut End) -> Result<(), Failure> {
    let (sender, mut answers) = mpsc::channel(1);
    let mut asking = pin!(poll_status(node, sender));
    let (mut told, mut failures) = (None, 0);
    loop {
        let head = view.status.head.filter(|head| told != Some(head.hash));
        if let Some(head) = head {
            told = Some(head.hash);
            let age = super::status::age(&head);
            let (hash, peers) = (short_hash(&head.hash, 16), view.status.peers.connected);
            let line = format!("head {}  0x{hash}{age}  {}", head.number, count(peers, "peer"));
            // Beside the signals: a reader may not read.
            let written = tokio::task::spawn_blocking(move || answer(line));
            tokio::select! {
                () = end.asked() => return Ok(()),
                written = written => if !written?? { return Ok(()) },
            }
        }
        tokio::select! {
            () = end.asked() => return Ok(()),
            () = &mut asking => return Ok(()),
            Some(answer) = answers.recv() => match answer {
                Ok(now) => (view, failures) = (now, 0),
                // A node that is restarted comes back.
                Err(failure) => {
                    failures += 1;
                    if failures >= PATIENCE {
                        return Err(failure);
                    }
                }
            },
        }
    }
}
