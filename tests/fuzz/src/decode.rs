//! Decoders of untrusted bytes and text.

use core::net::{IpAddr, Ipv4Addr};
use std::io::Read as _;
use std::time::Duration;

use alloy_primitives::Address;
use opp2p_core::chain::{ChainConfig, MAX_ROLLUP_JSON_BYTES, networks};
use opp2p_core::discovery::{
    AddressPolicy, Filter, OpStackEntry, Record, Restriction, VERSION, multiaddr,
};
use opp2p_core::fixtures;
use opp2p_core::gossip::{Acceptance, version_of_topic};
use opp2p_core::l1::{L1Config, L1Step, SignerSource, TIMEOUT};
use opp2p_core::payload::snappy::{self, FrameDecoder, FrameError, encode_frames};
use opp2p_core::payload::{
    Block, Envelope, ExecutionPayload, PayloadVersion, PayloadView, block_hash, ssz,
};
use opp2p_core::peers::{PeerId, Subnet};
use opp2p_core::sync::{
    ResponseError, ResponseVersion, chain_of_protocol, decode_request, decode_response,
    encode_request, encode_response, protocol_id, spec_protocol_id,
};

use crate::material::{CHAIN_ID, Clock, any_span, block, body, play};

/// Input: two bytes for the limit, in steps of 16, then the block.
pub(crate) fn snappy_block(bytes: &[u8]) {
    let Some((limit, data)) = bytes.split_first_chunk() else { return };
    let limit = usize::from(u16::from_le_bytes(*limit)) * 16;
    let ours = snappy::decompress(data, limit);
    match &ours {
        Ok(out) => {
            assert!(out.len() <= limit);
            // No input decompresses to more than 22 times its size.
            assert!(out.len() <= 22 * data.len() + 22);
            let again = snappy::compress(out);
            assert_eq!(snappy::decompress(&again, limit).as_ref(), Ok(out));
        }
        Err(_) => assert!(snappy::announced_length(data).is_err() || !data.is_empty()),
    }
    let announced = snappy::announced_length(data);
    if !data.is_empty() && announced.is_ok_and(|length| length <= limit) {
        let theirs = snap::raw::Decoder::new().decompress_vec(data).ok();
        assert_eq!(ours.ok(), theirs);
    } else {
        assert!(ours.is_err());
    }
}

pub(crate) fn snappy_block_seeds() -> Vec<Vec<u8>> {
    let contents =
        [body(&block(PayloadVersion::V4)), vec![7; 300], Vec::new(), (0..=255).collect()];
    contents
        .iter()
        .map(|contents| [&[0xff, 0xff][..], &snappy::compress(contents)].concat())
        .collect()
}

/// Input: one byte for the size of the pieces, one for the limit, then the stream.
pub(crate) fn snappy_frames(bytes: &[u8]) {
    let Some(([piece, limit], stream)) = bytes.split_first_chunk() else { return };
    let limit = usize::from(*limit) * 512;
    let whole = read_frames(limit, [stream]);
    let pieces = read_frames(limit, stream.chunks(usize::from(*piece).max(1)));
    assert_eq!(whole, pieces, "pieces read otherwise than the whole");
    let Ok(contents) = whole else { return };
    assert!(contents.len() <= limit);
    let mut theirs = Vec::new();
    if snap::read::FrameDecoder::new(stream).read_to_end(&mut theirs).is_ok() {
        assert_eq!(contents, theirs, "the library reads other contents");
    }
    let mut again = Vec::new();
    encode_frames(&contents, &mut again);
    assert_eq!(read_frames(limit, [&again[..]]), Ok(contents));
}

fn read_frames<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, FrameError> {
    let mut decoder = FrameDecoder::new(limit);
    for piece in pieces {
        if let Err(error) = decoder.push(piece) {
            assert_eq!(decoder.push(&[]), Err(error), "an error does not last");
            return Err(error);
        }
        assert!(decoder.contents().len() <= limit);
    }
    decoder.finish()
}

pub(crate) fn snappy_frames_seeds() -> Vec<Vec<u8>> {
    let framed = |contents: &[u8]| {
        let mut stream = vec![7, 255];
        encode_frames(contents, &mut stream);
        stream
    };
    let mut skipping = framed(&[1; 40]);
    skipping.extend([0x80, 3, 0, 0, 1, 2, 3, 0xfe, 0, 0, 0]);
    vec![
        framed(&[]),
        framed(&body(&block(PayloadVersion::V4))),
        framed(&(0..=255).collect::<Vec<_>>()),
        skipping,
    ]
}

/// Input: one byte for the version, then the payload.
pub(crate) fn payload(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let version = PayloadVersion::ALL[usize::from(*first) % 4];
    let view = PayloadView::parse(version, bytes);
    match (&view, ssz::decode(version, bytes)) {
        (Ok(view), Ok(canonical)) => {
            let payload = view.to_payload();
            assert_eq!(payload, canonical, "the canonical types read other values");
            assert_eq!(ExecutionPayload::decode(version, bytes).as_ref(), Ok(&payload));
            let mut again = Vec::new();
            assert_eq!(payload.encode(&mut again), Ok(version));
            assert_eq!(again, bytes, "not the bytes that its values encode to");
            assert_eq!(view.transactions().len(), view.transaction_count());
            assert!(view.transaction(view.transaction_count()).is_none());
            let _ = block_hash(view, None);
        }
        (Err(_), Err(_)) => {}
        (view, canonical) => panic!("the view says {view:?}, the canonical types {canonical:?}"),
    }
    let is_payload = view.is_ok();
    let root = if version.has_beacon_root() { vec![9; 32] } else { Vec::new() };
    let whole = [&root[..], bytes].concat();
    let envelope = Envelope::decode(version, &whole);
    assert_eq!(envelope.is_ok(), is_payload);
    match (envelope, Block::decode(version, None, whole.clone().into())) {
        (Ok(envelope), Ok(block)) => {
            assert_eq!(block.to_envelope(), envelope);
            let mut again = Vec::new();
            assert_eq!(envelope.encode(&mut again), Ok(version));
            assert_eq!(again, whole);
            let _ = block.has_true_hash();
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (envelope, block) => panic!("the envelope is {envelope:?}, the block {block:?}"),
    }
}

pub(crate) fn payload_seeds() -> Vec<Vec<u8>> {
    let ours = PayloadVersion::ALL.map(|version| {
        let mut bytes = vec![version.index() as u8];
        block(version).payload.encode(&mut bytes).expect("its fields are of one version");
        bytes
    });
    // Small real payloads.
    let real = fixtures::blocks().into_iter().filter(|block| block.payload_ssz.len() < 3500);
    let real = real.map(|block| [&[block.version.index() as u8][..], &block.payload_ssz].concat());
    ours.into_iter().chain(real).collect()
}

/// Input: one byte for the limit, then an answer, whose beginning is also read as a request.
pub(crate) fn response(bytes: &[u8]) {
    let Some((limit, bytes)) = bytes.split_first() else { return };
    let limit = usize::from(*limit) * 512;
    let request = &bytes[..bytes.len().min(9)];
    match decode_request(request) {
        Ok(number) => assert_eq!(encode_request(number), request),
        Err(error) => assert_eq!(error.0, request.len()),
    }
    match decode_response(bytes, limit) {
        Ok((version, contents)) => {
            assert!(contents.len() <= limit);
            for payload in PayloadVersion::ALL {
                if ResponseVersion::of(payload) != version {
                    continue;
                }
                if let Ok(block) = Block::decode(payload, None, contents.clone().into()) {
                    let again = decode_response(&encode_response(&block), limit);
                    assert_eq!(again, Ok((version, contents.clone())));
                }
            }
        }
        Err(ResponseError::Refused(code)) => assert!(code != 0 && bytes[0] == code),
        Err(error) => assert!(error.to_string().len() < 200),
    }
}

pub(crate) fn response_seeds() -> Vec<Vec<u8>> {
    let answers = PayloadVersion::ALL.map(|version| {
        let block = Block::decode(version, None, body(&block(version)).into())
            .expect("it was just encoded");
        [&[255][..], &encode_response(&block)].concat()
    });
    answers.into_iter().chain([vec![9, 1], vec![9, 3], vec![9, 0, 2, 0, 0, 0]]).collect()
}

/// Input: the text of a file.
pub(crate) fn rollup_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ChainConfig::from_rollup_json(text) {
        Ok(config) => {
            assert_eq!(config.check(), Ok(()));
            let written = config.to_rollup_json();
            assert!(written.len() <= MAX_ROLLUP_JSON_BYTES);
            let again = ChainConfig::from_rollup_json(&written);
            assert_eq!(again.as_ref(), Ok(&config), "it is not read as it was written");
            // Arithmetic must work for any number in the file.
            for number in [0, config.genesis.number, u64::MAX] {
                let time = config.schedule().time_of(number).map(Duration::from_millis);
                let highest = time.and_then(|time| config.highest_number_at(time));
                assert!(time.is_none() || highest == Some(number), "{number} {time:?} {highest:?}");
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 600 && !text.contains('\n'), "no short line: {text}");
        }
    }
}

pub(crate) fn rollup_json_seeds() -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = ["op-mainnet", "base", "op-sepolia"]
        .into_iter()
        .filter_map(|name| networks::find(name).ok())
        .map(|network| network.config().to_rollup_json())
        .collect();
    let hash = "0x".to_owned() + &"11".repeat(32);
    texts.push(format!(
        "{{\"genesis\":{{\"l1\":{{\"hash\":\"{hash}\",\"number\":1}},\
         \"l2\":{{\"hash\":\"{hash}\",\"number\":0}},\"l2_time\":1}},\"block_time\":2,\
         \"l1_chain_id\":1,\"l2_chain_id\":901,\"canyon_time\":null,\"far_time\":9}}"
    ));
    texts.into_iter().map(String::into_bytes).collect()
}

/// Input: flags and addresses, then the record's entry.
pub(crate) fn node_record(bytes: &[u8]) {
    if let Ok(entry) = OpStackEntry::decode(bytes) {
        assert_eq!(OpStackEntry::decode(&entry.encode()), Ok(entry));
    }
    play(bytes, |from| {
        let listen = any_ip(from)?;
        let policy = AddressPolicy::new(listen, from.ratio(1, 4)?.then_some(any_ip(from)?));
        let mut networks = Vec::new();
        if from.ratio(1, 4)? {
            networks.extend(Subnet::new(any_ip(from)?, from.arbitrary()?));
        }
        let mut restriction = Restriction::to(networks);
        restriction.and(any_ip(from)?);
        let filter = Filter { chain_id: CHAIN_ID, policy, restriction };
        let (ip4, tcp4): (Option<[u8; 4]>, _) = (from.arbitrary()?, from.arbitrary()?);
        let (ip6, tcp6): (Option<[u8; 16]>, _) = (from.arbitrary()?, from.arbitrary()?);
        let ours = OpStackEntry::new(CHAIN_ID).encode();
        let is_ours = from.arbitrary()?;
        let entry =
            if is_ours { &ours[..] } else { from.peek_bytes(from.len()).unwrap_or_default() };
        let record = Record {
            entry: Some(entry),
            ip4: ip4.map(Into::into),
            tcp4,
            ip6: ip6.map(Into::into),
            tcp6,
        };
        match filter.admit(&record) {
            Ok(addresses) => {
                assert!(matches!(addresses.len(), 1 | 2));
                let entry = OpStackEntry::decode(entry).expect("it was admitted");
                assert_eq!((entry.chain_id, entry.version), (CHAIN_ID, VERSION));
                for address in addresses {
                    assert!(address.port() != 0 && policy.allows(address.ip()));
                    assert_eq!(filter.restriction.check(address.ip()), Ok(()));
                    let ip = address.ip();
                    assert!(
                        !ip.is_multicast() && !ip.is_unspecified(),
                        "{ip} is not to be dialled"
                    );
                    assert!(multiaddr(address).starts_with(if ip.is_ipv4() {
                        "/ip4/"
                    } else {
                        "/ip6/"
                    }));
                }
            }
            Err(refused) => assert!(refused.to_string().len() < 200),
        }
        Ok(())
    });
}

fn any_ip(from: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<IpAddr> {
    Ok(match from.int_in_range(0..=4)? {
        0 => Ipv4Addr::LOCALHOST.into(),
        1 => Ipv4Addr::UNSPECIFIED.into(),
        2 => from.arbitrary::<[u8; 16]>()?.into(),
        3 => Ipv4Addr::from(from.arbitrary::<[u8; 4]>()?).to_ipv6_mapped().into(),
        _ => from.arbitrary::<[u8; 4]>()?.into(),
    })
}

pub(crate) fn node_record_seeds() -> Vec<Vec<u8>> {
    let entries = [0, CHAIN_ID, u64::MAX].map(|chain_id| OpStackEntry::new(chain_id).encode());
    entries.into_iter().chain([vec![0x8b; 12], vec![0xc0]]).collect()
}

/// Input: one text, which every parser of text reads.
pub(crate) fn names(bytes: &[u8]) {
    match PeerId::try_from(bytes) {
        Ok(peer) => assert_eq!(peer.as_bytes(), bytes),
        Err(error) => assert_eq!(error.0, bytes.len()),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match networks::find(text) {
        Ok(network) => assert!(networks::by_chain_id(network.config().chain_id).is_some()),
        // The longest message lists the names of all networks.
        Err(error) => assert!(error.to_string().len() < 2000),
    }
    if let Ok(subnet) = text.parse::<Subnet>() {
        assert!(subnet.contains(subnet.network()));
        assert_eq!(subnet.to_string().parse(), Ok(subnet), "{text} is not read as it was written");
    }
    if let Some(chain_id) = chain_of_protocol(text) {
        let ids = [protocol_id(chain_id), spec_protocol_id(chain_id)];
        assert!(ids.iter().all(|id| chain_of_protocol(id) == Some(chain_id)));
    }
    let _ = version_of_topic(CHAIN_ID, text);
    let _ = Acceptance::Accept.name() == text;
}

pub(crate) fn names_seeds() -> Vec<Vec<u8>> {
    ["op-mainnet", "Base Sepolia", "10", "0xa", "10.0.0.0/8", "2001:db8::/32", "::ffff:1.2.3.4/120"]
        .into_iter()
        .map(str::to_owned)
        .chain([protocol_id(10), spec_protocol_id(901), "/optimism/901/3/blocks".to_owned()])
        .map(String::into_bytes)
        .collect()
}

/// Input: answers of an L1 node.
pub(crate) fn l1(bytes: &[u8]) {
    let mut clock = Clock::new();
    let config = L1Config {
        chain_id: 1,
        contract: Address::repeat_byte(1),
        confirmations: u64::from(bytes.first().copied().unwrap_or(0)),
        reload: bytes
            .get(1)
            .is_some_and(|byte| byte % 2 == 0)
            .then_some(std::time::Duration::from_secs(600)),
    };
    let mut source = SignerSource::new(clock.at(), config);
    let mut asked = None;
    play(bytes, |from| {
        while !from.is_empty() {
            for turn in 0.. {
                assert!(turn < 4, "it has ever more to say");
                match source.poll(clock.at()) {
                    Some(L1Step::Ask { id, body }) => {
                        assert!(
                            asked.replace(id).is_none_or(|before| before < id),
                            "a name was used again"
                        );
                        assert!(body.len() < 1000);
                    }
                    Some(L1Step::Failed(error) | L1Step::GaveUp(error)) => {
                        assert!(error.to_string().len() < 800, "{error}");
                    }
                    Some(L1Step::Signer { signer, .. }) => {
                        assert!(signer.is_none_or(|signer| !signer.is_zero()));
                    }
                    None => break,
                }
            }
            assert!(
                source.next_wakeup().is_none_or(|at| at > clock.at()),
                "it is late and says nothing"
            );
            let id = asked.unwrap_or(0);
            match from.int_in_range(0..=9)? {
                0 => clock.pass(any_span(from)?),
                1 => source.expedite(clock.at()),
                2 => source.answered(clock.at(), id, Err("no route".to_owned())),
                3 => clock.pass(TIMEOUT),
                4 => source.answered(clock.at(), id.wrapping_sub(1), Ok(b"{\"result\":\"0x1\"}")),
                5 => source.answered(clock.at(), id, Ok(b"{\"result\":\"0x1\"}")),
                6 => {
                    let number: u8 = from.arbitrary()?;
                    let hash = "22".repeat(32);
                    let answer = format!(
                        "{{\"result\":{{\"number\":\"{number:#x}\",\"hash\":\"0x{hash}\"}}}}"
                    );
                    source.answered(clock.at(), id, Ok(answer.as_bytes()));
                }
                7 => {
                    let word = format!("{:064x}", from.arbitrary::<u64>()?);
                    source.answered(
                        clock.at(),
                        id,
                        Ok(format!("{{\"result\":\"0x{word}\"}}").as_bytes()),
                    );
                }
                8 => {
                    let code: i64 = from.arbitrary()?;
                    let message: &str = from.arbitrary()?;
                    let quoted = message.escape_default().to_string().replace("\\'", "'");
                    let answer =
                        format!("{{\"error\":{{\"code\":{code},\"message\":\"{quoted}\"}}}}");
                    source.answered(clock.at(), id, Ok(answer.as_bytes()));
                }
                _ => {
                    let answer: &[u8] = from.arbitrary()?;
                    source.answered(clock.at(), id, Ok(answer));
                }
            }
        }
        Ok(())
    });
}
