//! The sentences about each trouble.

use super::{MAX_TEXT, Trouble, TroubleKind};
use crate::chain::BlockId;
use crate::gossip::Reason;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Returns a text from outside in the form that a [`Trouble`] keeps: one line of at most
/// [`MAX_TEXT`] bytes.
pub fn cut(text: &str) -> String {
    let mut line: String = text
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_TEXT)
        .collect();
    while line.len() > MAX_TEXT {
        line.pop();
    }
    line
}

impl Trouble {
    /// Returns the kind of the trouble.
    pub const fn kind(&self) -> TroubleKind {
        match self {
            Self::SignerUnknown => TroubleKind::SignerUnknown,
            Self::SignerWrong { .. } => TroubleKind::SignerWrong,
            Self::ScheduleInDoubt(_) => TroubleKind::ScheduleInDoubt,
            Self::UnknownFork(_) => TroubleKind::UnknownFork,
            Self::NoPeers => TroubleKind::NoPeers,
            Self::NoMesh { .. } => TroubleKind::NoMesh,
            Self::NoBlocks { .. } => TroubleKind::NoBlocks,
            Self::Gap { .. } => TroubleKind::Gap,
            Self::OffBranch { .. } => TroubleKind::OffBranch,
            Self::TwoSequencers { .. } => TroubleKind::TwoSequencers,
            Self::Store(_) => TroubleKind::Store,
            Self::PeerStore(_) => TroubleKind::PeerStore,
            Self::StoreDamaged(_) => TroubleKind::StoreDamaged,
            Self::KeyFile(_) => TroubleKind::KeyFile,
            Self::Engine(_) => TroubleKind::Engine,
            Self::Labels(_) => TroubleKind::Labels,
            Self::Signing(_) => TroubleKind::Signing,
            Self::Publishing(_) => TroubleKind::Publishing,
            Self::L1(_) => TroubleKind::L1,
            Self::Feed(_) => TroubleKind::Feed,
            Self::Proofs(_) => TroubleKind::Proofs,
            Self::Certificate(_) => TroubleKind::Certificate,
            Self::Clock { .. } => TroubleKind::Clock,
            Self::KeyInUse(_) => TroubleKind::KeyInUse,
            Self::Refused { .. } => TroubleKind::Refused,
            Self::PartLost(_) => TroubleKind::PartLost,
            Self::Panicked(_) => TroubleKind::Panicked,
        }
    }

    /// Returns what the operator can do, as one clause without a full stop: the remedy of the kind,
    /// or a more exact one.
    pub fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::ScheduleInDoubt(doubt) => doubt.remedy().into(),
            Self::Refused { reason: Reason::HashInDoubt, .. } => "install a newer version".into(),
            _ => self.kind().remedy().into(),
        }
    }

    /// Writes what is wrong, with its details.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = self.kind().meaning();
        match self {
            Self::SignerUnknown | Self::NoPeers => f.write_str(meaning),
            Self::SignerWrong { expected, found, blocks } => {
                write!(f, "{} signed by another key", counted(*blocks, "block is", "blocks are"))?;
                if let Some(found) = found {
                    write!(f, " ({found})")?;
                }
                write!(f, " than the unsafe-block signer that this node expects ({expected})")
            }
            // Its own text is complete.
            Self::ScheduleInDoubt(doubt) => write!(f, "{doubt}"),
            Self::UnknownFork(fork) => {
                let is_or_will = if fork.is_active { "is active since" } else { "activates at" };
                write!(
                    f,
                    "This version does not know a fork of the configuration, {}, ",
                    fork.name
                )?;
                write!(f, "which {is_or_will} {} (Unix seconds)", fork.time)
            }
            Self::NoMesh { topic, peers } => {
                let peers = counted(*peers as u64, "peer is", "peers are");
                write!(f, "{peers} connected, but none is in the mesh of the {topic} block topic")
            }
            Self::NoBlocks { head, silence } => {
                let silence = Span(*silence);
                write!(f, "No new block has arrived for {silence} ({})", Head(*head))
            }
            Self::Gap { from, to, servers } => {
                let sources = counted(*servers as u64, "source serves", "sources serve");
                match from == to {
                    true => write!(f, "Block {from} is missing")?,
                    false => write!(f, "Blocks {from} to {to} are missing")?,
                }
                write!(f, " below the newest signed block, and {sources} blocks")
            }
            Self::OffBranch { head, highest, blocks } => {
                let blocks = counted(*blocks, "block", "blocks");
                write!(f, "The sequencer signed {blocks} up to {highest} on another branch than ")?;
                write!(f, "the one that is shown ({})", Head(*head))
            }
            Self::TwoSequencers { head, highest } => {
                let head = Head(*head);
                write!(f, "{meaning}, one up to {highest} beside the one that is shown ({head})")
            }
            Self::Clock { ahead_ms } => {
                let side = if *ahead_ms < 0 { "behind" } else { "ahead of" };
                let off = Span(Duration::from_millis(ahead_ms.unsigned_abs()));
                write!(f, "The clock of this machine is {off} {side} the sequencer's blocks")
            }
            Self::KeyInUse(address) => write!(f, "{meaning}, at {address}"),
            Self::Refused { reason, refused, of } => {
                let of = counted(*of, "block that arrived", "blocks that arrived");
                write!(f, "{refused} of {of} lately were refused, mostly because {reason}")
            }
            Self::Panicked(panics) => {
                let times = counted(*panics, "time", "times");
                write!(f, "A part of this program panicked {times}, and the panic was contained")
            }
            Self::Store(detail)
            | Self::PeerStore(detail)
            | Self::StoreDamaged(detail)
            | Self::KeyFile(detail)
            | Self::Engine(detail)
            | Self::Labels(detail)
            | Self::Signing(detail)
            | Self::Publishing(detail)
            | Self::L1(detail)
            | Self::Feed(detail)
            | Self::Proofs(detail)
            | Self::Certificate(detail)
            | Self::PartLost(detail) => write!(f, "{meaning} ({detail})"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)?;
        match self {
            Self::ScheduleInDoubt(_) => Ok(()),
            _ => write!(f, ": {}", self.remedy()),
        }
    }
}

/// Returns a number with its noun.
fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A head for display, as one clause.
struct Head(Option<BlockId>);

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(head) => write!(f, "the head is {head}"),
            None => f.write_str("there is no head yet"),
        }
    }
}

/// A time for display, in one unit.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..180 => write!(f, "{seconds} s"),
            180..10_800 => write!(f, "{} min", seconds / 60),
            10_800..172_800 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::UnknownFork;
    use crate::payload::PayloadVersion;
    use alloy_primitives::{Address, B256};

    fn examples() -> Vec<Trouble> {
        let head = Some(BlockId::new(7, B256::repeat_byte(1)));
        let highest = BlockId::new(9, B256::repeat_byte(2));
        let name = "interop_time".to_owned();
        let text = || "no space left on device".to_owned();
        vec![
            Trouble::SignerUnknown,
            Trouble::SignerWrong {
                expected: Address::repeat_byte(1),
                found: Some(Address::repeat_byte(2)),
                blocks: 1,
            },
            Trouble::UnknownFork(UnknownFork { name, time: 1_800_000_000, is_active: false }),
            Trouble::NoPeers,
            Trouble::NoMesh { topic: PayloadVersion::V4, peers: 3 },
            Trouble::NoBlocks { head, silence: Duration::from_secs(35) },
            Trouble::NoBlocks { head: None, silence: Duration::from_secs(35) },
            Trouble::Gap { from: 5, to: 8, servers: 0 },
            Trouble::OffBranch { head, highest, blocks: 2 },
            Trouble::TwoSequencers { head, highest },
            Trouble::Store(text()),
            Trouble::PeerStore(text()),
            Trouble::StoreDamaged(text()),
            Trouble::KeyFile(text()),
            Trouble::Engine(text()),
            Trouble::Labels(text()),
            Trouble::Signing(text()),
            Trouble::Publishing(text()),
            Trouble::L1(text()),
            Trouble::Feed(text()),
            Trouble::Proofs(text()),
            Trouble::Certificate(text()),
            Trouble::Clock { ahead_ms: -120_000 },
            Trouble::KeyInUse("/ip4/1.2.3.4/tcp/9222".to_owned()),
            Trouble::Refused { reason: Reason::Payload, refused: 30, of: 40 },
            Trouble::PartLost("rpc".to_owned()),
            Trouble::Panicked(1),
        ]
    }

    #[test]
    fn each_sentence_names_the_problem_and_the_remedy() {
        for trouble in examples() {
            let text = trouble.to_string();
            let (what, _) = text.split_once(&format!(": {}", trouble.remedy())).expect("a remedy");
            assert!(what.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()), "{text}");
            assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn details_are_part_of_the_sentence() {
        let texts: Vec<String> = examples().iter().map(Trouble::to_string).collect();
        for part in [
            "1 block is signed by another key (0x0202020202020202020202020202020202020202)",
            "interop_time, which activates at 1800000000",
            "3 peers are connected, but none is in the mesh of the v4 block topic",
            "No new block has arrived for 35 s (the head is 7 (",
            "Blocks 5 to 8 are missing below the newest signed block, and 0 sources serve blocks",
            "Blocks are not stored (no space left on device): make room",
            "is 120 s behind the sequencer's blocks",
            "30 of 40 blocks that arrived lately were refused, mostly because the payload",
        ] {
            assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:#?}");
        }
    }

    #[test]
    fn external_texts_become_one_short_line() {
        assert_eq!(cut(" one\nline\u{1b}[31m "), "one line [31m");
        assert_eq!(cut(&"ü".repeat(1000)).len(), MAX_TEXT);
        assert_eq!(cut(&"x".repeat(1000)).len(), MAX_TEXT);
    }

    #[test]
    fn a_duration_is_shown_in_one_unit() {
        for (seconds, text) in
            [(5, "5.0 s"), (35, "35 s"), (300, "5 min"), (10_800, "3 h"), (864_000, "10 days")]
        {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
