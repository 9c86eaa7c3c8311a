//! The trouble list in words for a page: what is wrong, and what a page or its visitor can do.
//!
//! The core's own remedies name options of the command line, which a page does not have, and take
//! more bytes than a page's. A page has no kinds that only a node can have. JSON-RPC endpoints are
//! a kind of this shell alone: see [`Endpoints`](crate::endpoints::Endpoints).

use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{ScheduleDoubt, ScheduleRule};
use opp2p_core::node::UnknownFork;
use opp2p_core::trouble::{Trouble, TroubleEntry};
use serde::Serialize;
use std::time::Duration;

/// The kind of the trouble of JSON-RPC endpoints.
pub(crate) const RPC: &str = "rpc";
const RPC_REMEDY: &str =
    "check the URLs in `rpc`, and that they allow this page (CORS); they are tried again";

/// An entry of the trouble list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TroubleJs {
    pub(crate) kind: &'static str,
    /// What is wrong, as one sentence without a full stop.
    pub(crate) text: String,
    /// What to do, as one clause without a full stop.
    pub(crate) remedy: &'static str,
    /// Time of the first sign, in seconds since 1970.
    pub(crate) since: u64,
    /// Time at which the cause was last seen, in seconds since 1970.
    pub(crate) last: u64,
}

impl TroubleJs {
    pub(crate) fn new(entry: &TroubleEntry) -> Self {
        let TroubleEntry { trouble, since, last } = entry;
        Self {
            kind: trouble.kind().name(),
            text: text(trouble),
            remedy: remedy(trouble),
            since: *since,
            last: *last,
        }
    }

    /// Returns the entry of JSON-RPC endpoints that give no answers.
    pub(crate) const fn rpc(text: String, since: u64, last: u64) -> Self {
        Self { kind: RPC, text, remedy: RPC_REMEDY, since, last }
    }
}

/// Returns what is wrong.
fn text(trouble: &Trouble) -> String {
    match trouble {
        Trouble::SignerUnknown => {
            "The address that signs this chain's blocks is not known, so every block is ignored"
                .into()
        }
        Trouble::SignerWrong { expected, found, blocks } => {
            let count = counted(*blocks, "block is", "blocks are");
            match found {
                Some(found) => format!("{count} signed by {found}, and not by {expected}"),
                None => format!("{count} signed by another key than {expected}"),
            }
        }
        Trouble::ScheduleInDoubt(doubt) => schedule(doubt),
        Trouble::UnknownFork(fork) => unknown_fork(fork),
        Trouble::NoPeers => "No gateway is connected, so no block arrives".into(),
        Trouble::NoMesh { peers, .. } => {
            let count = counted(*peers as u64, "gateway is", "gateways are");
            format!("{count} connected, but no gateway passes this chain's blocks on")
        }
        Trouble::NoBlocks { silence, .. } => format!("No block has arrived for {}", time(*silence)),
        Trouble::Gap { from, to, .. } if from == to => {
            format!("Block {from} is missing, and no gateway has provided it yet")
        }
        Trouble::Gap { from, to, .. } => {
            format!("Blocks {from} to {to} are missing, and no gateway has provided them yet")
        }
        Trouble::OffBranch { head, highest, .. } => format!(
            "The sequencer signed blocks up to {highest} that are not known to build on {}",
            shown(*head)
        ),
        Trouble::TwoSequencers { head, highest } => format!(
            "The sequencer's key signs two branches at once: this page stays on {}, and the other \
             branch is at {highest}",
            shown(*head)
        ),
        Trouble::Clock { ahead_ms } => {
            let size = time(Duration::from_millis(ahead_ms.unsigned_abs()));
            let side = if *ahead_ms < 0 { "behind" } else { "ahead" };
            format!(
                "The clock of this device is {size} {side}, judged by the blocks that the \
                 sequencer signed"
            )
        }
        Trouble::Refused { reason, refused, of } => {
            format!("{refused} of the last {of} messages were refused: {reason}")
        }
        // Only a node stores, signs, executes or reads L1.
        other => format!("This observer has the trouble {}", other.kind()),
    }
}

/// Returns what a page or its visitor can do.
fn remedy(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::SignerUnknown => {
            "wait until the gateway knows it, or give the address as `signer`"
        }
        Trouble::SignerWrong { .. } => {
            "give the chain's current signer as `signer`, unless these gateways lie"
        }
        Trouble::ScheduleInDoubt(doubt) => match doubt.rule {
            ScheduleRule::BaseTimeSource => "install a newer version of opp2p",
            _ => {
                "give the chain's current rollup.json as `network`, or install a newer version of \
                 opp2p"
            }
        },
        Trouble::UnknownFork(_) => "install a newer version of opp2p",
        Trouble::NoPeers => {
            "check this device's network and the gateways' addresses; they are dialled again"
        }
        Trouble::NoMesh { .. } => "wait a minute, then give other gateways of this chain",
        Trouble::NoBlocks { .. } => {
            "give more gateways; if they have no blocks either, the sequencer has stopped"
        }
        Trouble::Gap { .. } => "give more gateways, or JSON-RPC endpoints of the chain as `rpc`",
        Trouble::OffBranch { .. } => {
            "wait for the missing blocks; if this lasts, give more gateways, or JSON-RPC endpoints \
             as `rpc`"
        }
        Trouble::TwoSequencers { .. } => {
            "do not rely on the head before the chain's operator has stopped one of them"
        }
        Trouble::Clock { .. } => "have this device set its clock by the network",
        Trouble::Refused { .. } => "check `network`, and compare with another gateway",
        _ => "reload the page",
    }
}

fn schedule(doubt: &ScheduleDoubt) -> String {
    let ScheduleDoubt { rule, fork, activation, blocks, .. } = doubt;
    let count = if *blocks == 1 {
        "A block that the sequencer signed breaks".to_owned()
    } else {
        format!("{blocks} blocks that the sequencer signed break")
    };
    let has = match activation {
        Some(time) => format!("has {fork} at {time}"),
        None => format!("lacks {fork}"),
    };
    format!("{count} the rule {} of the fork schedule, which {has}", rule.name())
}

fn unknown_fork(fork: &UnknownFork) -> String {
    let UnknownFork { name, time, is_active } = fork;
    let name = name.strip_suffix("_time").unwrap_or(name).escape_debug();
    let activates = if *is_active { "active since" } else { "which activates at" };
    format!(
        "The chain has the fork {name}, {activates} {time}, and this version does not know it: \
         from then on blocks may be refused or misjudged"
    )
}

fn shown(head: Option<BlockId>) -> String {
    head.map_or_else(|| "the head".into(), |head| format!("block {head}"))
}

/// `1 block is`, `3 blocks are`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Returns a time in words, such as `1.5 s`, `40 s` or `12 min`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};
    use opp2p_core::chain::Fork;
    use opp2p_core::gossip::Reason;
    use opp2p_core::payload::PayloadVersion;
    use opp2p_core::trouble::TroubleKind;
    use serde_json::json;

    fn id(number: u64) -> BlockId {
        BlockId::new(number, B256::repeat_byte(7))
    }

    fn doubt() -> ScheduleDoubt {
        ScheduleDoubt {
            rule: ScheduleRule::BlobGas,
            fork: Fork::Jovian,
            activation: Some(1_777_600_000),
            since: 1_777_593_600,
            last: 1_777_593_661,
            blocks: 31,
        }
    }

    /// Every kind that a page can have.
    fn of_a_page() -> Vec<Trouble> {
        let (expected, head) = (Address::repeat_byte(1), Some(id(7)));
        vec![
            Trouble::SignerUnknown,
            Trouble::SignerWrong { expected, found: Some(Address::repeat_byte(2)), blocks: 3 },
            Trouble::SignerWrong { expected, found: None, blocks: 1 },
            Trouble::ScheduleInDoubt(doubt()),
            Trouble::ScheduleInDoubt(ScheduleDoubt { activation: None, blocks: 1, ..doubt() }),
            Trouble::UnknownFork(UnknownFork {
                name: "atlas_time".into(),
                time: 7,
                is_active: false,
            }),
            Trouble::NoPeers,
            Trouble::NoMesh { topic: PayloadVersion::V4, peers: 2 },
            Trouble::NoBlocks { head, silence: Duration::from_secs(90) },
            Trouble::Gap { from: 8, to: 9, servers: 0 },
            Trouble::Gap { from: 8, to: 8, servers: 1 },
            Trouble::OffBranch { head, highest: id(12), blocks: 4 },
            Trouble::TwoSequencers { head: None, highest: id(12) },
            Trouble::Clock { ahead_ms: -4500 },
            Trouble::Clock { ahead_ms: 3_600_000 },
            Trouble::Refused { reason: Reason::TooOld, refused: 9, of: 10 },
        ]
    }

    #[test]
    fn page_troubles_have_a_remedy_for_the_page_without_command_line_options() {
        for trouble in of_a_page() {
            let (text, remedy) = (text(&trouble), remedy(&trouble));
            for words in [text.as_str(), remedy] {
                let is_clause = !words.ends_with('.') && !words.contains('\n');
                assert!(is_clause && words.len() > 15 && !words.contains("--"), "{words}");
            }
            assert!(text.starts_with(|first: char| first.is_uppercase() || first.is_numeric()));
            assert!(remedy.starts_with(char::is_lowercase), "{remedy}");
        }
    }

    #[test]
    fn the_details_are_in_the_text() {
        let texts: Vec<String> = of_a_page().iter().map(text).collect();
        for part in [
            "3 blocks are signed by 0x0202020202020202020202020202020202020202, and not by 0x0101",
            "1 block is signed by another key than 0x0101",
            "31 blocks that the sequencer signed break the rule fork_blob_gas of the fork \
             schedule, which has jovian at 1777600000",
            "A block that the sequencer signed breaks the rule fork_blob_gas of the fork schedule, \
             which lacks jovian",
            "the fork atlas, which activates at 7,",
            "2 gateways are connected",
            "for 90 s",
            "Blocks 8 to 9 are missing",
            "Block 8 is missing",
            "4.5 s behind",
            "60 min ahead",
            "9 of the last 10 messages",
        ] {
            assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:#?}");
        }
    }

    #[test]
    fn an_entry_has_the_fields_of_the_interface() {
        let entry = TroubleEntry { trouble: Trouble::NoPeers, since: 5, last: 9 };
        let told = serde_json::to_value(TroubleJs::new(&entry)).unwrap();
        assert_eq!(
            told,
            json!({
                "kind": "no_peers",
                "text": "No gateway is connected, so no block arrives",
                "remedy": "check this device's network and the gateways' addresses; they are \
                           dialled again",
                "since": 5,
                "last": 9,
            })
        );
        // The shell's own kind is none of the core's.
        assert!(TroubleKind::ALL.iter().all(|kind| kind.name() != RPC));
    }

    #[test]
    fn troubles_that_only_a_node_has_are_named() {
        let trouble = Trouble::Engine("refused".into());
        assert_eq!(text(&trouble), "This observer has the trouble engine");
        assert_eq!(remedy(&trouble), "reload the page");
    }
}
