//! The trouble lists of the nodes: a run without faults raises nothing, and each fault raises the
//! matching trouble, which ends after the fault.

use super::chain::Pace;
use super::plan::{Fault, Plan};
use super::world::World;
use opp2p_core::trouble::TroubleKind;
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000_000;

/// Returns the kinds of trouble that a node has now.
fn troubles(world: &World, node: usize) -> BTreeSet<TroubleKind> {
    let node = world.members[node].node.as_ref();
    node.into_iter().flat_map(opp2p_core::node::Node::trouble_kinds).collect()
}

/// Runs for some seconds. Returns the kinds of trouble that each node had in this time.
fn watch(world: &mut World, seconds: u64) -> Vec<BTreeSet<TroubleKind>> {
    let until = world.now + seconds * SECOND;
    let mut seen = vec![BTreeSet::new(); world.plan.honest];
    while world.now < until {
        world.step();
        for (node, seen) in seen.iter_mut().enumerate() {
            seen.extend(troubles(world, node));
        }
    }
    seen
}

/// Runs a plan without faults up to its last block, and checks that no node has a trouble.
pub(crate) fn assert_no_trouble(world: &mut World) {
    let seconds = world.plan.blocks * world.plan.pace.interval() / 1000;
    for (node, seen) in watch(world, seconds).into_iter().enumerate() {
        assert!(seen.is_empty(), "node {node} has {seen:?} in a run without faults");
    }
}

fn assert_none(world: &World) {
    for node in 0..world.plan.honest {
        let left = troubles(world, node);
        assert!(left.is_empty(), "node {node} still has {left:?}: {}", world.state());
    }
}

pub(crate) fn an_hour_without_faults_raises_no_trouble() {
    for pace in [Pace::Slow, Pace::Denim] {
        let mut plan = Plan { pace, view: pace.view(), ..Plan::calm(31, 3) };
        plan.blocks = 3_600_000 / pace.interval();
        if pace == Pace::Denim {
            // Ten minutes have as many blocks as an hour and a half of the other chain.
            plan.blocks /= 6;
        }
        assert_no_trouble(&mut World::new(plan));
    }
}

pub(crate) fn a_node_that_is_cut_off_reports_no_peers_and_no_blocks() {
    let mut plan = Plan::calm(32, 3);
    plan.faults = vec![(20_000, Fault::Partition { nodes: vec![2], milliseconds: 60_000 })];
    let mut world = World::new(plan);
    let seen = watch(&mut world, 80);
    assert_eq!((seen[0].len(), seen[1].len()), (0, 0), "the others go on: {seen:?}");
    assert_eq!(seen[2], BTreeSet::from([TroubleKind::NoPeers, TroubleKind::NoBlocks]));
    watch(&mut world, 30);
    assert_none(&world);
}

pub(crate) fn a_silent_source_is_reported_by_all_its_followers() {
    let mut plan = Plan::calm(33, 3);
    // Blocks reach the others through the first node only.
    let crash = Fault::Crash { node: 0, milliseconds: 40_000, keeps_disk: true };
    plan.faults = vec![(20_000, crash)];
    let mut world = World::new(plan);
    let seen = watch(&mut world, 58);
    for node in [1, 2] {
        assert_eq!(seen[node], BTreeSet::from([TroubleKind::NoBlocks]), "node {node}");
    }
    watch(&mut world, 60);
    // The blocks that the first node missed while it was down are a gap for all of them.
    for node in 0..3 {
        let left = troubles(&world, node);
        assert!(!left.contains(&TroubleKind::NoBlocks), "node {node} still has {left:?}");
    }
}

pub(crate) fn a_gap_that_no_peer_fills_is_reported_until_one_does() {
    let mut plan = Plan::calm(34, 3);
    plan.gone = vec![12, 13];
    let mut world = World::new(plan);
    let seen = watch(&mut world, 70);
    for node in [1, 2] {
        assert_eq!(seen[node], BTreeSet::from([TroubleKind::Gap]), "node {node}");
    }
    world.plan.gone.clear();
    watch(&mut world, 300);
    assert_none(&world);
}

pub(crate) fn a_reorg_leaves_no_trouble() {
    let mut plan = Plan::calm(35, 3);
    plan.faults = vec![(20_000, Fault::Reorg { depth: 3 })];
    let mut world = World::new(plan);
    let seen = watch(&mut world, 60);
    for seen in seen {
        assert!(seen.iter().all(|kind| *kind == TroubleKind::OffBranch), "{seen:?}");
    }
    watch(&mut world, 60);
    assert_none(&world);
}
