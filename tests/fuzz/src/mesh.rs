//! The gossip router: its frames, and the whole machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use alloy_primitives::Bytes;
use arbitrary::{Result, Unstructured};
use opp2p_core::gossip::{Acceptance, Unpacked};
use opp2p_core::mesh::send::{HEARD, MAX_INCOMING};
use opp2p_core::mesh::wire::{Control, ControlWriter, MAX_OVERHEAD, Pool, Rpc, Transfer};
use opp2p_core::mesh::{
    Class, EntryId, Frame, FrameReader, Id, Input, MAX_CACHED, MAX_CACHED_BYTES, MAX_ENTRIES,
    MAX_HELD, MAX_TOPICS, MAX_UNWANTED, Malformed, MeshConfig, NameJob, Output, PROMISES_PER_PEER,
    Router, Topic, Version,
};
use opp2p_core::payload::snappy;
use opp2p_core::peers::PeerId;
use opp2p_core::sequencer::PublishId;
use opp2p_core::time::Instant;

use crate::material::{Clock, any_span, peer, play};

/// Input: one byte for the size of the pieces, then a stream of frames.
pub(crate) fn frames(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let whole = read(stream, stream.len().max(1));
    assert_eq!(whole, read(stream, usize::from(*piece) + 1));
    for frame in &whole.0 {
        check_frame(frame);
    }
    check_frame(stream);
}

/// Returns the frames of a stream that arrives in pieces, and how it ended.
fn read(stream: &[u8], piece: usize) -> (Vec<Bytes>, Option<Malformed>) {
    let (mut reader, mut pool) = (FrameReader::default(), Pool::new(1000));
    let mut frames = Vec::new();
    for mut input in stream.chunks(piece) {
        while !input.is_empty() {
            match reader.read(Instant::default(), input, &mut pool) {
                Ok((taken, frame)) => {
                    assert!(taken > 0 || pool.free() == 0);
                    assert!(reader.held() <= stream.len().max(64) * 2);
                    if taken == 0 && frame.is_none() {
                        return (frames, None);
                    }
                    frames.extend(frame);
                    input = &input[taken..];
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    reader.close(&mut pool);
    assert_eq!(pool.free(), 1000);
    (frames, None)
}

/// Checks that what is read of a frame is bounded, and written again reads the same.
fn check_frame(frame: &[u8]) {
    let Ok(rpc) = Rpc::parse(frame) else { return };
    assert!(rpc.overhead() <= MAX_OVERHEAD.min(frame.len()));
    let mut writer = ControlWriter::default();
    let text = |topic: &[u8]| String::from_utf8_lossy(topic).into_owned();
    let (mut entries, mut written) = (0, 0);
    for subscription in rpc.subscriptions() {
        writer.subscription(&text(subscription.topic), subscription.subscribes);
        written += 1;
    }
    for control in rpc.control() {
        entries += 1;
        match control {
            Control::Graft(topic) => writer.graft(&text(topic)),
            Control::Prune { topic, backoff } => writer.prune(&text(topic), Some(backoff)),
            Control::IHave { ids, .. } | Control::IWant(ids) | Control::IDontWant(ids) => {
                entries += ids.count();
                continue;
            }
        }
        written += 1;
    }
    for transfer in rpc.transfers() {
        entries += 1;
        match transfer {
            Transfer::Speaks(_) => writer.speaks(),
            Transfer::Sending(id) | Transfer::Receiving(id) | Transfer::Received(id) => {
                match Id::new(id) {
                    Some(id) => writer.receiving([&id]),
                    None => continue,
                }
            }
        }
        written += 1;
    }
    assert!(entries + rpc.messages().count() <= frame.len());
    for message in rpc.messages() {
        assert!(message.data.len() + message.topic.len() <= frame.len());
    }
    if let Some(again) = writer.finish() {
        let again = again.to_vec();
        let prefix = again.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let again = Rpc::parse(&again[prefix..]).expect("we write what we read");
        let control = again.control().count() + again.transfers().count();
        assert_eq!(again.subscriptions().count() + control, written);
    }
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 4] = [
        b"\x02\x0e\x0a\x05\x08\x01\x12\x01t\x0a\x05\x08\x00\x12\x01t",
        b"\x00\x13\x1a\x11\x1a\x03\x0a\x01t\x22\x05\x0a\x01t\x18\x3c\x22\x03\x0a\x01t",
        b"\x01\x0a\x12\x08\x12\x03\x01\x02\x03\x22\x01t\x00\x02\x1a\x00",
        b"\x05\x0f\x1a\x0d\x0a\x06\x0a\x01t\x12\x01\x09\x12\x03\x0a\x01\x09",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}

const PEERS: u8 = 8;
const TOPICS: [&str; 2] = ["blocks", "other"];

/// Messages, the last four of them large, with their names.
static MESSAGES: LazyLock<Vec<(Bytes, Id)>> = LazyLock::new(|| {
    let messages = (0..16_u8).map(made);
    messages.map(|data| (data.clone(), Unpacked::new(&data).message_id(TOPICS[0]).into())).collect()
});

/// Makes a message's data: a literal, so that what is announced is what is there.
fn made(number: u8) -> Bytes {
    let length = if number < 12 { 600 + 100 * usize::from(number) } else { 40_000 };
    let mut literal = Vec::new();
    let mut rest = length;
    while rest >= 0x80 {
        literal.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    literal.push(rest as u8);
    literal.extend([0xf4, (length - 1) as u8, ((length - 1) >> 8) as u8]);
    literal.extend((0..length).map(|at| (at * 31 + usize::from(number) * at / 7) as u8));
    literal.into()
}

fn data(number: u8) -> Bytes {
    MESSAGES[usize::from(number % 16)].0.clone()
}

fn name(number: u8) -> Id {
    MESSAGES[usize::from(number % 16)].1
}

fn speak(from: &mut Unstructured<'_>) -> Result<Option<Frame>> {
    let mut writer = ControlWriter::default();
    for _ in 0..from.int_in_range(1..=6)? {
        let topic = *from.choose(&["blocks", "other", "else"])?;
        let ids = [name(from.int_in_range(0..=15)?), Id::from([from.arbitrary()?; 20])];
        match from.int_in_range(0..=9)? {
            0 => writer.subscription(topic, from.ratio(3, 4)?),
            1 => writer.graft(topic),
            2 => writer.prune(topic, from.arbitrary()?),
            3 => writer.ihave(topic, &ids),
            4 => writer.iwant(&ids),
            5 => writer.idontwant(&ids),
            6 => writer.speaks(),
            7 => writer.sending(&ids),
            8 => writer.receiving(&ids),
            _ => writer.received(&ids),
        }
    }
    Ok(writer.finish())
}

fn without_prefix(frame: &Frame) -> Bytes {
    let bytes: Bytes = frame.to_vec().into();
    let prefix = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    bytes.slice(prefix..)
}

/// The router, and what its driver has to do.
struct Driven {
    router: Router,
    jobs: Vec<NameJob>,
    judging: BTreeMap<EntryId, Id>,
    connected: BTreeSet<PeerId>,
}

impl Driven {
    fn input(&mut self, at: Instant, input: Input) {
        self.router.handle(at, input);
        while let Some(output) = self.router.poll() {
            match output {
                Output::Name(job) => self.jobs.push(job),
                Output::Validate { entry, name, .. } => {
                    assert!(self.judging.insert(entry, name).is_none());
                }
                Output::OpenWriter(peer) | Output::Transmit(peer) => {
                    assert!(self.connected.contains(&peer), "a peer that is not there");
                }
                _ => {}
            }
        }
        let sizes = self.router.sizes();
        let peers = usize::from(PEERS);
        assert!(sizes.peers <= peers && sizes.scored <= peers && sizes.mesh <= peers);
        assert!(sizes.judging <= MAX_ENTRIES && sizes.held <= MAX_HELD);
        assert!(sizes.cached <= MAX_CACHED && sizes.cached_bytes <= MAX_CACHED_BYTES);
        assert!(sizes.promises <= peers * PROMISES_PER_PEER && sizes.unwanted <= MAX_UNWANTED);
        assert!(sizes.backoffs <= peers * TOPICS.len());
        assert!(sizes.incoming <= MAX_INCOMING && sizes.notices <= HEARD);
        assert!(self.router.next_wakeup(at) > at);
    }
}

pub(crate) fn router(bytes: &[u8]) {
    play(bytes, |from| {
        let mut clock = Clock::new();
        let topics = TOPICS.map(String::from).to_vec();
        let config = MeshConfig::new(topics, from.arbitrary()?);
        let mut driven = Driven {
            router: Router::new(clock.at(), config),
            jobs: Vec::new(),
            judging: BTreeMap::new(),
            connected: BTreeSet::new(),
        };
        while !from.is_empty() {
            event(from, &mut clock, &mut driven)?;
        }
        Ok(())
    });
}

fn pull(driven: &mut Driven, at: Instant, peer: &PeerId, window: usize) {
    if let Some(frame) = driven.router.transmit(at, peer, window) {
        assert!(driven.connected.contains(peer) && !frame.is_empty());
        Rpc::parse(&without_prefix(&frame)).expect("we write valid frames");
    }
}

fn event(from: &mut Unstructured<'_>, clock: &mut Clock, driven: &mut Driven) -> Result<()> {
    let at = clock.at();
    let peer = peer(from.int_in_range(0..=PEERS - 1)?);
    let topic = Topic::new(from.int_in_range(0..=2)?).expect("few");
    let input = match from.int_in_range(0..=20)? {
        0 | 1 => {
            driven.connected.insert(peer);
            let class = *from.choose(&[Class::Node, Class::Static, Class::Browser])?;
            let ips = vec![core::net::IpAddr::from([10, 0, 0, 1])];
            Input::Connected { peer, class, is_outbound: from.arbitrary()?, ips }
        }
        2 => {
            driven.connected.remove(&peer);
            Input::Disconnected(peer)
        }
        3 | 4 => {
            let versions =
                [Version::Floodsub, Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
            Input::WriterOpened(peer, *from.choose(&versions)?)
        }
        5 => Input::WriterClosed { peer, is_refused: from.arbitrary()? },
        6 => Input::ReaderOpened(peer),
        7 => Input::Frame(peer, Bytes::from(from.arbitrary::<[u8; 12]>()?.to_vec())),
        8..=10 => match speak(from)? {
            Some(frame) => Input::Frame(peer, without_prefix(&frame)),
            None => Input::Malformed(peer),
        },
        11 | 12 => {
            let number = from.arbitrary::<u8>()? % 16;
            let other =
                snappy::compress(&snappy::decompress(&data(number), 1 << 20).expect("valid"));
            let data = if from.ratio(3, 4)? { data(number) } else { other.into() };
            Input::Frame(peer, without_prefix(&Frame::message(TOPICS[0], data)))
        }
        13 => {
            let number = from.arbitrary::<u8>()?;
            let topic = Topic::new(0).expect("few");
            Input::Publish { id: PublishId(1), topic, name: name(number), data: data(number) }
        }
        14 => {
            if from.arbitrary()? {
                Input::Join(topic)
            } else {
                Input::Leave(topic)
            }
        }
        15 if !driven.jobs.is_empty() => {
            let job = driven.jobs.swap_remove(from.choose_index(driven.jobs.len())?);
            Input::Named(job.run())
        }
        16 if !driven.judging.is_empty() => {
            let entries: Vec<EntryId> = driven.judging.keys().copied().collect();
            let entry = *from.choose(&entries)?;
            driven.judging.remove(&entry);
            let verdicts = [Acceptance::Accept, Acceptance::Ignore, Acceptance::Reject];
            Input::Verdict(entry, *from.choose(&verdicts)?)
        }
        17 => {
            pull(driven, at, &peer, from.arbitrary::<u16>()?.into());
            Input::Wake
        }
        18 => Input::Written(peer, from.arbitrary::<u16>()?.into()),
        19 => {
            let mut live = [false; MAX_TOPICS];
            live[topic.index()] = true;
            if from.arbitrary()? {
                Input::Live(live)
            } else {
                Input::ApplicationScore(peer, from.arbitrary::<i8>()?.into())
            }
        }
        _ => {
            clock.pass(any_span(from)?);
            Input::Wake
        }
    };
    driven.input(clock.at(), input);
    Ok(())
}

pub(crate) fn router_seeds() -> Vec<Vec<u8>> {
    // Steps of a byte: sequences of all events, in different orders.
    [1_usize, 7, 31, 101]
        .map(|step| (0..600).map(|at| (at * step + at / 9) as u8).collect())
        .to_vec()
}
