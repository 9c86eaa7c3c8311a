//! Fuzz targets: one for each decoder of untrusted bytes, and one for each state machine.
//!
//! A target is a function of bytes that panics when a property does not hold. Decoders take the
//! bytes as they are. State machines read events from them (with [`arbitrary`]), so that every
//! input is a sequence of events. Nothing here depends on a fuzzer: `tests/seeds.rs` replays the
//! seeds and findings through the same functions, and the program `opp2p-fuzz` searches for more
//! with LLVM's libFuzzer.
//!
//! # Bounds
//! Every sequence of events ends with its bytes, and [`Target::max_len`] bounds those.

mod chain;
mod decode;
mod engine;
mod gossip;
mod material;
mod mesh;
#[cfg(feature = "native")]
mod native;
mod node;
mod peers;
mod publish;
mod range;
mod reader;
mod sync;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line, and the name of its folder of seeds.
    pub name: &'static str,
    /// The property that the target checks.
    pub what: &'static str,
    /// Function that panics if the property does not hold.
    pub run: fn(&[u8]),
    /// Maximum useful length of an input, in bytes.
    pub max_len: usize,
    /// Initial inputs, made from the fixtures. State machines have none: the fuzzer finds them.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets, decoders first.
pub const TARGETS: &[Target] = &[
    Target {
        name: "snappy-block",
        what: "a snappy block decompresses within its limit, as the library's decoder says",
        run: decode::snappy_block,
        max_len: 4096,
        seeds: decode::snappy_block_seeds,
    },
    Target {
        name: "snappy-frames",
        what: "a framed stream is read the same in any pieces, within its limit",
        run: decode::snappy_frames,
        max_len: 4096,
        seeds: decode::snappy_frames_seeds,
    },
    Target {
        name: "payload",
        what: "the view and the canonical SSZ types agree, and what decodes encodes to the same \
               bytes",
        run: decode::payload,
        max_len: 4096,
        seeds: decode::payload_seeds,
    },
    Target {
        name: "response",
        what: "an answer to a request is read within its limit, and written again says the same",
        run: decode::response,
        max_len: 4096,
        seeds: decode::response_seeds,
    },
    Target {
        name: "range-answer",
        what: "an answer with a range is read the same in any pieces, within its limit, and true \
               blocks link",
        run: range::answer,
        max_len: 4096,
        seeds: range::answer_seeds,
    },
    Target {
        name: "rollup-json",
        what: "a rollup.json is read or refused in one short line, and written again says the same",
        run: decode::rollup_json,
        max_len: 4096,
        seeds: decode::rollup_json_seeds,
    },
    Target {
        name: "node-record",
        what: "an opstack entry and a record's addresses: only what is this chain's and allowed is \
               dialled",
        run: decode::node_record,
        max_len: 256,
        seeds: decode::node_record_seeds,
    },
    Target {
        name: "names",
        what: "networks, subnets, protocols, topics and peer ids, as text from outside",
        run: decode::names,
        max_len: 256,
        seeds: decode::names_seeds,
    },
    Target {
        name: "peer-memory",
        what: "stored peers, bans and blocks: what is restored is bounded and stored again the \
               same",
        run: peers::memory,
        max_len: 4096,
        seeds: peers::memory_seeds,
    },
    Target {
        name: "message",
        what: "a gossip message as it travels: nothing unsigned is accepted, and inspecting it \
               says the same",
        run: gossip::message,
        max_len: 4096,
        seeds: gossip::message_seeds,
    },
    Target {
        name: "signed-block",
        what: "any change of a block that is signed again: only what obeys every rule is accepted",
        run: gossip::signed_block,
        max_len: 1024,
        seeds: gossip::signed_block_seeds,
    },
    Target {
        name: "seen-blocks",
        what: "the seen list beside a naive one",
        run: gossip::seen_blocks,
        max_len: 1024,
        seeds: none,
    },
    Target {
        name: "mesh-frames",
        what: "a stream of gossip frames reads the same in any pieces, and what is read is bounded",
        run: mesh::frames,
        max_len: 4096,
        seeds: mesh::frames_seeds,
    },
    Target {
        name: "mesh-router",
        what: "peers that say anything in any order: the router keeps its bounds, and writes valid \
               frames",
        run: mesh::router,
        max_len: 1024,
        seeds: mesh::router_seeds,
    },
    Target {
        name: "l1",
        what: "any answers of an L1 node, at any time: one question at a time, and a load always \
               ends",
        run: decode::l1,
        max_len: 2048,
        seeds: none,
    },
    Target {
        name: "chain-view",
        what: "blocks in any order and number: events make one chain, and all bounds hold",
        run: chain::view,
        max_len: 1024,
        seeds: none,
    },
    Target {
        name: "publish-queue",
        what: "answers in any order: every publication ends once, and the queue is bounded",
        run: publish::queue,
        max_len: 512,
        seeds: none,
    },
    Target {
        name: "range-client",
        what: "servers that lie or are silent: only linked blocks are proved, within the client's \
               bounds",
        run: sync::client,
        max_len: 1024,
        seeds: none,
    },
    Target {
        name: "payload-server",
        what: "requests in any number: each is answered once, within the server's bounds",
        run: sync::server,
        max_len: 1024,
        seeds: none,
    },
    Target {
        name: "range-server",
        what: "requests for ranges in any number: each ends once, within the server's bounds",
        run: range::server,
        max_len: 1024,
        seeds: range::event_seeds,
    },
    Target {
        name: "segment-client",
        what: "streams that lie or are silent: only linked blocks are proved, within the client's \
               bounds",
        run: range::client,
        max_len: 1024,
        seeds: range::event_seeds,
    },
    Target {
        name: "peer-manager",
        what: "peers that come, go and misbehave: bounds hold, and who is banned does not get in",
        run: peers::manager,
        max_len: 1024,
        seeds: none,
    },
    Target {
        name: "discovery",
        what: "candidates, the pace and where others see us: bounded, and each handed on once in a \
               while",
        run: peers::discovery,
        max_len: 1024,
        seeds: none,
    },
    Target {
        name: "engine",
        what: "execution clients of every opinion: one call at a time, and no invalid block is \
               offered twice",
        run: engine::engine,
        max_len: 512,
        seeds: none,
    },
    Target {
        name: "reader",
        what: "arbitrary answers of endpoints: each answer of the reader is proved, and every read \
               ends",
        run: reader::reader,
        max_len: 1024,
        seeds: reader::seeds,
    },
    Target {
        name: "node",
        what: "the whole node: each message judged once, each request answered once, one chain, \
               all bounds",
        run: node::node,
        max_len: 512,
        seeds: none,
    },
    #[cfg(feature = "native")]
    Target {
        name: "store-record",
        what: "a damaged record of the block store is refused, and what reads is written again the \
               same",
        run: native::store_record,
        max_len: 4096,
        seeds: native::store_record_seeds,
    },
    #[cfg(feature = "native")]
    Target {
        name: "key-file",
        what: "a key file is read or refused, and no secret is shown",
        run: native::key_file,
        max_len: 128,
        seeds: native::key_file_seeds,
    },
    #[cfg(feature = "native")]
    Target {
        name: "bootnode",
        what: "node records and enode URLs, as an operator pastes them",
        run: native::bootnode,
        max_len: 512,
        seeds: native::bootnode_seeds,
    },
    #[cfg(feature = "native")]
    Target {
        name: "rpc-arguments",
        what: "what a call is given, read as everything that an argument may be",
        run: native::rpc_arguments,
        max_len: 512,
        seeds: native::rpc_arguments_seeds,
    },
];

/// Returns the target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

fn none() -> Vec<Vec<u8>> {
    Vec::new()
}
