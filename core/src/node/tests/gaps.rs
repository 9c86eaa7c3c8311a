//! Gaps that peers don't fill: how long they hold the head, the cost of requests, and endpoints
//! that fill them.

use super::*;
use crate::gossip::block_topic;
use crate::payload::rebuild::to_rlp;
use crate::peers::{Conduct, PeerInfo, PeerNews};
use crate::sync::encode_response;
use crate::sync::{RangeError, RangeId, RequestFailure, RequestId, ServeId, SyncEvent};
use alloy_primitives::{Bytes, hex};

/// A source's response.
pub(super) type Answer = Result<Vec<u8>, RequestFailure>;

/// A request to an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    id: RequestId,
    endpoint: usize,
    pub(super) number: u64,
    body: String,
}

/// A node that follows a chain from its first block, with peer 1, in virtual time.
pub(super) struct Following {
    pub(super) node: Node,
    pub(super) now: Now,
    pub(super) requests: Vec<(RequestId, PeerId, u64)>,
    pub(super) posts: Vec<Posted>,
    pub(super) asked: usize,
    pub(super) posted: usize,
    pub(super) skipped: Vec<(u64, u64)>,
    pub(super) ranges: Vec<Result<(), RangeError>>,
    pub(super) conduct: Vec<(PeerId, Conduct)>,
    /// Numbers of the blocks found, and of blocks missing below each.
    pub(super) found: Vec<(u64, u64)>,
    /// Whether the store keeps no block.
    pub(super) disk_is_full: bool,
}

/// For spans without requests.
const SILENCE: Answer = Err(RequestFailure::Timeout);

impl Following {
    pub(super) fn new(chain: &[Envelope], change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut world = Self::alone(chain, change);
        world.tell(Input::Connected(peer(1)));
        world
    }

    /// Returns the node before it has a peer.
    pub(super) fn alone(chain: &[Envelope], change: impl FnOnce(&mut NodeConfig)) -> Self {
        let first = decoded(&chain[0]);
        let view = ChainViewConfig { gap_patience: Some(10 * SECOND), ..Default::default() };
        let mut config = NodeConfig {
            head: Some(BlockId::of(&first)),
            recent: vec![first],
            sync: Some(SyncConfig::default()),
            view,
            ..super::config(V4)
        };
        change(&mut config);
        let now = Now::new(SECOND, Duration::from_secs(chain[0].payload.timestamp));
        let node = Node::new(now, config).expect("a good configuration");
        Self {
            node,
            now,
            requests: Vec::new(),
            posts: Vec::new(),
            asked: 0,
            posted: 0,
            skipped: Vec::new(),
            ranges: Vec::new(),
            conduct: Vec::new(),
            found: Vec::new(),
            disk_is_full: false,
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll() {
            match output {
                Output::Job(job) => self.node.handle(self.now, Input::JobDone(job.run())),
                Output::Request { id, to, number, .. } => {
                    self.asked += 1;
                    self.requests.push((id, to, number));
                }
                Output::RequestRpc { id, endpoint, number, body, .. } => {
                    self.posted += 1;
                    self.posts.push(Posted { id, endpoint, number, body });
                }
                Output::Event(Event::Chain(ChainEvent::Skipped { from, to, .. })) => {
                    self.skipped.push((from.number, to.number));
                }
                Output::Event(Event::Sync(SyncEvent::Range { result, .. })) => {
                    self.ranges.push(result);
                }
                Output::Event(Event::Sync(SyncEvent::Found { lowest, missing, .. })) => {
                    self.found.push((lowest.number, missing));
                }
                Output::Event(Event::Sync(SyncEvent::Conduct { peer, conduct })) => {
                    self.conduct.push((peer, conduct));
                }
                Output::Store { id, change } => {
                    let is_stored = !(self.disk_is_full && matches!(change, StoreChange::Hold(_)));
                    self.node.handle(self.now, Input::Stored { id, is_stored });
                }
                _ => {}
            }
        }
    }

    pub(super) fn hear(&mut self, block: &Envelope) {
        let message = Unpacked::from_contents(&signed(block));
        let id = message.message_id(&block_topic(CHAIN_ID, V4));
        self.tell(Input::Gossip { from: peer(1), topic: V4, id, message });
    }

    /// Lets time pass as the node asks for, and answers each request 10 ms after it was sent. The
    /// wall clock does not move: all blocks have one timestamp.
    pub(super) fn pass(
        &mut self,
        span: Duration,
        peers: impl Fn(u64) -> Answer,
        endpoints: impl Fn(&Posted) -> Answer,
    ) {
        let end = self.now.monotonic + span;
        loop {
            let (requests, posts) =
                (std::mem::take(&mut self.requests), std::mem::take(&mut self.posts));
            let is_idle = requests.is_empty() && posts.is_empty();
            let due = match self.node.next_wakeup() {
                _ if !is_idle => self.now.monotonic + Duration::from_millis(10),
                Some(due) if due <= end => due,
                _ => break,
            };
            let by = due.since(self.now.monotonic).max(Duration::from_millis(1));
            self.now.monotonic = self.now.monotonic + by;
            for (id, _, number) in requests {
                let result = peers(number).map(Bytes::from);
                self.tell(Input::Response { id, result });
            }
            for post in posts {
                let result = endpoints(&post).map(Bytes::from);
                self.tell(Input::Response { id: post.id, result });
            }
            self.tell(Input::Wake);
        }
        self.now.monotonic = end;
        self.tell(Input::Wake);
    }

    pub(super) fn head(&self) -> u64 {
        self.node.view().head().expect("a head").number
    }

    pub(super) fn blamed(&self) -> usize {
        self.conduct.iter().filter(|(_, conduct)| *conduct != Conduct::ValidResponse).count()
    }
}

fn raw(envelope: &Envelope) -> Answer {
    let rlp = hex::encode(to_rlp(&decoded(envelope)));
    Ok(format!(r#"{{"jsonrpc":"2.0","id":1,"result":"0x{rlp}"}}"#).into())
}

pub(super) fn no_endpoint(posted: &Posted) -> Answer {
    panic!("no endpoint is configured: {posted:?}")
}

fn numbers(chain: &[Envelope]) -> impl Fn(usize) -> u64 + '_ {
    |at| chain[at].payload.block_number
}

#[test]
fn each_unfillable_gap_is_skipped_after_its_own_patience() {
    let chain = chain(V4, 40);
    let number = numbers(&chain);
    for gaps in [1, 2, 3] {
        let mut world = Following::new(&chain, |_| {});
        // After this time, peers that serve would be connected.
        world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
        let mut expected = Vec::new();
        for gap in 0..gaps {
            let lowest = 10 + gap * 10;
            for block in &chain[lowest..lowest + 5] {
                world.hear(block);
            }
            expected.push((number(if gap == 0 { 0 } else { lowest - 6 }), number(lowest)));
        }
        world.pass(9 * SECOND, |_| Ok(vec![1]), no_endpoint);
        world.pass(1_500 * SECOND / 1_000, |_| Ok(vec![1]), no_endpoint);
        assert_eq!(world.skipped, expected, "{gaps} gaps");
        assert_eq!(world.head(), number(gaps * 10 + 4));
        assert_eq!(world.node.view().gaps().count(), 0);
    }
}

#[test]
fn new_gaps_do_not_starve_a_stalled_one() {
    let chain = chain(V4, 200);
    let base = chain[0].payload.block_number;
    let mut world = Following::new(&chain, |config| {
        config.view.gap_patience = Some(600 * SECOND);
    });
    let serve = |number: u64| Ok(encode_response(&decoded(&chain[(number - base) as usize])));
    world.hear(&chain[4]);
    world.pass(SECOND, serve, no_endpoint);
    assert_eq!(world.head(), base + 4);
    world.hear(&chain[60]);
    // The server that had the others does not have these blocks yet.
    world.pass(6 * SECOND, |_| Ok(vec![1]), no_endpoint);
    // Each second one more block is lost, and no server has it for a while.
    for lost in 0..60 {
        world.hear(&chain[62 + 2 * lost]);
        let answer = |number: u64| match (number - base) as usize {
            at if at < 60 => serve(number),
            _ => Ok(vec![1]),
        };
        world.pass(SECOND, answer, no_endpoint);
    }
    assert_eq!((world.head(), world.blamed()), (base + 60, 0));
}

#[test]
fn a_lost_block_holds_the_head_for_three_intervals_if_no_peer_serves() {
    let chain = chain(V4, 200);
    let number = numbers(&chain);
    let mut world = Following::new(&chain, |_| {});
    world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
    let mut at = 1;
    for lost in 0..36 {
        at += 1;
        for _ in 0..3 {
            world.hear(&chain[at]);
            at += 1;
        }
        world.pass(6100 * SECOND / 1000, |_| Err(RequestFailure::Unsupported), no_endpoint);
        assert_eq!(world.head(), number(at - 1), "after {lost} losses");
        // Only the blocks of the gaps are skipped.
        let (from, to) = world.skipped[lost];
        assert_eq!((from + 2, to), (number(at - 3), number(at - 3)));
        world.pass(290 * SECOND, |_| Err(RequestFailure::Unsupported), no_endpoint);
    }
    assert_eq!((world.asked, world.blamed()), (1, 0), "it is asked once while connected");
}

#[test]
fn without_sync_or_with_an_old_head_a_gap_ends_after_three_intervals() {
    let chain = chain(V4, 40);
    let number = numbers(&chain);
    let off: fn(&mut NodeConfig) = |config| config.sync = None;
    let too_old: fn(&mut NodeConfig) = |config| {
        let sync = config.sync.as_mut().expect("on");
        sync.fill.max_age = Some(5 * SECOND);
    };
    for change in [off, too_old] {
        let mut world = Following::new(&chain, change);
        world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
        world.now.unix += 20 * SECOND;
        world.hear(&chain[10]);
        world.pass(5 * SECOND, |_| Ok(vec![1]), no_endpoint);
        assert_eq!(world.head(), number(0));
        world.pass(1100 * SECOND / 1000, |_| Ok(vec![1]), no_endpoint);
        assert_eq!((world.head(), world.skipped.len()), (number(10), 1));
        assert_eq!(world.asked, 0);
    }
}

#[test]
fn without_any_source_a_gap_ends_after_three_intervals_even_at_startup() {
    let chain = chain(V4, 40);
    let number = numbers(&chain);
    let off: fn(&mut NodeConfig) = |config| config.sync = None;
    let nobody: fn(&mut NodeConfig) = |config| {
        let sync = config.sync.as_mut().expect("on");
        sync.fill.client.asks_peers = false;
    };
    let too_old: fn(&mut NodeConfig) = |config| {
        let sync = config.sync.as_mut().expect("on");
        sync.fill.max_age = Some(5 * SECOND);
    };
    // The block interval is 2 s. A shorter patience of the operator applies as it is.
    for (patience, waits) in [(60, 6), (10, 6), (4, 4)] {
        for change in [off, nobody, too_old] {
            let mut world = Following::new(&chain, |config| {
                config.view.gap_patience = Some(patience * SECOND);
                change(config);
            });
            world.now.unix += 20 * SECOND;
            world.hear(&chain[7]);
            world.pass(waits * SECOND - SECOND, |_| Ok(vec![1]), no_endpoint);
            assert_eq!(world.head(), number(0), "{patience}");
            world.pass(1100 * SECOND / 1000, |_| Ok(vec![1]), no_endpoint);
            assert_eq!(world.head(), number(7), "{patience}");
            assert_eq!(world.skipped, [(number(0), number(7))], "1 to 6 are left out");
            assert_eq!(world.asked, 0);
        }
    }
}

#[test]
fn a_range_command_ends_despite_an_unfillable_gap() {
    let chain = chain(V4, 40);
    let mut world = Following::new(&chain, |_| {});
    world.hear(&chain[10]);
    world.tell(Input::FetchRange { id: RangeId(1), to: id(&chain[30]) });
    world.pass(9 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert_eq!(world.ranges, [], "the patience is 10 s");
    world.pass(51 * SECOND, |_| Ok(vec![1]), no_endpoint);
    assert!(matches!(world.ranges[..], [Err(RangeError::NotFound(_))]), "{:?}", world.ranges);
}

#[test]
fn a_command_for_an_impossible_block_is_refused_without_asking_servers() {
    let chain = chain(V4, 4);
    let mut world = Following::new(&chain, |_| {});
    let to = BlockId::new(u64::MAX - 7, B256::repeat_byte(9));
    world.tell(Input::FetchRange { id: RangeId(1), to });
    assert!(matches!(world.ranges[..], [Err(RangeError::NotYet { .. })]), "{:?}", world.ranges);
    world.pass(60 * SECOND, |_| Ok(vec![2]), no_endpoint);
    assert_eq!((world.asked, world.blamed()), (0, 0));
}

#[test]
fn a_number_that_a_server_refuses_is_not_blamed_on_it() {
    let chain = chain(V4, 12);
    let mut world = Following::new(&chain, |_| {});
    world.hear(&chain[10]);
    world.pass(9 * SECOND, |_| Ok(vec![2]), no_endpoint);
    assert!(world.asked > 0);
    assert_eq!(world.blamed(), 0);
}

#[test]
fn a_peer_that_never_serves_is_asked_a_few_times_without_blame() {
    let chain = chain(V4, 400);
    let answers: [fn(u64) -> Answer; 3] = [
        |_| Ok(vec![1]),
        // Some close the stream before they read the request.
        |_| Err(RequestFailure::Closed),
        |_| Ok(Vec::new()),
    ];
    for answer in answers {
        let mut world = Following::new(&chain, |_| {});
        world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
        for lost in 1..=90 {
            world.hear(&chain[lost * 4 + 1]);
            world.pass(5 * SECOND, answer, no_endpoint);
        }
        assert!((1..=12).contains(&world.asked), "asked {} times", world.asked);
        assert_eq!(world.blamed(), 0);
        assert_eq!(world.node.sync_status().expect("on").servers, 0);
        // Later the peer is asked once more, because it may have blocks by now.
        let before = world.asked;
        world.pass(600 * SECOND, answer, no_endpoint);
        world.hear(&chain[365]);
        world.pass(SECOND, answer, no_endpoint);
        world.hear(&chain[367]);
        world.pass(20 * SECOND, answer, no_endpoint);
        assert_eq!(world.asked, before + 1);
    }
}

#[test]
fn a_peer_that_does_not_list_the_protocol_is_not_asked() {
    let chain = chain(V4, 12);
    for (protocol, is_asked) in [
        (crate::sync::protocol_id(CHAIN_ID), true),
        ("/opstack/req/payload_by_number/base/0/".into(), false),
        ("/meshsub/1.1.0".into(), false),
    ] {
        let mut world = Following::new(&chain, |_| {});
        let info = PeerInfo { protocols: vec![protocol.clone()], ..PeerInfo::default() };
        world.tell(Input::Peer(peer(1), PeerNews::Identified(info)));
        world.hear(&chain[10]);
        assert_eq!(world.asked > 0, is_asked, "{protocol}");
    }
}

#[test]
fn a_server_serves_its_blocks_regardless_of_clock_and_schedule() {
    let chain = chain(V4, 3);
    let number = numbers(&chain);
    let mut world = Following::new(&chain, |config| {
        // By this schedule only the genesis block exists before the end of the century.
        config.chain.genesis.time = chain[0].payload.timestamp;
        config.chain.block_time = 3_000_000_000;
    });
    world.hear(&chain[1]);
    world.hear(&chain[2]);
    for (id, at) in [(1, 0), (2, 2)] {
        let request = Input::Requested { from: peer(1), id: ServeId(id), number: number(at) };
        world.node.handle(world.now, request);
        let output = std::iter::from_fn(|| world.node.poll())
            .find(|output| matches!(output, Output::Serve { .. } | Output::Refuse { .. }));
        assert!(matches!(output, Some(Output::Serve { held: Some(_), .. })), "{output:?}");
    }
}

fn with_endpoints(count: usize) -> impl Fn(&mut NodeConfig) {
    move |config| {
        let sync = config.sync.as_mut().expect("on");
        sync.fill.client.endpoints = count;
    }
}

#[test]
fn an_endpoint_fills_gaps_that_no_peer_fills_and_is_asked_by_hash() {
    let chain = chain(V4, 40);
    let base = chain[0].payload.block_number;
    let mut world = Following::new(&chain, with_endpoints(1));
    world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
    world.hear(&chain[30]);
    let first = std::cell::RefCell::new(None);
    world.pass(
        9 * SECOND,
        |_| Err(RequestFailure::Unsupported),
        |post| {
            first.borrow_mut().get_or_insert_with(|| post.clone());
            raw(&chain[(post.number - base) as usize])
        },
    );
    assert_eq!((world.head(), world.skipped.len()), (base + 30, 0));
    let first = first.into_inner().expect("asked");
    assert_eq!((first.endpoint, first.number), (0, base + 29));
    let body: serde_json::Value = serde_json::from_str(&first.body).expect("JSON");
    assert_eq!(body["method"], "debug_getRawBlock");
    assert_eq!(body["params"], serde_json::json!([chain[29].payload.block_hash]));
    assert_eq!((world.posted, world.blamed()), (29, 0));
}

#[test]
fn an_endpoint_is_not_asked_while_peers_deliver() {
    let chain = chain(V4, 40);
    let base = chain[0].payload.block_number;
    let mut world = Following::new(&chain, with_endpoints(1));
    world.hear(&chain[30]);
    let answer = |number: u64| Ok(encode_response(&decoded(&chain[(number - base) as usize])));
    world.pass(9 * SECOND, answer, no_endpoint);
    assert_eq!((world.head(), world.posted), (base + 30, 0));
}

#[test]
fn a_lying_endpoint_costs_only_time() {
    let chain = chain(V4, 40);
    let base = chain[0].payload.block_number;
    // Blocks with a correct hash that the sequencer did not make.
    let other = child(&chain[3], 77);
    for honest in [None, Some(1)] {
        let mut world = Following::new(&chain, with_endpoints(2));
        world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
        world.hear(&chain[6]);
        let lies = std::cell::Cell::new(0);
        world.pass(
            30 * SECOND,
            |_| Err(RequestFailure::Unsupported),
            |post| match honest {
                Some(endpoint) if post.endpoint == endpoint => {
                    raw(&chain[(post.number - base) as usize])
                }
                _ => {
                    lies.set(lies.get() + 1);
                    raw(&other)
                }
            },
        );
        assert_eq!(world.head(), base + 6);
        let skips = if honest.is_some() { vec![] } else { vec![(base, base + 6)] };
        assert_eq!(world.skipped, skips, "honest: {honest:?}");
        assert!((1..=4).contains(&lies.get()), "asked a liar {} times", lies.get());
    }
}

#[test]
fn an_endpoint_without_the_debug_api_is_asked_for_block_parts() {
    let chain = chain(V4, 40);
    let mut world = Following::new(&chain, with_endpoints(1));
    world.pass(20 * SECOND, |_| SILENCE, no_endpoint);
    world.hear(&chain[6]);
    let methods = std::cell::RefCell::new(Vec::new());
    world.pass(
        5 * SECOND,
        |_| Err(RequestFailure::Unsupported),
        |post| {
            let body: serde_json::Value = serde_json::from_str(&post.body).expect("JSON");
            methods.borrow_mut().push(body["method"].as_str().expect("a method").to_owned());
            let error =
                r#"{"code":-32601,"message":"the method debug_getRawBlock does not exist"}"#;
            Ok(format!(r#"{{"error":{error}}}"#).into_bytes())
        },
    );
    let methods = methods.into_inner();
    assert_eq!(methods[..2], ["debug_getRawBlock", "eth_getBlockByHash"]);
    assert!(!methods[2..].contains(&"debug_getRawBlock".to_owned()), "{methods:?}");
}

#[test]
fn with_peer_requests_disabled_only_the_endpoint_is_asked() {
    let chain = chain(V4, 12);
    let base = chain[0].payload.block_number;
    let mut world = Following::new(&chain, |config| {
        with_endpoints(1)(config);
        let sync = config.sync.as_mut().expect("on");
        sync.fill.client.asks_peers = false;
        sync.serves = false;
    });
    world.hear(&chain[6]);
    world.pass(5 * SECOND, |_| SILENCE, |post| raw(&chain[(post.number - base) as usize]));
    assert_eq!((world.head(), world.asked), (base + 6, 0));
    let request = Input::Requested { from: peer(1), id: ServeId(1), number: base };
    world.node.handle(world.now, request);
    let output = std::iter::from_fn(|| world.node.poll())
        .find(|output| matches!(output, Output::Serve { .. } | Output::Refuse { .. }));
    assert!(matches!(output, Some(Output::Refuse { .. })), "{output:?}");
}

#[test]
fn a_gap_closes_even_if_the_disk_accepts_nothing() {
    let chain = chain(V4, 60);
    let base = chain[0].payload.block_number;
    for missing in [1, 2, 5, 20, 50] {
        let mut world = Following::new(&chain, |_| {});
        world.disk_is_full = true;
        for block in &chain[missing + 1..missing + 4] {
            world.hear(block);
        }
        let answer = |number: u64| Ok(encode_response(&decoded(&chain[(number - base) as usize])));
        world.pass(60 * SECOND, answer, no_endpoint);
        assert_eq!(world.head(), base + missing as u64 + 3, "{missing} blocks are missing");
        assert_eq!((world.skipped.len(), world.blamed()), (0, 0));
        assert_eq!(world.node.sync_status().expect("on").pending, 0);
    }
}

#[test]
fn blocks_that_the_store_could_not_keep_are_stored_when_it_can() {
    let chain = chain(V4, 12);
    let mut world = Following::new(&chain, |_| {});
    world.disk_is_full = true;
    world.hear(&chain[10]);
    let held = world.node.sync_status().expect("on");
    assert_eq!(held.pending, 1);
    assert!(held.memory > 0);
    world.disk_is_full = false;
    let chain_of = chain[10].clone();
    let mut holds = 0;
    world.now.monotonic = world.now.monotonic + 5 * SECOND;
    world.node.handle(world.now, Input::Wake);
    while let Some(output) = world.node.poll() {
        if let Output::Store { id: held, change: StoreChange::Hold(block) } = output {
            assert_eq!(BlockId::of(&block), id(&chain_of));
            holds += 1;
            world.node.handle(world.now, Input::Stored { id: held, is_stored: true });
        }
    }
    assert_eq!(holds, 1);
}

#[test]
fn a_server_on_a_branch_that_the_sequencer_signed_and_left_is_not_blamed() {
    let old = chain(V4, 20);
    // The sequencer went back to the sixth block.
    let mut new = vec![child(&old[5], 7)];
    for _ in 0..20 {
        new.push(child(new.last().expect("one"), 7));
    }
    let base = old[0].payload.block_number;
    let mut world = Following::new(&old, |config| {
        // So small that the view has to drop waiting blocks. The pending area keeps them.
        (config.view.max_blocks, config.view.keep_depth) = (6, 1);
        config.view.gap_patience = Some(600 * SECOND);
    });
    world.tell(Input::Connected(peer(2)));
    for block in old[10..20].iter().chain(&new[16..21]) {
        world.hear(block);
    }
    // Peer 1 still serves the old branch, peer 2 the new one.
    let end = world.now.monotonic + 120 * SECOND;
    while world.now.monotonic < end {
        let requests = std::mem::take(&mut world.requests);
        world.now.monotonic = world.now.monotonic + Duration::from_millis(20);
        for (id, to, number) in requests {
            let at = (number - base) as usize;
            let on_old = to == peer(1) || at <= 5;
            let found = if on_old { old.get(at) } else { new.get(at - 6) };
            let answer = found.map_or(vec![1], |found| encode_response(&decoded(found)));
            world.tell(Input::Response { id, result: Ok(answer.into()) });
        }
        world.tell(Input::Wake);
    }
    assert_eq!(world.head(), base + 26);
    assert_eq!(world.blamed(), 0, "{:?}", world.conduct);
}
