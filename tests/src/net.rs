//! A wide-area network in user space: packets wait for lines, travel, and get lost.
//!
//! Each node has a line up and a line down. A packet passes the sender's line up, travels for the
//! time of the pair of nodes, and passes the receiver's line down. The network is pure: time comes
//! from the caller, as a duration since any start, and randomness from a seed. The testbed in
//! `tests/wan` feeds it with real packets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Returns the IPv4 address of the node with this index.
pub fn address(index: usize) -> Ipv4Addr {
    let [high, low] = ((index + 1) as u16).to_be_bytes();
    Ipv4Addr::new(10, 77, high, low)
}

/// Returns the index of the node that an IPv4 packet is for; `None` if it is another packet.
pub fn destination(packet: &[u8]) -> Option<usize> {
    match packet {
        [first, ..] if first >> 4 != 4 => None,
        packet => match packet.get(16..20)? {
            [10, 77, high, low] => usize::from(u16::from_be_bytes([*high, *low])).checked_sub(1),
            _ => None,
        },
    }
}

/// Returns why this machine can't run the testbed; `None` if it can.
pub fn obstacle() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("it needs Linux".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun".into());
    }
    for (program, package) in
        [("ip", "iproute2"), ("unshare", "util-linux"), ("nsenter", "util-linux")]
    {
        if Command::new(program).arg("--version").output().is_err()
            && Command::new(program).arg("-V").output().is_err()
        {
            return Some(format!("there is no `{program}`, which comes with {package}"));
        }
    }
    let alone = Command::new("unshare").args(["--net", "true"]).output();
    if !alone.is_ok_and(|output| output.status.success()) {
        return Some("this user may not make network namespaces: run it as root".into());
    }
    None
}

/// Rates of one node's two lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Bytes per second that the node can send.
    pub up: f64,
    /// Bytes per second that the node can receive.
    pub down: f64,
    /// Bytes that wait at most for each of the two lines. A packet beyond that is dropped.
    pub queue: usize,
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that nodes sent.
    pub packets: u64,
    /// Packets that the network lost at random.
    pub lost: u64,
    /// Packets that found a full queue.
    pub overflowed: u64,
    /// Bytes that passed each node's line up.
    pub sent: Vec<u64>,
    /// Bytes that passed each node's line down.
    pub received: Vec<u64>,
}

/// A packet that comes out of the network.
#[derive(Debug, PartialEq, Eq)]
pub struct Out {
    /// The node that receives it.
    pub to: usize,
    /// Time at which its last byte arrives.
    pub due: Duration,
    /// Its bytes.
    pub packet: Vec<u8>,
}

/// A line that takes one packet after another.
#[derive(Debug)]
struct Line {
    rate: f64,
    queue: usize,
    free: Duration,
    /// End and size of each packet that waits or is being sent.
    waiting: VecDeque<(Duration, usize)>,
    bytes: usize,
}

impl Line {
    fn new(rate: f64, queue: usize) -> Self {
        let (free, waiting) = (Duration::ZERO, VecDeque::new());
        Self { rate, queue, free, waiting, bytes: 0 }
    }

    /// Returns the time at which a packet that comes now is through; `None` if it does not fit into
    /// the queue. A line that is idle takes a packet of any size.
    fn pass(&mut self, now: Duration, size: usize) -> Option<Duration> {
        while let Some(&(end, bytes)) = self.waiting.front()
            && end <= now
        {
            self.waiting.pop_front();
            self.bytes -= bytes;
        }
        if !self.waiting.is_empty() && self.bytes + size > self.queue {
            return None;
        }
        self.free = self.free.max(now) + Duration::from_secs_f64(size as f64 / self.rate);
        self.waiting.push_back((self.free, size));
        self.bytes += size;
        Some(self.free)
    }
}

/// Stage of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It reaches the receiver's line down.
    Arrives,
    /// Its last byte is through.
    Leaves,
}

/// A packet on its way. Packets of one time keep their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Travelling {
    at: Duration,
    order: u64,
    stage: Stage,
    to: usize,
    packet: Vec<u8>,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    up: Vec<Line>,
    down: Vec<Line>,
    delays: Vec<Vec<Duration>>,
    loss: f64,
    random: Random,
    travelling: BinaryHeap<Reverse<Travelling>>,
    order: u64,
    counts: Counts,
}

impl Net {
    /// Creates a network. `delays[a][b]` is the time from `a` to `b`, and `loss` the share of
    /// packets that get lost, from 0 to 1.
    ///
    /// # Panics
    /// If `delays` is not as long and as wide as there are nodes.
    pub fn new(nodes: &[Rates], delays: Vec<Vec<Duration>>, loss: f64, seed: u64) -> Self {
        let count = nodes.len();
        assert!(delays.len() == count && delays.iter().all(|row| row.len() == count));
        Self {
            up: nodes.iter().map(|node| Line::new(node.up, node.queue)).collect(),
            down: nodes.iter().map(|node| Line::new(node.down, node.queue)).collect(),
            delays,
            loss,
            random: Random::new(seed),
            travelling: BinaryHeap::new(),
            order: 0,
            counts: Counts { sent: vec![0; count], received: vec![0; count], ..Counts::default() },
        }
    }

    /// Takes a packet from a node. A packet for an unknown node is ignored.
    pub fn enter(&mut self, now: Duration, from: usize, to: usize, packet: Vec<u8>) {
        if from >= self.up.len() || to >= self.down.len() {
            return;
        }
        self.counts.packets += 1;
        let Some(sent) = self.up[from].pass(now, packet.len()) else {
            self.counts.overflowed += 1;
            return;
        };
        self.counts.sent[from] += packet.len() as u64;
        if self.loss > 0.0 && self.random.chance() < self.loss {
            self.counts.lost += 1;
            return;
        }
        self.travel(sent + self.delays[from][to], Stage::Arrives, to, packet);
    }

    /// Returns the next packet that is through by now.
    pub fn leave(&mut self, now: Duration) -> Option<Out> {
        while self.next_wakeup().is_some_and(|at| at <= now) {
            let Reverse(Travelling { at, stage, to, packet, .. }) = self.travelling.pop()?;
            if stage == Stage::Leaves {
                self.counts.received[to] += packet.len() as u64;
                return Some(Out { to, due: at, packet });
            }
            // A line is occupied in the order of arrival, which is not the order of departure.
            match self.down[to].pass(at, packet.len()) {
                Some(end) => self.travel(end, Stage::Leaves, to, packet),
                None => self.counts.overflowed += 1,
            }
        }
        None
    }

    /// Returns the time at which [`Self::leave`] should be called again.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.travelling.peek().map(|Reverse(next)| next.at)
    }

    /// Returns the counts.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    fn travel(&mut self, at: Duration, stage: Stage, to: usize, packet: Vec<u8>) {
        self.order += 1;
        let order = self.order;
        self.travelling.push(Reverse(Travelling { at, order, stage, to, packet }));
    }
}

/// A source of numbers that look random and follow from a seed: the generator SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a source.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number from 0 to 1, which is less than 1.
    pub fn chance(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a whole number below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.chance() * count as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Two or more nodes with 1 MB/s up and down: 1,000 bytes take 1 ms.
    fn net(count: usize, delay: Duration, queue: usize, loss: f64) -> Net {
        let rates = Rates { up: 1e6, down: 1e6, queue };
        Net::new(&vec![rates; count], vec![vec![delay; count]; count], loss, 7)
    }

    /// Takes out everything, in order.
    fn all(net: &mut Net) -> Vec<(usize, Duration, usize)> {
        let mut out = Vec::new();
        while let Some(at) = net.next_wakeup() {
            while let Some(Out { to, due, packet }) = net.leave(at) {
                out.push((to, due, packet.len()));
            }
        }
        out
    }

    #[test]
    fn a_packet_takes_both_lines_and_the_way_between() {
        let mut net = net(2, 20 * MS, 10_000, 0.0);
        net.enter(5 * MS, 0, 1, vec![0; 1000]);
        assert_eq!(net.next_wakeup(), Some(26 * MS));
        assert_eq!(net.leave(25 * MS), None);
        assert_eq!(all(&mut net), [(1, 27 * MS, 1000)]);
        assert_eq!((net.counts().sent[0], net.counts().received[1]), (1000, 1000));
    }

    #[test]
    fn delays_are_those_of_the_pair() {
        let rates = Rates { up: 1e9, down: 1e9, queue: 10_000 };
        let delays = vec![vec![MS, 10 * MS, 80 * MS], vec![10 * MS, MS, MS], vec![MS, MS, MS]];
        let mut net = Net::new(&[rates; 3], delays, 0.0, 0);
        net.enter(Duration::ZERO, 0, 2, vec![0; 10]);
        net.enter(Duration::ZERO, 0, 1, vec![0; 10]);
        net.enter(Duration::ZERO, 2, 0, vec![0; 10]);
        let order: Vec<_> = all(&mut net).iter().map(|(to, at, _)| (*to, at.as_millis())).collect();
        assert_eq!(order, [(0, 1), (1, 10), (2, 80)]);
    }

    #[test]
    fn a_line_passes_its_rate_and_no_more() {
        let mut net = net(2, Duration::ZERO, 1 << 30, 0.0);
        for _ in 0..500 {
            net.enter(Duration::ZERO, 0, 1, vec![0; 1000]);
        }
        let out = all(&mut net);
        // The second line takes each packet when it is through the first one.
        assert_eq!(out.len(), 500);
        assert_eq!(out.last().expect("some").1.as_millis(), 501);
    }

    #[test]
    fn many_senders_share_the_receivers_line() {
        let mut net = net(11, Duration::ZERO, 1 << 30, 0.0);
        for from in 1..11 {
            for _ in 0..10 {
                net.enter(Duration::ZERO, from, 0, vec![0; 1000]);
            }
        }
        assert_eq!(all(&mut net).last().expect("some").1.as_millis(), 101);
    }

    #[test]
    fn a_far_packet_does_not_hold_up_a_near_one() {
        let rates = Rates { up: 1e6, down: 1e6, queue: 10_000 };
        let delays = vec![vec![MS, MS, 100 * MS], vec![MS, MS, MS], vec![100 * MS, MS, MS]];
        let mut net = Net::new(&[rates; 3], delays, 0.0, 0);
        net.enter(Duration::ZERO, 2, 0, vec![0; 1000]);
        net.enter(MS, 1, 0, vec![0; 1000]);
        let times: Vec<_> = all(&mut net).iter().map(|(_, at, _)| at.as_millis()).collect();
        assert_eq!(times, [4, 102]);
    }

    #[test]
    fn a_full_queue_drops_and_empties_again() {
        let mut net = net(2, Duration::ZERO, 5_000, 0.0);
        for _ in 0..20 {
            net.enter(Duration::ZERO, 0, 1, vec![0; 1000]);
        }
        assert_eq!((all(&mut net).len(), net.counts().overflowed), (5, 15));
        // What is dropped occupies no line.
        assert_eq!(net.counts().sent[0], 5_000);
        net.enter(3 * MS, 0, 1, vec![0; 1000]);
        net.enter(100 * MS, 0, 1, vec![0; 9000]);
        assert_eq!((all(&mut net).len(), net.counts().overflowed), (2, 15));
    }

    #[test]
    fn the_receivers_queue_is_bounded_too() {
        let mut net = net(31, Duration::ZERO, 5_000, 0.0);
        for from in 1..31 {
            net.enter(Duration::ZERO, from, 0, vec![0; 1000]);
        }
        assert_eq!((all(&mut net).len(), net.counts().overflowed), (5, 25));
    }

    #[test]
    fn the_share_of_lost_packets_is_as_set_and_repeats_with_the_seed() {
        let run = |loss| {
            let mut net = net(2, Duration::ZERO, 1 << 30, loss);
            for _ in 0..100_000 {
                net.enter(Duration::ZERO, 0, 1, vec![0; 10]);
            }
            assert_eq!(all(&mut net).len() as u64 + net.counts().lost, 100_000);
            net.counts().lost
        };
        assert_eq!(run(0.0), 0);
        assert!((450..550).contains(&run(0.005)), "{}", run(0.005));
        assert!((49_000..51_000).contains(&run(0.5)), "{}", run(0.5));
        assert_eq!(run(0.005), run(0.005));
    }

    #[test]
    fn packets_of_one_pair_keep_their_order() {
        let mut net = net(2, 3 * MS, 1 << 30, 0.0);
        for number in 0..100 {
            net.enter(Duration::from_micros(number), 0, 1, vec![number as u8; 40]);
        }
        let mut numbers = Vec::new();
        while let Some(out) = net.leave(Duration::from_secs(1)) {
            numbers.push(out.packet[0]);
        }
        assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn packets_from_or_to_unknown_nodes_are_ignored() {
        let mut net = net(2, MS, 10_000, 0.0);
        net.enter(Duration::ZERO, 0, 2, vec![0; 10]);
        net.enter(Duration::ZERO, 9, 1, vec![0; 10]);
        assert_eq!((net.next_wakeup(), net.counts().packets), (None, 0));
    }

    #[test]
    fn a_packets_destination_is_the_node_with_its_address() {
        let to = |address: Ipv4Addr| {
            let mut packet = [0; 40];
            packet[0] = 0x45;
            packet[16..20].copy_from_slice(&address.octets());
            packet
        };
        for index in [0, 1, 254, 255, 300] {
            assert_eq!(destination(&to(address(index))), Some(index));
        }
        for other in [Ipv4Addr::new(10, 77, 0, 0), Ipv4Addr::new(10, 78, 0, 1)] {
            assert_eq!(destination(&to(other)), None);
        }
        let mut version_6 = to(address(1));
        version_6[0] = 0x60;
        assert_eq!(destination(&version_6), None);
        assert_eq!((destination(&[0x45; 19]), destination(&[])), (None, None));
    }
}
