//! The nodes of a run: one process and one network namespace each, and the router between them.

use crate::foreign::{self, Foreign};
use crate::host::{self, Setup};
use crate::router::{self, Counted, Place, Plan, namespace_of};
use alloy_primitives::hex;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use opp2p_node::key::SecretKey;
use opp2p_tests::net::{Random, address};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::sleep;

/// Port of every node.
const PORT: u16 = 9000;
/// Maximum time until a process is in its namespace.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node's implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our node.
    Ours,
    /// A program around op-node's own package.
    OpNode(&'static str),
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] =
        [Self::OpNode("op-node"), Self::OpNode("op-node-newest"), Self::Ours];

    /// Returns the name by which an argument chooses the kind.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "opp2p",
            Self::OpNode(program) => program,
        }
    }

    /// Returns `true` if the program is built.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Ours => true,
            Self::OpNode(program) => foreign::is_built(program),
        }
    }

    fn command(self) -> (PathBuf, Vec<&'static str>) {
        match self {
            Self::Ours => {
                (std::env::current_exe().expect("this program is a file"), vec![host::ROLE])
            }
            Self::OpNode(program) => {
                (foreign::programs().expect("it is built").join(program), vec![])
            }
        }
    }
}

/// What connects the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// Bits per second of each node, in each direction, in millions.
    pub(crate) mbit: f64,
    /// Time for which a packet waits at most for a line.
    pub(crate) queue: Duration,
    /// Time from each node to each other node.
    pub(crate) delays: Vec<Vec<Duration>>,
    /// Share of packets that get lost.
    pub(crate) loss: f64,
    /// Seed of losses and identities.
    pub(crate) seed: u64,
}

/// Running processes. Dropping them ends them, and the namespaces with them.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// The nodes.
    pub(crate) all: Vec<Arc<Foreign>>,
    router: Foreign,
}

impl Nodes {
    /// Starts one process for each kind, and the network between them. No node runs yet.
    pub(crate) async fn start(kinds: &[Kind], lines: &Lines) -> Result<Self, String> {
        let mut all = Vec::new();
        for kind in kinds {
            let (program, arguments) = kind.command();
            all.push(Arc::new(alone(kind.name(), &program, &arguments).await?));
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let router = alone("the router", &program, &[router::ROLE]).await?;
        let rate = lines.mbit * 1e6 / 8.0;
        let queue = (rate * lines.queue.as_secs_f64()) as usize;
        let place = |node: &Arc<Foreign>| {
            node.process().map(|pid| Place { pid, rate, queue }).ok_or("a node ended at once")
        };
        let plan = Plan {
            nodes: all.iter().map(place).collect::<Result<_, _>>()?,
            delays: lines
                .delays
                .iter()
                .map(|row| row.iter().map(|delay| delay.as_micros() as u64).collect())
                .collect(),
            loss: lines.loss,
            seed: lines.seed,
            outside: namespace_of("self").map_err(|error| error.to_string())?,
        };
        let plan = serde_json::to_value(plan).map_err(|error| error.to_string())?;
        router.ask("start", plan).await?;
        Ok(Self { all, router })
    }

    /// Returns the router's counts.
    pub(crate) async fn counted(&self) -> Result<Counted, String> {
        let counted = self.router.ask("counts", json!({})).await?;
        serde_json::from_value(counted).map_err(|error| error.to_string())
    }

    /// Returns the seconds of processor time that all nodes have taken.
    pub(crate) fn processor_time(&self) -> f64 {
        /// Clock ticks per second, on every Linux that Rust's standard library supports.
        const TICKS: f64 = 100.0;
        let ticks = |node: &Arc<Foreign>| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.process()?)).ok()?;
            let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
            Some(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>())
        };
        self.all.iter().filter_map(ticks).sum::<f64>() / TICKS
    }
}

/// Starts a program in a network namespace of its own, ahead of the machine's other work.
async fn alone(
    name: &'static str,
    program: &std::path::Path,
    arguments: &[&str],
) -> Result<Foreign, String> {
    let mut command = Command::new("nice");
    let niceness = if arguments == [router::ROLE] { "-20" } else { "-10" };
    command.args(["-n", niceness, "unshare", "--net", "--"]).arg(program).args(arguments);
    let started = Foreign::start(name, &mut command);
    let pid = started.process().ok_or_else(|| format!("{name} ended at once"))?;
    let outside = namespace_of("self").map_err(|error| error.to_string())?;
    let start = Instant::now();
    while namespace_of(pid).map_err(|error| format!("{name} ended: {error}"))? == outside {
        if start.elapsed() > PATIENCE {
            return Err(format!("{name} does not get a namespace of its own"));
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(started)
}

/// Who a node is, and whom it dials.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    index: usize,
    key: [u8; 32],
    dials: Vec<Multiaddr>,
}

/// Returns the members of a network in which each dials some of those before it, as the seed says.
pub(crate) fn members(count: usize, dials: usize, seed: u64) -> Vec<Member> {
    let mut random = Random::new(seed);
    let mut members: Vec<Member> = Vec::new();
    for index in 0..count {
        let mut earlier: Vec<usize> = (0..index).collect();
        while earlier.len() > dials {
            earlier.remove(random.below(earlier.len()));
        }
        let dials = earlier.into_iter().map(|earlier| members[earlier].address()).collect();
        let mut key = [0x11; 32];
        key[30..].copy_from_slice(&(index as u16).to_be_bytes());
        members.push(Member { index, key, dials });
    }
    members
}

impl Member {
    /// Returns its address.
    pub(crate) fn address(&self) -> Multiaddr {
        let key = SecretKey::from_bytes(&self.key).expect("a key");
        Multiaddr::from(address(self.index))
            .with(Protocol::Tcp(PORT))
            .with(Protocol::P2p(key.peer_id()))
    }

    /// Returns the settings of our node as this member.
    pub(crate) fn setup(&self, genesis_time: u64) -> Setup {
        Setup {
            ip: address(self.index),
            port: PORT,
            key: hex::encode(self.key),
            dials: self.dials.clone(),
            publishes: false,
            genesis_time,
            has: None,
            fetches: false,
        }
    }

    /// Returns the parameters with which a node of the kind starts as this member.
    pub(crate) fn start(&self, kind: Kind, publishes: bool, genesis_time: u64) -> Value {
        let Kind::Ours = kind else { return self.op_node(publishes, genesis_time) };
        let setup = Setup { publishes, ..self.setup(genesis_time) };
        serde_json::to_value(setup).expect("settings are JSON")
    }

    fn op_node(&self, publishes: bool, genesis_time: u64) -> Value {
        let chain = host::chain(genesis_time);
        let rollup: Value = serde_json::from_str(&chain.to_rollup_json()).expect("JSON");
        let dials: Vec<String> = self.dials.iter().map(ToString::to_string).collect();
        let mut args = vec![
            format!("--p2p.listen.ip={}", address(self.index)),
            format!("--p2p.listen.tcp={PORT}"),
            format!("--p2p.priv.raw={}", hex::encode(self.key)),
        ];
        if !dials.is_empty() {
            args.push(format!("--p2p.static={}", dials.join(",")));
        }
        let key = if publishes { hex::encode_prefixed(crate::kit::SIGNER) } else { "0x".into() };
        json!({
            "args": args, "rollup": rollup, "discovery": false, "rpc": false, "key": key,
            "signer": crate::kit::signer().address(),
        })
    }
}
