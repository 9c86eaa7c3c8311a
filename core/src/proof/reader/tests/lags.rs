//! Endpoints that do not have the head's state yet.

use std::rc::Rc;
use std::time::Duration;

use alloy_primitives::U256;
use serde_json::{Value, json};

use super::talk::{Manner, Talk, config};
use super::world::{ALICE, World};
use crate::proof::reader::{LagPolicy, ReadError, ReaderConfig};

fn world() -> Rc<World> {
    Rc::new(World::new(20, 0))
}

fn newest(max_blocks: u64) -> ReaderConfig {
    ReaderConfig { lag: LagPolicy::Newest { max_blocks }, ..config(2) }
}

fn balance_at(number: u64) -> Result<Value, ReadError> {
    Ok(json!(U256::from(1_000_000 + number)))
}

#[test]
fn a_read_waits_for_an_endpoint_that_lags() {
    for (method, params) in [
        ("eth_getBalance", json!([ALICE, "latest"])),
        ("eth_getBalance", json!([ALICE, "0x14"])),
        ("eth_getBlockReceipts", json!(["latest"])),
    ] {
        let world = world();
        let mut talk = Talk::new(&world, config(2), 10);
        talk.heights(&[19, 18]);
        let read = talk.begin(method, &params);
        while talk.now < Duration::from_secs(1) {
            assert!(talk.step() && talk.answers.is_empty());
        }
        talk.heights(&[19, 20]);
        let (result, id, _) = talk.wait(read);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(id, Some(world.id(20)));
        assert!(talk.now < Duration::from_secs(3));
        assert_eq!(talk.dropped, []);
    }
}

#[test]
fn the_wait_is_bounded_and_its_end_is_an_error_of_its_own() {
    let mut talk = Talk::new(&world(), config(2), 10);
    talk.heights(&[17, 18]);
    let error = talk.error("eth_getBalance", &json!([ALICE, "latest"]));
    assert_eq!((&error, error.code()), (&ReadError::Lagging { number: 20, newest: 18 }, -32002));
    assert!(talk.now > Duration::from_secs(3) && talk.now < Duration::from_secs(6));
    assert!(talk.count("eth_getProof") < 30, "{}", talk.count("eth_getProof"));
    // An unreachable endpoint does not count as lagging.
    talk.manners(&[Manner::Gone]);
    let error = talk.error("eth_getBalance", &json!([ALICE, "latest"]));
    let text = error.to_string();
    assert!(matches!(error, ReadError::Failed { .. }) && text.contains("newest block is 18"));
}

#[test]
fn a_read_is_answered_at_the_newest_block_that_an_endpoint_has() {
    for (heights, at) in [([17, 18], 18), ([20, 3], 20), ([17, 0], 17)] {
        let mut talk = Talk::new(&world(), newest(3), 10);
        talk.heights(&heights);
        let (result, id, _) = talk.ask("eth_getBalance", &json!([ALICE, "latest"]));
        assert_eq!((result, id), (balance_at(at), Some(talk.world.id(at))), "{heights:?}");
        assert!(talk.now < Duration::from_millis(500), "it does not wait");
    }
    let mut talk = Talk::new(&world(), newest(3), 10);
    talk.heights(&[16, 15]);
    let error = talk.error("eth_getBalance", &json!([ALICE, "latest"]));
    assert_eq!(error, ReadError::Lagging { number: 20, newest: 16 });
    // Older blocks are proved by the state of a block that an endpoint has.
    talk.heights(&[18, 17]);
    let (result, id, _) = talk.ask("eth_getBalance", &json!([ALICE, "0x2"]));
    assert_eq!((result, id), (balance_at(2), Some(talk.world.id(2))));
}

#[test]
fn a_read_of_one_block_never_moves_to_another() {
    let mut talk = Talk::new(&world(), newest(5), 10);
    talk.heights(&[18, 18]);
    let error = talk.error("eth_getBalance", &json!([ALICE, "0x14"]));
    assert_eq!(error, ReadError::Lagging { number: 20, newest: 18 });
    let hash = talk.world.id(20).hash;
    let read = talk.begin("eth_getBalance", &json!([ALICE, hash]));
    for _ in 0..8 {
        talk.step();
    }
    talk.heights(&[18, 20]);
    assert_eq!(talk.wait(read).0, balance_at(20));
}

#[test]
fn an_endpoint_that_refuses_although_it_has_the_block_is_not_asked_again_and_again() {
    let mut talk = Talk::new(&world(), config(1), 10);
    talk.manners(&[Manner::Lies(Rc::new(|method, answer| match method {
        "eth_getProof" => Value::Null,
        _ => answer,
    }))]);
    let error = talk.error("eth_getBalance", &json!([ALICE, "latest"]));
    assert!(error.to_string().contains("it does not have the block"), "{error}");
    assert_eq!((talk.count("eth_getProof"), talk.count("eth_blockNumber")), (2, 1));
    assert_eq!(talk.dropped, []);
}

#[test]
fn an_endpoint_that_lags_is_asked_again_though_another_one_was_dropped_meanwhile() {
    let mut talk = Talk::new(&world(), config(2), 10);
    talk.heights(&[19, 19]);
    let read = talk.begin("eth_getBalance", &json!([ALICE, "latest"]));
    while !talk.waiting.is_empty() {
        assert!(talk.step());
    }
    let lie = |_: &str, mut told: Value| {
        told["balance"] = json!("0x1");
        told
    };
    talk.manners(&[Manner::Lies(Rc::new(lie)), Manner::Silent]);
    let other = talk.begin("eth_getBalance", &json!([ALICE, "0x13"]));
    while talk.dropped.is_empty() {
        assert!(talk.step());
    }
    talk.manners(&[Manner::True, Manner::True]);
    talk.heights(&[19, 20]);
    assert_eq!(talk.wait(other).0, balance_at(19));
    assert_eq!(talk.wait(read).0, balance_at(20));
    assert!(talk.now < Duration::from_secs(3), "{:?}", talk.now);
}
