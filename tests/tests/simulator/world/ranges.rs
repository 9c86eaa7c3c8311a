//! Streams of the range protocol between nodes, and what liars send on them.

use super::super::chain;
use super::super::liar::{LIARS, Liar};
use super::{Happening, MS, World, peer};
use alloy_primitives::{B256, Bytes};
use opp2p_core::chain::BlockId;
use opp2p_core::node::{Input, RangeInput, RangeOutput};
use opp2p_core::payload::Block;
use opp2p_core::sync::range::{
    Encoded, EncodedBlocks, End, Packer, RangeServeId, ReadOrder, Request, StreamClose, StreamId,
};
use std::convert::Infallible;

/// A stream that a node opened.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) to: usize,
    /// Its id at the server, once it is there.
    serve: Option<RangeServeId>,
    /// What arrived and was not read.
    arrived: Vec<u8>,
    end: Option<StreamClose>,
    /// The order to read.
    wants: Option<usize>,
    /// What its server sends again and again, once what it sent before is read.
    endless: Vec<u8>,
}

/// A stream at its server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) from: usize,
    life: u64,
    id: StreamId,
    /// When the last bytes that were sent arrive: they keep their order.
    arrives: u64,
}

/// What happens to a stream.
#[derive(Debug)]
pub(super) enum OnStream {
    /// The request reaches the peer.
    Asked { from: usize, from_life: u64, id: StreamId, request: Request },
    /// Bytes reach the node, and perhaps the end.
    Sent { id: StreamId, bytes: Bytes, end: Option<StreamClose> },
    /// The disk has carried out an order.
    Read { id: RangeServeId, order: Box<ReadOrder> },
    /// The node learns this.
    Learns(RangeInput),
}

/// The canonical blocks on a node's disk.
struct OnDisk<'a>(&'a World, usize);

impl EncodedBlocks for OnDisk<'_> {
    type Body = Bytes;
    type Error = Infallible;

    fn canonical(&mut self, number: u64) -> Result<Option<Encoded<Bytes>>, Infallible> {
        let hash = self.0.members[self.1].disk.canonical(number);
        let block = hash.and_then(|hash| self.0.read(self.1, &BlockId::new(number, hash)));
        Ok(block.map(|block| Encoded {
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            version: block.version(),
            body: block.body().clone(),
        }))
    }

    fn numbers(&mut self) -> Result<Option<(u64, u64)>, Infallible> {
        let chain = self.0.members[self.1].disk.chain();
        let number = |id: Option<&BlockId>| id.map(|id| id.number);
        Ok(number(chain.first()).zip(number(chain.last())))
    }
}

impl World {
    /// Carries out an action for a stream.
    pub(super) fn range(&mut self, at: usize, output: RangeOutput) {
        let life = self.members[at].life;
        match output {
            RangeOutput::Open { id, to, request } => self.open(at, id, super::index(&to), request),
            RangeOutput::Receive { id, limit } => {
                if let Some(stream) = self.members[at].streams.get_mut(&id) {
                    assert!(stream.wants.replace(limit).is_none() && limit > 0, "one at a time");
                    let event = OnStream::Sent { id, bytes: Bytes::new(), end: None };
                    self.at(self.now, Happening::Stream { to: at, life, event });
                }
            }
            RangeOutput::Cancel(id) => {
                if let Some(stream) = self.members[at].streams.remove(&id) {
                    self.forget(&stream);
                }
            }
            RangeOutput::Read { id, order } => {
                let when = self.now + self.rng.range(0, self.plan.write * MS);
                let event = OnStream::Read { id, order: Box::new(order) };
                self.at(when, Happening::Stream { to: at, life, event });
            }
            RangeOutput::Write { id, frame } => {
                if let Some(when) = self.send(at, id, frame, None) {
                    let event = OnStream::Learns(RangeInput::Written(id));
                    self.at(when, Happening::Stream { to: at, life, event });
                }
            }
            RangeOutput::End { id, end } => {
                let bytes = end.encode().to_vec().into();
                self.send(at, id, bytes, Some(StreamClose::Finished));
                self.members[at].served_streams.remove(&id);
            }
            RangeOutput::Reset(id) => {
                self.send(at, id, Bytes::new(), Some(StreamClose::Reset));
                self.members[at].served_streams.remove(&id);
            }
        }
    }

    fn open(&mut self, at: usize, id: StreamId, to: usize, request: Request) {
        self.note(at, (id, to, request));
        let life = self.members[at].life;
        let stream = Stream {
            to,
            serve: None,
            arrived: Vec::new(),
            end: None,
            wants: None,
            endless: Vec::new(),
        };
        assert!(self.members[at].streams.insert(id, stream).is_none(), "an id of its own");
        if self.is_lost(at, to) {
            return;
        }
        let when = self.now + self.latency();
        let event = OnStream::Asked { from: at, from_life: life, id, request };
        let life = self.members.get(to).map_or(0, |member| member.life);
        self.at(when, Happening::Stream { to, life, event });
    }

    /// Sends bytes to the node that opened a stream. Returns when they arrive, if they do.
    fn send(
        &mut self,
        at: usize,
        id: RangeServeId,
        bytes: Bytes,
        end: Option<StreamClose>,
    ) -> Option<u64> {
        let Served { from, life, id: stream, arrives } =
            self.members[at].served_streams.get(&id).copied()?;
        if self.is_lost(at, from) {
            return None;
        }
        let when = (self.now + self.latency()).max(arrives + 1);
        if let Some(served) = self.members[at].served_streams.get_mut(&id) {
            served.arrives = when;
        }
        let event = OnStream::Sent { id: stream, bytes, end };
        self.at(when, Happening::Stream { to: from, life, event });
        Some(when)
    }

    /// Tells the server of a stream that nothing more is read from it.
    fn forget(&mut self, stream: &Stream) {
        if let (Some(id), Some(server)) = (stream.serve, self.members.get(stream.to)) {
            let (life, when) = (server.life, self.now + self.plan.latency.1 * MS);
            let event = OnStream::Learns(RangeInput::Cancelled(id));
            self.at(when, Happening::Stream { to: stream.to, life, event });
        }
    }

    /// Ends all streams between a node and a peer, for the node.
    pub(super) fn end_streams(&mut self, at: usize, other: usize) {
        self.members[at].streams.retain(|_, stream| stream.to != other);
        let served = self.members[at].served_streams.iter();
        let gone: Vec<_> =
            served.filter(|(_, served)| served.from == other).map(|(id, _)| *id).collect();
        for id in gone {
            self.members[at].served_streams.remove(&id);
            self.tell(at, Input::Range(RangeInput::Cancelled(id)));
        }
    }

    pub(super) fn on_stream(&mut self, to: usize, life: u64, event: OnStream) {
        if self.members.get(to).is_some_and(|member| member.life != life) {
            return;
        }
        match event {
            OnStream::Asked { from, from_life, id, request } => {
                self.asked_for_range(to, (from, from_life, id), &request);
            }
            OnStream::Sent { id, bytes, end } => {
                if let Some(stream) = self.members[to].streams.get_mut(&id) {
                    stream.arrived.extend_from_slice(&bytes);
                    stream.end = stream.end.or(end);
                    self.deliver(to, id);
                }
            }
            OnStream::Read { id, order } => {
                let Ok(done) = order.run(&mut OnDisk(self, to));
                self.tell(to, Input::Range(RangeInput::Read { id, done }));
            }
            OnStream::Learns(input) => {
                if let RangeInput::Cancelled(id) = &input
                    && self.members[to].served_streams.remove(id).is_none()
                {
                    return;
                }
                self.tell(to, Input::Range(input));
            }
        }
    }

    /// Gives a node what it wants to read, as far as it is there.
    fn deliver(&mut self, to: usize, id: StreamId) {
        let Some(stream) = self.members[to].streams.get_mut(&id) else { return };
        let Some(limit) = stream.wants else { return };
        let input = if !stream.arrived.is_empty() {
            let rest = stream.arrived.split_off(limit.min(stream.arrived.len()));
            let bytes = std::mem::replace(&mut stream.arrived, rest).into();
            stream.wants = None;
            if stream.arrived.is_empty() && !stream.endless.is_empty() {
                let bytes = Bytes::copy_from_slice(&stream.endless);
                let (life, when) = (self.members[to].life, self.now + self.latency());
                let event = OnStream::Sent { id, bytes, end: None };
                self.at(when, Happening::Stream { to, life, event });
            }
            RangeInput::Received { id, bytes }
        } else if let Some(close) = stream.end {
            self.members[to].streams.remove(&id);
            RangeInput::Closed { id, close }
        } else {
            return;
        };
        self.tell(to, Input::Range(input));
    }

    fn asked_for_range(
        &mut self,
        to: usize,
        (from, from_life, id): (usize, u64, StreamId),
        request: &Request,
    ) {
        let request = Request::decode(&request.encode());
        let is_there = self.members.get(from).is_some_and(|member| member.life == from_life);
        if !is_there || !self.members[from].streams.contains_key(&id) {
            return;
        }
        if let Some(liar) = to.checked_sub(self.plan.honest) {
            let Ok(request) = request else { return };
            let (bytes, end) = self.lie_about_range(self.plan.liars[liar], &request);
            if self.plan.liars[liar] == Liar::Endless
                && let Some(stream) = self.members[from].streams.get_mut(&id)
            {
                stream.endless.clone_from(&bytes);
            }
            let when = self.now + self.latency();
            let event = OnStream::Sent { id, bytes: bytes.into(), end };
            return self.at(when, Happening::Stream { to: from, life: from_life, event });
        }
        if self.members[to].node.is_none() {
            return;
        }
        let serve = RangeServeId(self.next_serve);
        self.next_serve += 1;
        if let Some(stream) = self.members[from].streams.get_mut(&id) {
            stream.serve = Some(serve);
        }
        let served = Served { from, life: from_life, id, arrives: self.now };
        self.members[to].served_streams.insert(serve, served);
        let input = RangeInput::Requested { from: peer(from), id: serve, request };
        self.tell(to, Input::Range(input));
    }

    /// Returns what a liar sends, and how its stream ends.
    fn lie_about_range(&mut self, liar: Liar, request: &Request) -> (Vec<u8>, Option<StreamClose>) {
        let (pace, number) = (self.plan.pace, request.first.number());
        let real = |number: u64| {
            let at = usize::try_from(number).ok()?.checked_sub(1 + self.base)?;
            self.branch.get(at).map(|signed| signed.block.clone())
        };
        let below = |from: u64, count: u64| {
            let numbers = (from.saturating_sub(count - 1)..=from).rev();
            chunk(numbers.filter_map(&real))
        };
        let count = u64::from(request.blocks).min(64);
        let parent = |of: u64| real(of).map_or(B256::ZERO, |block| block.hash());
        let bytes = match liar {
            Liar::WrongBlock => {
                let mut branch = Vec::new();
                // The lowest block names no parent, or one that does not exist.
                let mut parent = B256::with_last_byte(u8::from(number.is_multiple_of(3)));
                for number in (number + 1).saturating_sub(count)..=number {
                    let block = chain::block(pace, number, parent, u64::MAX, 100);
                    parent = block.hash();
                    branch.push(block);
                }
                branch.reverse();
                [chunk(branch), End::Complete.encode().to_vec()].concat()
            }
            Liar::WrongLink => {
                let parent = parent(number.saturating_sub(2));
                chunk([chain::block(pace, number, parent, 0, 100)])
            }
            Liar::WrongNumber => below(number.saturating_sub(1), count),
            Liar::FalseHash => chunk(real(number).map(|block| chain::forged(&block))),
            // The blocks, again and again, or frames that are to be skipped.
            Liar::Endless if number.is_multiple_of(2) => {
                return (below(number, count), None);
            }
            Liar::Endless => return (SKIPPABLE.repeat(200), None),
            Liar::Garbage => {
                let length = self.rng.range(1, 3000);
                (0..length).map(|_| self.rng.next() as u8).collect()
            }
            Liar::Truncated => {
                let mut bytes = below(number, count);
                bytes.truncate(bytes.len().div_ceil(2));
                bytes
            }
            Liar::LongThenSilent => {
                let mut bytes = below(number, count);
                bytes.truncate(bytes.len().div_ceil(2));
                return (bytes, None);
            }
            Liar::Silent => return (Vec::new(), None),
            Liar::NotFound => End::NoMore { lowest: number + 1 }.encode().to_vec(),
            Liar::Error => End::from_parts(self.rng.range(4, 12) as u8, number).encode().to_vec(),
            Liar::ZeroRate => End::from_parts(3, 60_000).encode().to_vec(),
            Liar::Mute | Liar::Greedy => return (Vec::new(), Some(StreamClose::Unsupported)),
            Liar::Moody => {
                let at = self.rng.range(0, LIARS.len() as u64 * 2) as usize;
                if at < LIARS.len() - 1 {
                    return self.lie_about_range(LIARS[at], request);
                }
                [below(number, count), End::Complete.encode().to_vec()].concat()
            }
        };
        (bytes, Some(StreamClose::Finished))
    }
}

/// A frame of 15 bytes that is to be skipped.
const SKIPPABLE: &[u8] = &[0x80, 10, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0];

/// Returns one chunk with these blocks. Without blocks, it returns no bytes.
fn chunk(blocks: impl IntoIterator<Item = Block>) -> Vec<u8> {
    let mut packer = Packer::new(u64::MAX);
    for block in blocks {
        packer.add(block.version(), block.body());
    }
    packer.finish().map(|packed| packed.frame.to_vec()).unwrap_or_default()
}
