//! Choice of the method to call, and of the next one if the engine refuses it.

use super::*;
use crate::engine::methods::{
    build_methods, forkchoice_methods, get_payload_methods, new_payload_methods,
};
use crate::payload::PayloadVersion;

fn l1() -> DevelopmentL1 {
    let origin = BlockId::new(7, B256::repeat_byte(0x71));
    DevelopmentL1 { origin, timestamp: NOW - 5000, batcher: Default::default() }
}

fn karst() -> ChainConfig {
    ChainConfig { forks: ForkSchedule::up_to(Fork::Karst), ..world::chain() }
}

#[test]
fn each_fork_has_its_methods() {
    let base = |fork| ForkSchedule::up_to(Fork::Jovian).with(fork, Some(0));
    for (forks, new, build, get) in [
        (ForkSchedule::default(), "V2", "V1", "V2"),
        (ForkSchedule::up_to(Fork::Canyon), "V2", "V2", "V2"),
        (ForkSchedule::up_to(Fork::Ecotone), "V3", "V3", "V3"),
        (ForkSchedule::up_to(Fork::Isthmus), "V4", "V3", "V4"),
        (ForkSchedule::up_to(Fork::Jovian), "V4", "V3", "V4"),
        (ForkSchedule::up_to(Fork::Karst), "V4", "V3", "V5"),
        (ForkSchedule::up_to(Fork::Lagoon), "V4", "V3", "V5"),
        (base(Fork::Azul), "V4", "V3", "V5"),
        (base(Fork::Azul).with(Fork::Denim, Some(0)), "V4", "V3", "V5"),
    ] {
        let version = PayloadVersion::at(&forks, NOW);
        let named = |name: &str, number| format!("engine_{name}{number}");
        assert_eq!(new_payload_methods(version)[0], named("newPayload", new));
        assert_eq!(build_methods(&forks, NOW)[0], named("forkchoiceUpdated", build));
        assert_eq!(get_payload_methods(&forks, NOW)[0], named("getPayload", get));
    }
    assert_eq!(forkchoice_methods()[0], "engine_forkchoiceUpdatedV3");
}

#[test]
fn karst_payloads_are_fetched_by_v5_or_by_v4_if_v5_is_missing() {
    let listed = |methods: &[&str]| methods.iter().map(|&name| name.to_owned()).collect();
    let all = ["engine_newPayloadV4", "engine_getPayloadV4", "engine_getPayloadV5"];
    for (methods, other_fork, expected) in [
        (listed(&[]), vec![], "engine_getPayloadV5"),
        (listed(&all), vec![], "engine_getPayloadV5"),
        (listed(&all[..2]), vec![], "engine_getPayloadV4"),
        (listed(&all), vec!["engine_getPayloadV5"], "engine_getPayloadV4"),
        (listed(&[]), vec!["engine_getPayloadV5"], "engine_getPayloadV4"),
    ] {
        let mut world = World::on(karst(), Some(l1()));
        world.client.methods = methods;
        world.client.other_fork = other_fork.clone();
        world.wait(Duration::from_secs(200));
        assert!(world.published.len() > 100, "{}", world.published.len());
        world.assert_followed();
        let calls = world.take_calls();
        let get: Vec<_> = calls.iter().filter(|call| call.contains("getPayload")).collect();
        let others = get.iter().filter(|call| **call != expected).count();
        assert_eq!(others, other_fork.len(), "{get:?}");
        let failed = world
            .events
            .iter()
            .any(|event| matches!(event, EngineEvent::Failed(_) | EngineEvent::Mismatched(_)));
        assert!(!failed, "{:?}", world.events);
    }
}

/// Each refusal concerns the right method: the engine's clock or schedule is late.
#[test]
fn a_single_fork_refusal_neither_stops_feeding_nor_reports_a_mismatch() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    world.events.clear();
    let refusal = EngineFailure::OtherFork("Unsupported fork".into());
    world.client.broken = Some((Call::Offer, refusal.clone()));
    world.grow(1);
    world.client.broken = None;
    world.wait(FIRST_PAUSE * 2);
    world.assert_followed();
    assert_eq!(world.events[0], EngineEvent::Failed(refusal));
    let mismatched = world.events.iter().any(|event| matches!(event, EngineEvent::Mismatched(_)));
    assert!(!mismatched, "{:?}", world.events);
}

#[test]
fn refusals_of_every_payload_are_reported_once_and_retried() {
    let mut world = World::new();
    world.settle();
    world.grow(2);
    world.events.clear();
    let refusal = EngineFailure::OtherFork("Unsupported fork".into());
    world.client.broken = Some((Call::Offer, refusal.clone()));
    for _ in 0..300 {
        world.grow(1);
        world.wait(Duration::from_secs(2));
    }
    let mismatch = Mismatch::Forks("Unsupported fork".into());
    assert_eq!(world.events, [EngineEvent::Failed(refusal), EngineEvent::Mismatched(mismatch)]);
    let calls = world.take_calls();
    assert!(calls.len() <= 60, "{}", calls.len());
    world.client.broken = None;
    world.wait(MISMATCH_PAUSE);
    world.assert_followed();
}

#[test]
fn an_old_engine_gets_the_head_by_its_own_forkchoice_method() {
    let mut world = World::new();
    world.client.methods =
        ["engine_newPayloadV4", "engine_forkchoiceUpdatedV2"].map(str::to_owned).to_vec();
    world.settle();
    world.grow(2);
    world.assert_followed();
    let told = world.client.told.map(|told| told.method);
    assert_eq!(told, Some("engine_forkchoiceUpdatedV2"));
}

#[test]
fn an_upgraded_engine_is_called_by_the_newer_method() {
    let mut world = World::on(karst(), Some(l1()));
    world.client.methods = vec!["engine_newPayloadV4".into(), "engine_getPayloadV4".into()];
    world.wait(Duration::from_secs(120));
    world.client.methods.push("engine_getPayloadV5".into());
    world.wait(REFRESH * 2);
    world.take_calls();
    world.wait(Duration::from_secs(10));
    let calls = world.take_calls();
    assert!(calls.iter().any(|call| call == "engine_getPayloadV5"), "{calls:?}");
    assert!(!calls.iter().any(|call| call == "engine_getPayloadV4"), "{calls:?}");
}

#[test]
fn a_payload_is_offered_with_the_parameters_of_its_version() {
    use crate::engine::methods::NewPayloadParam::{BeaconRoot, BlobHashes, Payload, Requests};
    let params =
        crate::payload::PayloadVersion::ALL.map(crate::engine::methods::new_payload_params);
    assert_eq!(params[0], [Payload]);
    assert_eq!(params[1], [Payload]);
    assert_eq!(params[2], [Payload, BlobHashes, BeaconRoot]);
    assert_eq!(params[3], [Payload, BlobHashes, BeaconRoot, Requests]);
}
