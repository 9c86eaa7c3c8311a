//! Any sequence of inputs keeps the bounds, and every read ends.

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::talk::{Manner, Talk, config};
use super::world::{ALICE, TOKEN, World};
use crate::chain::Labels;
use crate::proof::reader::{
    LagPolicy, MAX_CACHE_BYTES, MAX_FETCHES, MAX_READ_BYTES, MAX_READS, MAX_RECENT_BYTES,
    MAX_RECENT_HEADERS, ReadId, ReaderConfig,
};

#[derive(Clone, Debug)]
enum Act {
    Request(usize),
    Answer,
    Head,
    Fork,
    Cancel(u64),
    Pass(u64),
    Labels(u64),
    Manner(usize, u8),
    Height(usize, u64),
    Restore(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..9_usize).prop_map(Act::Request),
        6 => Just(Act::Answer),
        1 => Just(Act::Head),
        1 => Just(Act::Fork),
        1 => (0..200_u64).prop_map(Act::Cancel),
        1 => (0..4000_u64).prop_map(Act::Pass),
        1 => (0..24_u64).prop_map(Act::Labels),
        1 => (0..3_usize, 0..5_u8).prop_map(|(at, manner)| Act::Manner(at, manner)),
        1 => (0..3_usize, 0..24_u64).prop_map(|(at, height)| Act::Height(at, height)),
        1 => (0..4_usize).prop_map(Act::Restore),
    ]
}

fn request(which: usize) -> (&'static str, Value) {
    match which {
        0 => ("eth_getBalance", json!([ALICE])),
        1 => ("eth_getProof", json!([TOKEN, ["0x3"], "0x2"])),
        2 => ("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest" }])),
        3 => ("eth_getBlockReceipts", json!(["0x3"])),
        4 => ("eth_getTransactionReceipt", json!([alloy_primitives::B256::repeat_byte(1)])),
        5 => ("eth_getBlockByNumber", json!(["safe", true])),
        6 => ("eth_getCode", json!([TOKEN, "finalized"])),
        7 => ("eth_gasPrice", json!([])),
        _ => ("eth_blockNumber", json!([])),
    }
}

fn manner(which: u8) -> Manner {
    match which {
        0 => Manner::Silent,
        1 => Manner::Gone,
        2 => Manner::Refuses(-32000),
        3 => Manner::Lies(Rc::new(|_, mut answer| {
            if let Some(balance) = answer.get_mut("balance") {
                *balance = json!("0x1");
            }
            answer
        })),
        _ => Manner::True,
    }
}

fn check(talk: &Talk) {
    let reader = &talk.reader;
    assert!(reader.pending_reads() <= MAX_READS && reader.pending_fetches() <= MAX_FETCHES);
    let recent = MAX_RECENT_BYTES + MAX_RECENT_HEADERS * 1024;
    let bound = recent + 4 * MAX_CACHE_BYTES + reader.pending_reads() * MAX_READ_BYTES;
    assert!(reader.bytes() <= bound);
    assert_eq!(reader.pending_reads() > 0 || reader.pending_fetches() > 0, {
        reader.deadline().is_some()
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_inputs_keep_the_bounds_and_every_read_ends(
        acts in prop::collection::vec(act(), 1..120),
        max_blocks in prop::option::of(0..6_u64),
    ) {
        let world = World::new(22, 0);
        let fork = world.fork(15, 0, 23);
        let worlds = [Rc::new(world), Rc::new(fork)];
        let lag = max_blocks.map_or(LagPolicy::Wait(Duration::from_secs(2)), |max_blocks| {
            LagPolicy::Newest { max_blocks }
        });
        let mut talk = Talk::new(&worlds[0], ReaderConfig { lag, ..config(3) }, 22);
        let (mut on_fork, mut begun) = (false, Vec::new());
        for act in acts {
            match act {
                Act::Request(which) => {
                    let (method, params) = request(which);
                    begun.push(talk.begin(method, &params));
                }
                Act::Answer => {
                    talk.step();
                }
                Act::Head => {
                    let world = &worlds[usize::from(on_fork)];
                    let next = talk.reader.newest().map_or(0, |head| head.number as usize + 1);
                    if let Some(block) = world.blocks.get(next) {
                        talk.reader.head(block, talk.at());
                    }
                }
                Act::Fork => {
                    on_fork = !on_fork;
                    talk.world = worlds[usize::from(on_fork)].clone();
                    talk.reader.head(&talk.world.blocks[16], talk.at());
                }
                Act::Cancel(id) => {
                    let id = ReadId(id);
                    begun.retain(|read| *read != id);
                    talk.reader.cancel(id, talk.at());
                }
                Act::Pass(millis) => {
                    talk.now += Duration::from_millis(millis);
                    talk.reader.wake(talk.at());
                }
                Act::Labels(at) => {
                    let block = talk.world.blocks.get(at as usize);
                    let id = block.map(|block| talk.world.id(block.number()));
                    talk.reader.labels(Labels { safe: id, finalized: None });
                }
                Act::Manner(at, which) => talk.servers[at].manner = manner(which),
                Act::Height(at, height) => talk.servers[at].height = height,
                Act::Restore(at) => talk.reader.restore(at),
            }
            talk.drain();
            check(&talk);
        }
        let limit = talk.now + Duration::from_secs(45);
        while talk.reader.pending_reads() > 0 {
            prop_assert!(talk.step());
            check(&talk);
            prop_assert!(talk.now <= limit);
        }
        for id in begun {
            prop_assert!(talk.answers.contains_key(&id), "no answer to {id:?}");
        }
    }
}
