//! Instruction counts of the hot paths, measured with Valgrind. Unlike times, they do not depend on
//! the load of the machine.
//!
//! `cargo all-tests -- counts` compares them with `counts.json`, and reports those that differ by
//! more than 3 %. Valgrind supports AVX2, but not AVX-512.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::needless_pass_by_value,
    reason = "what the macros write"
)]

mod messages;

use alloy_primitives::{Address, B256};
use gungraun::{library_benchmark, library_benchmark_group, main};
use messages::{Message, SIZES};
use opp2p_core::gossip::{Copies, MessageId, Reason, Unpacked};
use opp2p_core::payload::{PayloadVersion, PayloadView, transactions_root};
use opp2p_core::time::Instant;
use std::hint::black_box;

fn message(size: usize) -> Message {
    let (transactions, bytes, _) = SIZES[size];
    Message::new(PayloadVersion::V4, transactions, bytes)
}

fn known(size: usize) -> (Message, Copies) {
    let message = message(size);
    let mut copies = Copies::default();
    copies.insert(Instant::default(), &message.topic, message.data.clone(), [1; 20]);
    (message, copies)
}

// Decompression and message id: the cost of a message before it is known to be new.
#[library_benchmark]
#[bench::small(message(0))]
#[bench::usual(message(1))]
#[bench::large(message(2))]
fn name(message: Message) -> MessageId {
    black_box(Unpacked::new(black_box(&message.data))).message_id(&message.topic)
}

// From the arrival of a valid message to its verdict.
#[library_benchmark]
#[bench::small(message(0))]
#[bench::usual(message(1))]
#[bench::large(message(2))]
fn judge(message: Message) -> Result<Address, Reason> {
    black_box(message.judge(black_box(&message.data)))
}

// The same for a message that the sequencer did not sign.
#[library_benchmark]
#[bench::small(message(0))]
#[bench::usual(message(1))]
#[bench::large(message(2))]
fn forged(message: Message) -> Result<Address, Reason> {
    black_box(message.judge(black_box(&message.forged)))
}

// A duplicate of an earlier message.
#[library_benchmark]
#[bench::small(known(0))]
#[bench::usual(known(1))]
#[bench::large(known(2))]
fn copy((message, mut copies): (Message, Copies)) -> Option<MessageId> {
    black_box(copies.find(Instant::default(), &message.topic, black_box(&message.data)))
}

// The transactions root of a block.
#[library_benchmark]
#[bench::small(message(0))]
#[bench::usual(message(1))]
#[bench::large(message(2))]
fn root(message: Message) -> B256 {
    let view = PayloadView::parse(message.version, message.payload()).expect("decodes");
    black_box(transactions_root(black_box(&view)))
}

library_benchmark_group!(name = hot_paths, benchmarks = [name, judge, forged, copy, root]);
main!(library_benchmark_groups = hot_paths);
