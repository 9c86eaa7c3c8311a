//! Cost of a connected peer: memory and idle CPU time of the program itself, with 0, 50 and 200
//! peers.
//!
//! The peers run rust-libp2p's gossipsub and are subscribed to all topics. They run in this
//! process, and the node in a process of its own, over loopback. Run with `cargo bench -p opp2p
//! --bench peers`; it needs `/proc`.

#[path = "../../tests/kit/gossiper.rs"]
mod gossiper;

use futures::StreamExt;
use gossiper::Gossiper;
use libp2p::core::transport::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, Transport, noise, tcp, yamux};
use std::env;
use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Time for the node to settle before the measurement, and length of the measurement.
const QUIET: Duration = Duration::from_secs(20);
/// Clock ticks per second in `/proc/PID/stat`, on every Linux that Rust's standard library
/// supports.
const TICKS: f64 = 100.0;

/// The node's process, killed on drop.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn start(directory: &std::path::Path, port: u16) -> std::io::Result<Self> {
        let settings = env::vars_os().map(|(name, _)| name);
        let ours = settings.filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("OP_NODE_") || name.starts_with("OPP2P_")
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_opp2p"));
        ours.for_each(|name| {
            command.env_remove(name);
        });
        let child = command
            .args(["node", "--network", "op-mainnet", "--log.level", "error"])
            .args(["--p2p.listen.ip", "127.0.0.1", "--p2p.listen.tcp", &port.to_string()])
            .args([
                "--p2p.peers.hi",
                "1000",
                "--p2p.peers.inbound",
                "1000",
                "--p2p.peers.pending",
                "1000",
            ])
            .arg("--data-dir")
            .arg(directory.join("data"))
            .arg("--p2p.priv.path")
            .arg(directory.join("key"))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Returns the process's anonymous memory in KiB.
    fn memory(&self) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Returns the CPU time so far, in seconds.
    fn time(&self) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let ticks = |at: usize| -> Result<f64, Box<dyn Error + Send + Sync>> {
            Ok(fields.get(at).ok_or("no field")?.parse()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }
}

fn peer(address: &Multiaddr) -> Result<Swarm<Gossiper>, Box<dyn Error + Send + Sync>> {
    let key = Keypair::generate_secp256k1();
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key)?)
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = Gossiper::new(&key, 10, "bench")?;
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(3600));
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    swarm.dial(address.clone())?;
    Ok(swarm)
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    if !fs::exists("/proc/self/status")? {
        println!("memory is read from /proc, which this system does not have");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let node = Node::start(directory.path(), port)?;
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse()?;
    let mut peers: Vec<JoinHandle<()>> = Vec::new();
    let mut alone = None;
    println!("peers   memory KiB   KiB a peer   idle CPU");
    for count in [0, 50, 200] {
        while peers.len() < count {
            let mut swarm = peer(&address)?;
            let connected = async {
                while swarm.connected_peers().next().is_none() {
                    swarm.select_next_some().await;
                }
            };
            timeout(Duration::from_secs(10), connected).await?;
            peers.push(tokio::spawn(async move {
                while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. })
                {
                }
            }));
        }
        sleep(QUIET).await;
        let before = node.time()?;
        sleep(QUIET).await;
        let idle = (node.time()? - before) / QUIET.as_secs_f64() * 100.0;
        if peers.iter().any(JoinHandle::is_finished) {
            return Err("the node turned a peer out, so that it can't be counted".into());
        }
        let memory = node.memory()?;
        let first = *alone.get_or_insert(memory);
        let each = if count == 0 { 0.0 } else { (memory - first) / count as f64 };
        println!("{count:>5} {memory:>12.0} {each:>12.1} {idle:>8.2} %");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    Runtime::new()?.block_on(run())
}
