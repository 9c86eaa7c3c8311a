//! `opp2p watch`: a live view of a running node; where there is no terminal, a line for each new head.

use super::super::{End, Failure, answer, runtime};
use super::watch_draw::{View, draw};
use super::{Node, NodeArgs};
use crate::rpc::types::{NodeStatus, PeerDump, VerdictInfo};
use crate::screen::Screen;
use crate::text::short_hash;
use serde_json::json;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between two questions to the node.
const ASKING: Duration = Duration::from_secs(1);
/// Between two looks at the keyboard.
const LOOKING: Duration = Duration::from_millis(100);
/// Verdicts that are shown.
const VERDICTS: usize = 64;
/// Questions without an answer after which a view without a terminal gives up.
const PATIENCE: u32 = 10;

#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// Watches until told to end.
pub(in super::super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let node = args.node.node()?;
    runtime()?.block_on(async {
        let mut end = End::listen()?;
        // Somebody who mistyped the address should hear of it on an ordinary screen.
        let first = look(&node).await?;
        if stdout().is_terminal() {
            show(&node, first, &mut end).await
        } else {
            lines(&node, first, &mut end).await
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The node as it is now.
async fn look(node: &Node) -> Result<View, Failure> {
    let status: NodeStatus = node.call("opp2p_nodeStatus", json!([])).await?;
    let peers: PeerDump = node.call("opp2p_peers", json!([true])).await?;
    let verdicts: Vec<VerdictInfo> = node.call("opp2p_recentVerdicts", json!([VERDICTS])).await?;
    Ok(View { status, peers: peers.peers.into_values().collect(), verdicts, trouble: None })
}

async fn show(node: &Node, mut view: View, end: &mut End) -> Result<(), Failure> {
    let mut screen = Screen::enter()
        .map_err(|error| Failure::new(format!("can't use the terminal: {error}; try `| cat`")))?;
    let (mut asking, mut looking) = (interval(ASKING), interval(LOOKING));
    for ticks in [&mut asking, &mut looking] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        screen.show(|frame, colour| draw(frame, &view, colour))?;
        tokio::select! {
            () = end.asked() => return Ok(()),
            _ = looking.tick() => if screen.wants_quit()? { return Ok(()) },
            _ = asking.tick() => match look(node).await {
                Ok(now) => view = now,
                Err(Failure(why)) => view.trouble = Some(why),
            },
        }
    }
}

async fn lines(node: &Node, mut view: View, end: &mut End) -> Result<(), Failure> {
    let mut asking = interval(ASKING);
    asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut failures) = (None, 0);
    loop {
        let head = view.status.head.filter(|head| told != Some(head.hash));
        if let Some(head) = head {
            told = Some(head.hash);
            let age = head.age.map_or_else(String::new, |age| format!("  {age} s old"));
            let (hash, peers) = (short_hash(&head.hash, 16), view.status.peers.connected);
            if !answer(format_args!("head {}  0x{hash}{age}  {peers} peers", head.number))? {
                return Ok(());
            }
        }
        tokio::select! {
            () = end.asked() => return Ok(()),
            _ = asking.tick() => match look(node).await {
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
