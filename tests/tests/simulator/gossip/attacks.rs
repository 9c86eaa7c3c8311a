//! The runs: peace, and the attacks of the gossipsub 1.1 evaluation (PL-TechRep-2020-001) at our
//! scale.
//!
//! In none of them may an attack keep more than one in a thousand deliveries from the honest
//! nodes, or make an honest node ban, or blame, another honest one. For one run, the limit is
//! higher, because its attack has some success.

use super::plan::{Plan, Target, Trick};
use super::{MS, SECOND};
use opp2p_core::mesh::send::MAX_HOLD;

/// A named run, given the numbers of nodes, blocks, and sybils for each node.
pub(crate) type Scene = fn(u32, u32, u32) -> Plan;

/// Names of the runs. The names of attacks begin with `gossip_attack`.
pub(crate) const ALL: [(&str, Scene); 13] = [
    ("gossip_peace", |nodes, blocks, _| Plan::peace(nodes, blocks)),
    ("gossip_attack_eclipse_of_a_node", |n, b, s| eclipse(n, b, s, 1)),
    ("gossip_attack_eclipse_of_the_publisher", |n, b, s| eclipse(n, b, s, 0)),
    ("gossip_attack_cold_boot", cold_boot),
    ("gossip_attack_covert_flash", covert_flash),
    ("gossip_attack_at_dawn", dawn),
    ("gossip_attack_censoring", |n, b, s| besieged(n, b, s, Trick::Censor)),
    ("gossip_attack_broken_promises", |n, b, s| besieged(n, b, s, Trick::Promises)),
    ("gossip_attack_promises_at_dawn", promises_at_dawn),
    ("gossip_attack_graft_flood", |n, b, s| besieged(n, b, s, Trick::Grafts)),
    ("gossip_attack_control_flood", |n, b, s| Plan {
        reach: 8,
        ..besieged(n, b, s, Trick::Control)
    }),
    ("gossip_attack_false_notices", false_notices),
    ("gossip_attack_churn", churn),
];

/// Sybils come from all sides after the network has formed, and are dialled by honest nodes too.
fn besieged(nodes: u32, blocks: u32, each: u32, trick: Trick) -> Plan {
    Plan {
        sybils: nodes * each,
        interval: SECOND,
        lured: 4,
        trick,
        attack: 20 * SECOND,
        may_lose: 10,
        ..Plan::peace(nodes, blocks)
    }
}

/// All sybils connect to one node, and pass nothing on.
fn eclipse(nodes: u32, blocks: u32, each: u32, victim: u32) -> Plan {
    Plan { target: Target::One(victim), ..besieged(nodes, blocks, each, Trick::Silence) }
}

/// Everybody starts at the same time, sybils as well, and blocks come at once.
fn cold_boot(nodes: u32, blocks: u32, each: u32) -> Plan {
    Plan {
        start: 500 * MS,
        attack: 0,
        first: 2 * SECOND,
        ..besieged(nodes, blocks, each, Trick::Silence)
    }
}

/// Sybils relay, faster than honest nodes, until they stop in the same moment: half the run.
fn covert_flash(nodes: u32, blocks: u32, each: u32) -> Plan {
    let plan = besieged(nodes, blocks, each, Trick::Silence);
    let flash = plan.first + u64::from(blocks) * plan.interval / 2;
    Plan { trick: Trick::Flash(flash), ..plan }
}

/// Sybils are there first: a node meets honest ones ten seconds after its start.
fn dawn(nodes: u32, blocks: u32, each: u32) -> Plan {
    Plan {
        start: 2 * SECOND,
        lateness: 10 * SECOND,
        attack: 0,
        first: 15 * SECOND,
        ..besieged(nodes, blocks, each, Trick::Silence)
    }
}

/// As at dawn, but sybils advertise what they don't deliver.
///
/// It keeps blocks from nodes whose whole mesh is sybils, until their promises are overdue: peers
/// are asked one after another, half a second apart, and honest ones advertise a message for one
/// and a half seconds. Such a node has to fetch the block by its number, which a router does not
/// do.
fn promises_at_dawn(nodes: u32, blocks: u32, each: u32) -> Plan {
    Plan { trick: Trick::Promises, may_lose: 150, ..dawn(nodes, blocks, each) }
}

/// Sybils announce large blocks that they don't send, so that honest nodes hold theirs back.
///
/// A copy is held back for a second at most, and once, whatever sybils say. So the attack may delay
/// blocks by that time, and must not keep any from a node.
fn false_notices(nodes: u32, blocks: u32, each: u32) -> Plan {
    let within = Some(MAX_HOLD.as_nanos() as u64 + SECOND / 2);
    Plan { large: 2, within, ..besieged(nodes, blocks, each, Trick::Notices) }
}

/// Honest nodes restart all the time, beside silent sybils.
fn churn(nodes: u32, blocks: u32, each: u32) -> Plan {
    let churn = Some(60 * SECOND / u64::from(nodes));
    Plan { churn, ..besieged(nodes, blocks, each, Trick::Silence) }
}
