//! The codec beside prost's, and what it refuses.

mod reader;

use super::*;
use crate::mesh::Id;
use crate::time::Instant;
use alloy_primitives::{Bytes, hex};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

/// The schema, as another implementation has it.
mod schema {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Rpc {
        #[prost(message, repeated, tag = "1")]
        pub(super) subscriptions: Vec<SubOpts>,
        #[prost(message, repeated, tag = "2")]
        pub(super) publish: Vec<Message>,
        #[prost(message, optional, tag = "3")]
        pub(super) control: Option<Control>,
        #[prost(bytes = "vec", optional, tag = "10")]
        pub(super) partial: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "6492434")]
        pub(super) test: Option<Vec<u8>>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SubOpts {
        #[prost(bool, optional, tag = "1")]
        pub(super) subscribe: Option<bool>,
        #[prost(string, optional, tag = "2")]
        pub(super) topic: Option<String>,
        #[prost(bool, optional, tag = "3")]
        pub(super) requests_partial: Option<bool>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub(super) from: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) data: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub(super) seqno: Option<Vec<u8>>,
        #[prost(string, repeated, tag = "4")]
        pub(super) topics: Vec<String>,
        #[prost(bytes = "vec", optional, tag = "5")]
        pub(super) signature: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "6")]
        pub(super) key: Option<Vec<u8>>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Control {
        #[prost(message, repeated, tag = "1")]
        pub(super) ihave: Vec<IHave>,
        #[prost(message, repeated, tag = "2")]
        pub(super) iwant: Vec<Ids>,
        #[prost(message, repeated, tag = "3")]
        pub(super) graft: Vec<Graft>,
        #[prost(message, repeated, tag = "4")]
        pub(super) prune: Vec<Prune>,
        #[prost(message, repeated, tag = "5")]
        pub(super) idontwant: Vec<Ids>,
        #[prost(message, optional, tag = "6")]
        pub(super) extensions: Option<Extensions>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct IHave {
        #[prost(string, optional, tag = "1")]
        pub(super) topic: Option<String>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(super) ids: Vec<Vec<u8>>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Ids {
        #[prost(bytes = "vec", repeated, tag = "1")]
        pub(super) ids: Vec<Vec<u8>>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Graft {
        #[prost(string, optional, tag = "1")]
        pub(super) topic: Option<String>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Prune {
        #[prost(string, optional, tag = "1")]
        pub(super) topic: Option<String>,
        #[prost(message, repeated, tag = "2")]
        pub(super) peers: Vec<PeerInfo>,
        #[prost(uint64, optional, tag = "3")]
        pub(super) backoff: Option<u64>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PeerInfo {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub(super) peer: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) record: Option<Vec<u8>>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Extensions {
        #[prost(bool, optional, tag = "10")]
        pub(super) partial: Option<bool>,
    }
    /// A schema with our extension alone. All other fields are unknown to it.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Extended {
        #[prost(message, optional, tag = "7303218")]
        pub(super) transfers: Option<Transfers>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Transfers {
        #[prost(bool, optional, tag = "1")]
        pub(super) speaks: Option<bool>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(super) sending: Vec<Vec<u8>>,
        #[prost(bytes = "vec", repeated, tag = "3")]
        pub(super) receiving: Vec<Vec<u8>>,
        #[prost(bytes = "vec", repeated, tag = "4")]
        pub(super) received: Vec<Vec<u8>>,
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn topic() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z/0-9]{0,12}")
}

fn ids() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(bytes(), 0..4)
}

prop_compose! {
    fn message()(
        from in prop::option::weighted(0.1, bytes()),
        data in prop::option::weighted(0.9, bytes()),
        seqno in prop::option::weighted(0.1, bytes()),
        topics in vec("[a-z]{0,9}", 0..3),
        signature in prop::option::weighted(0.1, bytes()),
        key in prop::option::weighted(0.1, bytes()),
    ) -> schema::Message {
        schema::Message { from, data, seqno, topics, signature, key }
    }
}

prop_compose! {
    fn prune()(
        topic in topic(),
        peers in vec((prop::option::of(bytes()), prop::option::of(bytes())), 0..3),
        backoff in prop::option::of(any::<u64>()),
    ) -> schema::Prune {
        let peers = peers.into_iter().map(|(peer, record)| schema::PeerInfo { peer, record });
        schema::Prune { topic, peers: peers.collect(), backoff }
    }
}

prop_compose! {
    fn control()(
        ihave in vec((topic(), ids()), 0..3),
        iwant in vec(ids(), 0..3),
        graft in vec(topic(), 0..3),
        prune in vec(prune(), 0..3),
        idontwant in vec(ids(), 0..3),
        extensions in prop::option::of(prop::option::of(any::<bool>())),
    ) -> schema::Control {
        schema::Control {
            ihave: ihave.into_iter().map(|(topic, ids)| schema::IHave { topic, ids }).collect(),
            iwant: iwant.into_iter().map(|ids| schema::Ids { ids }).collect(),
            graft: graft.into_iter().map(|topic| schema::Graft { topic }).collect(),
            prune,
            idontwant: idontwant.into_iter().map(|ids| schema::Ids { ids }).collect(),
            extensions: extensions.map(|partial| schema::Extensions { partial }),
        }
    }
}

prop_compose! {
    fn rpc()(
        subscriptions in vec((prop::option::of(any::<bool>()), topic()), 0..4),
        publish in vec(message(), 0..4),
        control in prop::option::of(control()),
        partial in prop::option::of(bytes()),
        test in prop::option::of(bytes()),
    ) -> schema::Rpc {
        let subscriptions = subscriptions.into_iter().map(|(subscribe, topic)| {
            schema::SubOpts { subscribe, topic, requests_partial: Some(true) }
        });
        schema::Rpc { subscriptions: subscriptions.collect(), publish, control, partial, test }
    }
}

fn text(topic: Option<&String>) -> &[u8] {
    topic.map_or(&[][..], |topic| topic.as_bytes())
}

/// Checks that both readings of a frame agree.
fn assert_same(rpc: &Rpc<'_>, expected: &schema::Rpc) {
    let subscriptions: Vec<_> = rpc.subscriptions().collect();
    let wanted: Vec<_> = expected
        .subscriptions
        .iter()
        .map(|entry| Subscription {
            subscribes: entry.subscribe.unwrap_or_default(),
            topic: text(entry.topic.as_ref()),
        })
        .collect();
    assert_eq!(subscriptions, wanted);
    let messages: Vec<_> = rpc.messages().collect();
    let wanted: Vec<_> = expected
        .publish
        .iter()
        .map(|entry| Message {
            topic: text(entry.topics.last()),
            data: entry.data.as_deref().unwrap_or_default(),
            is_signed: [&entry.from, &entry.seqno, &entry.signature, &entry.key]
                .iter()
                .any(|field| field.is_some()),
        })
        .collect();
    assert_eq!(messages, wanted);
    assert_eq!(rpc.has_control(), expected.control.is_some());
    let empty = schema::Control::default();
    let control = expected.control.as_ref().unwrap_or(&empty);
    assert_eq!(rpc.has_extensions(), control.extensions.is_some());
    let mut read = schema::Control { extensions: control.extensions.clone(), ..Default::default() };
    let own = |ids: Ids<'_>| ids.map(<[u8]>::to_vec).collect::<Vec<_>>();
    let owned = |topic: &[u8]| Some(String::from_utf8(topic.to_vec()).expect("text"));
    for entry in rpc.control() {
        match entry {
            Control::IHave { topic, ids } => {
                read.ihave.push(schema::IHave { topic: owned(topic), ids: own(ids) });
            }
            Control::IWant(ids) => read.iwant.push(schema::Ids { ids: own(ids) }),
            Control::IDontWant(ids) => read.idontwant.push(schema::Ids { ids: own(ids) }),
            Control::Graft(topic) => read.graft.push(schema::Graft { topic: owned(topic) }),
            Control::Prune { topic, backoff } => read.prune.push(schema::Prune {
                topic: owned(topic),
                peers: Vec::new(),
                backoff: Some(backoff),
            }),
        }
    }
    let mut wanted = control.clone();
    for entry in &mut wanted.ihave {
        entry.topic.get_or_insert_default();
    }
    for entry in &mut wanted.graft {
        entry.topic.get_or_insert_default();
    }
    for entry in &mut wanted.prune {
        entry.topic.get_or_insert_default();
        entry.backoff.get_or_insert_default();
        entry.peers.clear();
    }
    assert_eq!(read, wanted);
}

fn transfers_in(rpc: &Rpc<'_>) -> schema::Transfers {
    let mut read = schema::Transfers::default();
    for transfer in rpc.transfers() {
        match transfer {
            Transfer::Speaks(speaks) => read.speaks = Some(speaks),
            Transfer::Sending(id) => read.sending.push(id.to_vec()),
            Transfer::Receiving(id) => read.receiving.push(id.to_vec()),
            Transfer::Received(id) => read.received.push(id.to_vec()),
        }
    }
    read
}

proptest! {
    #[test]
    fn notices_are_read_by_those_that_know_them_and_skipped_by_others(
        expected in rpc(),
        speaks in prop::option::of(any::<bool>()),
        sending in ids(),
        receiving in ids(),
        received in ids(),
    ) {
        let transfers = schema::Transfers { speaks, sending, receiving, received };
        let extension = schema::Extended { transfers: Some(transfers.clone()) }.encode_to_vec();
        let plain = expected.encode_to_vec();
        let without = schema::Rpc::decode(&plain[..]).expect("a valid frame");
        for frame in [[&plain[..], &extension[..]].concat(), [&extension[..], &plain[..]].concat()]
        {
            let rpc = Rpc::parse(&frame).expect("a valid frame");
            assert_same(&rpc, &expected);
            prop_assert!(rpc.has_transfers());
            prop_assert_eq!(transfers_in(&rpc), transfers.clone());
            let read = schema::Rpc::decode(&frame[..]).expect("skipped");
            prop_assert_eq!(read, without.clone());
        }
        prop_assert!(!Rpc::parse(&plain).expect("a valid frame").has_transfers());
    }

    #[test]
    fn notices_that_we_write_another_reads(ids in vec(vec(any::<u8>(), 1..=32), 0..5)) {
        let named: Vec<Id> = ids.iter().filter_map(|id| Id::new(id)).collect();
        let mut writer = ControlWriter::default();
        writer.graft("topic");
        writer.speaks();
        writer.sending(&named);
        writer.receiving(&named);
        writer.received(&named);
        let frame = writer.finish().expect("not empty").to_vec();
        let read = schema::Extended::decode_length_delimited(&frame[..]).expect("readable");
        let wanted = schema::Transfers {
            speaks: Some(true),
            sending: ids.clone(),
            receiving: ids.clone(),
            received: ids,
        };
        prop_assert_eq!(read.transfers, Some(wanted));
        let other = schema::Rpc::decode_length_delimited(&frame[..]).expect("readable");
        prop_assert_eq!(other.control.map(|control| control.graft.len()), Some(1));
    }

    #[test]
    fn both_decoders_read_the_same(expected in rpc()) {
        let frame = expected.encode_to_vec();
        assert_same(&Rpc::parse(&frame).expect("a valid frame"), &expected);
    }

    #[test]
    fn whatever_we_accept_the_other_accepts(frame in vec(any::<u8>(), 0..60)) {
        // Not the other way round: groups are refused here, and topics need not be text.
        if let Ok(rpc) = Rpc::parse(&frame) {
            match schema::Rpc::decode(&frame[..]) {
                Ok(expected) if expected.publish.iter().all(|m| m.topics.len() < 2) => {
                    prop_assert_eq!(rpc.messages().count(), expected.publish.len());
                    prop_assert_eq!(rpc.subscriptions().count(), expected.subscriptions.len());
                }
                Ok(_) => {}
                Err(error) => {
                    let text = error.to_string();
                    // Fields that we don't read may hold anything.
                    let skipped = ["UTF-8", "partial", "test", "peers"];
                    prop_assert!(skipped.iter().any(|word| text.contains(word)), "{}", text);
                }
            }
        }
    }

    #[test]
    fn a_frame_that_breaks_off_is_refused_or_reads_as_its_beginning(
        expected in rpc(), cut in any::<prop::sample::Index>()
    ) {
        let frame = expected.encode_to_vec();
        let cut = cut.index(frame.len() + 1);
        let (ours, theirs) = (Rpc::parse(&frame[..cut]), schema::Rpc::decode(&frame[..cut]));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert_same(&ours, &theirs);
        }
    }

    #[test]
    fn what_we_write_the_other_reads(
        subscriptions in vec((any::<bool>(), "[a-z]{1,9}"), 0..4),
        grafts in vec("[a-z]{1,9}", 0..3),
        prunes in vec(("[a-z]{1,9}", prop::option::of(any::<u64>())), 0..3),
        ids in vec(vec(any::<u8>(), 1..=32), 0..5),
        data in bytes(),
    ) {
        let mut writer = ControlWriter::default();
        subscriptions.iter().for_each(|(on, topic)| writer.subscription(topic, *on));
        grafts.iter().for_each(|topic| writer.graft(topic));
        prunes.iter().for_each(|(topic, backoff)| writer.prune(topic, *backoff));
        let named: Vec<Id> = ids.iter().filter_map(|id| Id::new(id)).collect();
        writer.ihave("topic", &named);
        writer.iwant(&named);
        writer.idontwant(&named);
        let frame = writer.finish();
        let is_empty =
            subscriptions.is_empty() && grafts.is_empty() && prunes.is_empty() && ids.is_empty();
        prop_assert_eq!(frame.is_none(), is_empty, "an empty RPC is never written");
        if let Some(frame) = frame {
            let read = schema::Rpc::decode_length_delimited(&frame.to_vec()[..]).expect("readable");
            prop_assert_eq!(read.subscriptions.len(), subscriptions.len());
            prop_assert!(
                read.subscriptions.iter().all(|s| s.subscribe.is_some() && s.topic.is_some())
            );
            let control = read.control.unwrap_or_default();
            prop_assert_eq!(control.graft.len(), grafts.len());
            let backoffs: Vec<_> = control.prune.iter().map(|prune| prune.backoff).collect();
            prop_assert_eq!(backoffs, prunes.iter().map(|(_, b)| *b).collect::<Vec<_>>());
            prop_assert!(control.prune.iter().all(|prune| prune.peers.is_empty()));
            prop_assert_eq!(control.extensions, None, "no extension, no field");
            let lists = usize::from(!ids.is_empty());
            prop_assert_eq!(control.ihave.len(), lists);
            prop_assert_eq!(control.iwant, vec![schema::Ids { ids: ids.clone() }; lists]);
            prop_assert_eq!(control.idontwant, vec![schema::Ids { ids }; lists]);
        }
        let message = Frame::message("topic", data.clone().into()).to_vec();
        let read = schema::Rpc::decode_length_delimited(&message[..]).expect("readable");
        let wanted = schema::Message {
            data: Some(data), topics: vec!["topic".into()], ..Default::default()
        };
        prop_assert_eq!(read, schema::Rpc { publish: vec![wanted], ..Default::default() });
    }

    #[test]
    fn a_stream_reads_the_same_in_any_pieces(
        frames in vec(vec(any::<u8>(), 0..300), 0..6), piece in 1_usize..40
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            proto::write_varint(&mut stream, frame.len() as u64);
            stream.extend_from_slice(frame);
        }
        let (mut reader, mut pool, mut read) = (FrameReader::default(), Pool::new(0), Vec::new());
        for mut input in stream.chunks(piece) {
            while !input.is_empty() {
                let (taken, frame) =
                    reader.read(Instant::default(), input, &mut pool).expect("valid");
                read.extend(frame.map(|frame| frame.to_vec()));
                input = &input[taken..];
            }
        }
        let wanted: Vec<_> = frames.into_iter().filter(|frame| !frame.is_empty()).collect();
        prop_assert_eq!(read, wanted);
    }
}

/// Frames of go-libp2p-pubsub and rust-libp2p, by the schema in their sources.
#[test]
fn known_bytes_are_read_and_written() {
    let mut writer = ControlWriter::default();
    writer.subscription("t", true);
    writer.subscription("t", false);
    let frame = writer.finish().expect("not empty").to_vec();
    assert_eq!(hex::encode(frame), "0e0a0508011201740a050800120174");
    let mut writer = ControlWriter::default();
    writer.graft("t");
    writer.prune("t", Some(60));
    writer.prune("t", None);
    let frame = writer.finish().expect("not empty").to_vec();
    assert_eq!(hex::encode(frame), "131a111a030a017422050a0174183c22030a0174");
    let mut writer = ControlWriter::default();
    writer.subscription("t", true);
    writer.speaks();
    let frame = writer.finish().expect("not empty").to_vec();
    assert_eq!(hex::encode(frame), "0e0a0508011201749283ee1b020801");
    let id = Id::new(&[1, 2]).expect("two bytes");
    let mut writer = ControlWriter::default();
    writer.sending([&id]);
    writer.receiving([&id]);
    writer.received([&id]);
    let frame = writer.finish().expect("not empty").to_vec();
    assert_eq!(hex::encode(frame), "119283ee1b0c120201021a02010222020102");
    let message = Frame::message("t", Bytes::from_static(&[1, 2, 3]));
    assert_eq!(hex::encode(message.to_vec()), "0a12081203010203220174");
}

#[test]
fn a_message_frame_shares_its_data() {
    let data = Bytes::from(vec![7; 1000]);
    let frame = Frame::message("t", data.clone());
    let copy = frame.clone();
    assert_eq!((copy.data().as_ptr(), frame.data().as_ptr()), (data.as_ptr(), data.as_ptr()));
    assert_eq!(frame.len(), frame.to_vec().len());
}

#[test]
fn present_but_empty_counts_as_signed() {
    for field in [1_u8, 3, 5, 6] {
        let frame = [0x12, 5, field << 3 | 2, 0, 0x22, 1, b't'];
        let rpc = Rpc::parse(&frame).expect("valid");
        assert!(rpc.messages().all(|message| message.is_signed), "field {field}");
    }
}

#[test]
fn what_is_not_protobuf_is_refused() {
    let cases: [(&[u8], Malformed); 11] = [
        (&[0x80], Malformed::Varint),
        (&[0xff; 11], Malformed::Varint),
        (&[0x00, 0x00], Malformed::FieldNumber(0)),
        (&[0x0b], Malformed::WireType(3)),
        (&[0x0c], Malformed::WireType(4)),
        (&[0x56, 0], Malformed::WireType(6)),
        (&[0x08, 1], Malformed::WrongType(1)),
        (&[0x1a, 2, 0x22], Malformed::Truncated),
        (&[0x1a, 4, 0x22, 2, 0x10, 1], Malformed::WrongType(2)),
        (&[0x90, 0x83, 0xee, 0x1b, 1], Malformed::WrongType(TRANSFERS)),
        (&[0x92, 0x83, 0xee, 0x1b, 2, 0x10, 1], Malformed::WrongType(2)),
    ];
    for (frame, error) in cases {
        assert_eq!(Rpc::parse(frame).map(|_| ()), Err(error), "{frame:?}");
    }
    // Unknown fields of every type, at every level.
    let unknown = hex!("a00101a1010102030405060708a20101ffa50101020304");
    let nested = [&[0x1a, unknown.len() as u8], &unknown[..], &unknown[..]].concat();
    let rpc = Rpc::parse(&nested).expect("skipped");
    assert_eq!((rpc.control().count(), rpc.messages().count()), (0, 0));
}

#[test]
fn bytes_beside_data_are_limited_and_data_is_not() {
    let large = Frame::message("t", vec![0; MAX_FRAME - 20].into()).to_vec();
    assert!(Rpc::parse(&large[4..]).expect("one message").overhead() < 20);
    // Two bytes for an entry that is empty: a frame of them would be five million.
    let flood = [0x12, 0].repeat(MAX_OVERHEAD);
    assert_eq!(Rpc::parse(&flood).map(|_| ()), Err(Malformed::Overhead));
    let ids = [0x0a, 0].repeat(MAX_OVERHEAD);
    let mut iwant = vec![0x12];
    proto::write_varint(&mut iwant, ids.len() as u64);
    iwant.extend_from_slice(&ids);
    let mut control = vec![0x1a];
    proto::write_varint(&mut control, iwant.len() as u64);
    control.extend_from_slice(&iwant);
    assert_eq!(Rpc::parse(&control).map(|_| ()), Err(Malformed::Overhead));
    // Data that other data replaces is a way to send what is never read.
    let mut twice = vec![0x12];
    proto::write_varint(&mut twice, 70_000);
    twice.extend(vec![0; 70_000]);
    twice.extend([0x12, 0]);
    let mut rpc = vec![0x12];
    proto::write_varint(&mut rpc, twice.len() as u64);
    rpc.extend_from_slice(&twice);
    assert!(Rpc::parse(&rpc).is_err());
}

#[test]
fn versions_are_proposed_newest_first() {
    let ids = Version::SPOKEN.map(Version::protocol);
    assert_eq!(ids, ["/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0", "/floodsub/1.0.0"]);
    let knows =
        |version: Version| (version.has_mesh(), version.has_backoff(), version.has_idontwant());
    assert_eq!(knows(Version::Floodsub), (false, false, false));
    assert_eq!(knows(Version::V1_0), (true, false, false));
    assert_eq!(knows(Version::V1_1), (true, true, false));
    assert_eq!([Version::V1_2, Version::V1_3].map(knows), [(true, true, true); 2]);
}
