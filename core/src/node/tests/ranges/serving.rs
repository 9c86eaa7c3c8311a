//! Ranges that the node serves.

use super::*;
use crate::sync::range::{Checked, ChunkWork, RequestError};

/// A node whose store has a part of its chain, and the bytes that it wrote to one stream.
struct Server {
    node: Node,
    now: Now,
    chain: Vec<Block>,
    /// Number of blocks that the store has, or `None` if there is no store.
    stored: Option<usize>,
    written: Vec<u8>,
    reads: usize,
    held: usize,
    end: Option<End>,
    is_reset: bool,
    takes: bool,
}

const STREAM: RangeServeId = RangeServeId(3);

impl Server {
    fn new(length: usize, stored: Option<usize>, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let chain: Vec<Block> = chain(V4, length).iter().map(decoded).collect();
        let mut config = NodeConfig {
            head: Some(BlockId::of(&chain[0])),
            recent: vec![chain[0].clone()],
            sync: Some(SyncConfig::default()),
            ..super::config(V4)
        };
        change(&mut config);
        let now = Now::new(SECOND, Duration::from_secs(chain[0].timestamp()));
        let node = Node::new(now, config).expect("a good configuration");
        let mut server = Self {
            node,
            now,
            chain,
            stored,
            written: Vec::new(),
            reads: 0,
            held: 0,
            end: None,
            is_reset: false,
            takes: true,
        };
        server.tell(Input::Connected(peer(1)));
        for at in 1..length {
            let block = server.chain[at].clone();
            server.tell(Input::Insert(block));
        }
        assert_eq!(
            server.node.view().head().map(|head| head.number),
            Some(server.number(length - 1))
        );
        server
    }

    fn number(&self, at: usize) -> u64 {
        self.chain[0].number() + at as u64
    }

    fn tell(&mut self, input: Input) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll() {
            let Output::Range(output) = output else { continue };
            let input = match output {
                RangeOutput::Read { id, order } => {
                    self.reads += 1;
                    self.held += order.held.len();
                    let done = match self.stored {
                        Some(stored) => order.run(&mut Stored(&self.chain[..stored], 0)),
                        None => order.run(&mut NoBlocks),
                    };
                    let Ok(done) = done;
                    RangeInput::Read { id, done }
                }
                RangeOutput::Write { id, frame } => {
                    self.written.extend_from_slice(&frame);
                    if !self.takes {
                        continue;
                    }
                    RangeInput::Written(id)
                }
                RangeOutput::End { end, .. } => {
                    self.written.extend_from_slice(&end.encode());
                    assert_eq!(self.end.replace(end), None);
                    continue;
                }
                RangeOutput::Reset(_) => {
                    self.is_reset = true;
                    continue;
                }
                other => panic!("it asks for nothing: {other:?}"),
            };
            self.node.handle(self.now, Input::Range(input));
        }
    }

    fn request(&mut self, request: Result<Request, RequestError>) {
        let input = RangeInput::Requested { from: peer(1), id: STREAM, request };
        self.tell(Input::Range(input));
    }

    fn by_hash(&self, at: usize, blocks: u32) -> Request {
        let first = First::Block(BlockId::of(&self.chain[at]));
        Request { chain_id: CHAIN_ID, first, blocks, bytes: u64::MAX, codecs: 0 }
    }

    /// Returns the positions of the written blocks, after checking the proof of each.
    fn proved(&self, request: &Request) -> Vec<u64> {
        let (mut decoder, mut rest) = (AnswerDecoder::new(usize::MAX), &self.written[..]);
        let (mut number, mut hash) = (request.first.number(), request.first.hash());
        let mut proved = Vec::new();
        while let Some(frame) = decoder.next(&mut rest).expect("it is readable") {
            let Frame::Chunk(chunk) = frame else { continue };
            let Checked { blocks, fault } = ChunkWork::new(chunk, number, hash).run();
            assert_eq!(fault, None);
            for block in blocks {
                proved.push(block.number() - self.chain[0].number());
                (number, hash) = (block.number().saturating_sub(1), Some(block.parent_hash()));
            }
        }
        decoder.finish().expect("it has an end");
        proved
    }
}

#[test]
fn blocks_of_the_view_and_of_the_store_are_one_answer() {
    let few = |config: &mut NodeConfig| config.view.max_blocks = 40;
    for (stored, from) in [(301, 300), (290, 300), (301, 250), (301, 0), (301, 299)] {
        let mut server = Server::new(301, Some(stored), few);
        let request = server.by_hash(from, 1_000);
        server.request(Ok(request));
        let expected: Vec<u64> = (0..=from as u64).rev().collect();
        assert_eq!(server.proved(&request), expected, "{stored} stored, from {from}");
        let lowest = server.number(0);
        assert_eq!(server.end, Some(End::NoMore { lowest }));
        assert_eq!(server.held > 0, from >= 290, "the newest are in memory");
    }
}

#[test]
fn a_node_without_a_store_serves_what_it_holds() {
    let mut server = Server::new(31, None, |_| {});
    let request = Request { first: First::Canonical(server.number(30)), ..server.by_hash(30, 10) };
    server.request(Ok(request));
    assert_eq!(server.proved(&request), (21..=30).rev().collect::<Vec<_>>());
    assert_eq!(server.end, Some(End::Complete));
}

#[test]
fn each_request_that_is_not_served_has_its_end() {
    type Ask = fn(&Server) -> Result<Request, RequestError>;
    type Expected = fn(&Server) -> End;
    let cases: [(Ask, Expected); 4] = [
        (|_| Err(RequestError::Nothing), |_| End::Invalid),
        (
            |server| Ok(Request { chain_id: 5, ..server.by_hash(3, 1) }),
            |_| End::OtherChain { chain_id: CHAIN_ID },
        ),
        (
            |server| {
                let first = First::Canonical(server.number(31));
                Ok(Request { first, ..server.by_hash(3, 1) })
            },
            |server| End::NeverHad { highest: server.number(30) },
        ),
        (
            |server| {
                let first = First::Block(BlockId::new(server.number(29), B256::repeat_byte(9)));
                Ok(Request { first, ..server.by_hash(3, 1) })
            },
            |server| End::NeverHad { highest: server.number(30) },
        ),
    ];
    for (ask, expected) in cases {
        let mut server = Server::new(31, Some(31), |_| {});
        server.request(ask(&server));
        assert_eq!((server.end, server.reads), (Some(expected(&server)), 0));
    }
    let offs: [fn(&mut SyncConfig); 2] = [|sync| sync.ranges = false, |sync| sync.serves = false];
    for off in offs {
        let mut server = Server::new(3, Some(3), |config| {
            let mut sync = SyncConfig::default();
            off(&mut sync);
            config.sync = Some(sync);
        });
        server.request(Ok(server.by_hash(2, 1)));
        assert_eq!((server.end, server.reads), (Some(End::Refused), 0));
    }
}

#[test]
fn a_peer_that_does_not_read_is_reset_and_one_that_cancels_is_forgotten() {
    let mut server = Server::new(31, Some(31), |_| {});
    server.takes = false;
    server.request(Ok(server.by_hash(30, 31)));
    assert!(!server.written.is_empty());
    let due = server.node.next_wakeup().expect("a deadline");
    assert!(due <= server.now.monotonic + 20 * SECOND);
    server.now.monotonic = server.now.monotonic + 20 * SECOND;
    server.tell(Input::Wake);
    assert!(server.is_reset && server.end.is_none());

    let mut server = Server::new(31, Some(31), |_| {});
    server.takes = false;
    server.request(Ok(server.by_hash(30, 31)));
    server.tell(Input::Range(RangeInput::Cancelled(STREAM)));
    server.now.monotonic = server.now.monotonic + 60 * SECOND;
    server.tell(Input::Wake);
    assert!(!server.is_reset && server.end.is_none());
}
