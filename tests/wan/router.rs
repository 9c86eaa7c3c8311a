//! The process that carries packets between the nodes' namespaces.
//!
//! It runs in a namespace of its own, makes one TUN device for each node, and moves it into the
//! node's namespace. It takes calls on standard input as the foreign programs do, and ends with it.
//! The namespaces and devices end with the processes, so there is nothing to clean up.

use crate::tun;
use opp2p_tests::net::{Net, Rates, address, destination};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Argument that makes this program the router.
pub(crate) const ROLE: &str = "--router";
/// Maximum number of packets that are read from one device at a time.
const BATCH: usize = 64;
/// A packet that leaves later than this after its time counts as late.
const LATE: Duration = Duration::from_millis(2);
/// Maximum size of a packet. The devices have the usual 1,500 bytes.
const PACKET: usize = 2048;
/// Packets that wait in the kernel until the router reads them.
const KERNEL_QUEUE: usize = 10_000;

/// The network to emulate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The nodes.
    pub(crate) nodes: Vec<Place>,
    /// Time from each node to each other node, in microseconds.
    pub(crate) delays: Vec<Vec<u64>>,
    /// Share of packets that get lost.
    pub(crate) loss: f64,
    /// Seed of the losses.
    pub(crate) seed: u64,
    /// Name of the namespace that the testbed was started in, which it must not change.
    pub(crate) outside: PathBuf,
}

/// One node's place in the network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Process in whose namespace the node is.
    pub(crate) pid: u32,
    /// Bytes per second, in each direction.
    pub(crate) rate: f64,
    /// Bytes that wait at most for each of the node's lines.
    pub(crate) queue: usize,
}

/// What the router counted since its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Packets that nodes sent.
    pub(crate) packets: u64,
    /// Packets that the network lost at random.
    pub(crate) lost: u64,
    /// Packets that found a full queue.
    pub(crate) overflowed: u64,
    /// Packets that left more than two milliseconds after their time, since the machine was busy.
    pub(crate) late: u64,
    /// Bytes that each node sent.
    pub(crate) sent: Vec<u64>,
    /// Bytes that each node received.
    pub(crate) received: Vec<u64>,
}

/// Runs the router until standard input ends.
pub(crate) fn run() -> io::Result<()> {
    let (mut input, mut router) = (Vec::new(), None);
    loop {
        let mut ready: Vec<usize> = Vec::new();
        let is_input = wait(router.as_ref(), &mut ready)?;
        if let Some(router) = &mut router {
            Router::carry(router, &ready)?;
        }
        if !is_input {
            continue;
        }
        let mut part = [0; 16 << 10];
        match rustix::io::read(rustix::stdio::stdin(), &mut part)? {
            0 => return Ok(()),
            count => input.extend_from_slice(&part[..count]),
        }
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = input.drain(..=end).collect();
            let call: Value = serde_json::from_slice(&line)?;
            let mut answer = json!({ "id": call["id"] });
            match call["method"].as_str() {
                Some("start") => {
                    match Router::start(serde_json::from_value(call["params"].clone())?) {
                        Ok(started) => router = Some(started),
                        Err(error) => answer["error"] = error.to_string().into(),
                    }
                }
                Some("counts") if let Some(router) = &router => {
                    answer["result"] = serde_json::to_value(router.counted())?;
                }
                _ => answer["error"] = "the router knows start, and then counts".into(),
            }
            let mut out = io::stdout().lock();
            writeln!(out, "{answer}")?;
            out.flush()?;
        }
    }
}

/// Waits for packets, for the time of the next packet, or for a call. Returns whether there is a
/// call.
fn wait(router: Option<&Router>, ready: &mut Vec<usize>) -> io::Result<bool> {
    let stdin = rustix::stdio::stdin();
    let mut fds = vec![PollFd::from_borrowed_fd(stdin, PollFlags::IN)];
    let mut timeout = None;
    if let Some(router) = router {
        fds.extend(router.devices.iter().map(|device| PollFd::new(device, PollFlags::IN)));
        timeout = router.net.next_wakeup().map(|at| {
            let left = at.saturating_sub(router.start.elapsed());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
    }
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    ready.extend((0..fds.len() - 1).filter(|at| is_ready(&fds[at + 1])));
    Ok(is_ready(&fds[0]))
}

struct Router {
    start: Instant,
    net: Net,
    devices: Vec<OwnedFd>,
    late: u64,
    /// Buffers for the next packets.
    spare: Vec<Vec<u8>>,
}

impl Router {
    fn start(plan: Plan) -> io::Result<Self> {
        let mut devices = Vec::new();
        for (index, place) in plan.nodes.iter().enumerate() {
            devices.push(connect(index, place.pid, &plan.outside)?);
        }
        let rates = |place: &Place| Rates { up: place.rate, down: place.rate, queue: place.queue };
        let rates: Vec<Rates> = plan.nodes.iter().map(rates).collect();
        let row = |row: Vec<u64>| row.into_iter().map(Duration::from_micros).collect();
        let delays = plan.delays.into_iter().map(row).collect();
        let net = Net::new(&rates, delays, plan.loss, plan.seed);
        Ok(Self { start: Instant::now(), net, devices, late: 0, spare: Vec::new() })
    }

    /// Takes what the nodes sent, and hands on what is due.
    fn carry(&mut self, ready: &[usize]) -> io::Result<()> {
        for &from in ready {
            for _ in 0..BATCH {
                let mut packet = self.spare.pop().unwrap_or_default();
                packet.resize(PACKET, 0);
                match rustix::io::read(&self.devices[from], &mut packet[..]) {
                    Ok(size) => packet.truncate(size),
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    Err(error) => return Err(error.into()),
                }
                if let Some(to) = destination(&packet) {
                    self.net.enter(self.start.elapsed(), from, to, packet);
                }
            }
        }
        let now = self.start.elapsed();
        while let Some(out) = self.net.leave(now) {
            self.late += u64::from(now - out.due > LATE);
            // A packet that the receiver does not take is lost, as on any network.
            let _ = rustix::io::write(&self.devices[out.to], &out.packet);
            self.spare.push(out.packet);
        }
        Ok(())
    }

    fn counted(&self) -> Counted {
        let counts = self.net.counts();
        Counted {
            packets: counts.packets,
            lost: counts.lost,
            overflowed: counts.overflowed,
            late: self.late,
            sent: counts.sent.clone(),
            received: counts.received.clone(),
        }
    }
}

/// Returns a name of the network namespace that a process is in.
pub(crate) fn namespace_of(process: impl std::fmt::Display) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/net"))
}

/// Makes the device of one node.
fn connect(index: usize, pid: u32, outside: &Path) -> io::Result<OwnedFd> {
    if namespace_of("self")? == outside || namespace_of(pid)? == outside {
        return Err(io::Error::other("router and nodes need namespaces of their own"));
    }
    let (name, address) = (format!("wan{index}"), address(index));
    let device = tun::create(&name)?;
    let moved = Command::new("ip")
        .args(["link", "set", &name, "netns", &pid.to_string()])
        .stdin(Stdio::null())
        .status()?;
    let mut inside = Command::new("nsenter")
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(["ip", "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    let set_up = format!(
        "link set lo up\naddr add {address}/16 dev {name}\n\
         link set {name} txqueuelen {KERNEL_QUEUE} up\n"
    );
    inside.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(set_up.as_bytes())?;
    if !moved.success() || !inside.wait()?.success() {
        return Err(io::Error::other(format!("`ip` can't set up the device {name}")));
    }
    Ok(device)
}
