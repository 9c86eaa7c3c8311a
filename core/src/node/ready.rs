//! Readiness of the node, by its role.

use super::Node;
use crate::chain::BlockId;
use crate::time::Now;
use crate::trouble::{Role, Span, Trouble, TroubleKind};
use std::fmt;
use std::time::Duration;

/// Minimum age of a head that is too old.
pub const OLDEST_HEAD: Duration = Duration::from_secs(60);
/// The same, in block intervals.
pub const HEAD_INTERVALS: u32 = 10;

/// A reason why a node is not ready. The display text is one sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// No block has arrived yet.
    NoHead,
    /// The head is too old.
    OldHead {
        /// The head.
        head: BlockId,
        /// Its age.
        age: Duration,
        /// The maximum age.
        limit: Duration,
    },
    /// No peer other than browsers is connected.
    NoPeer,
    /// A gateway has no mesh to relay blocks from.
    NoMesh,
    /// A sequencer's node has no signer.
    NoSigner,
    /// A trouble stands in the way.
    Trouble(Trouble),
}

impl NotReady {
    /// Returns a short name for metrics and JSON: lower case, words joined by `_`; for a trouble,
    /// the name of its kind.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoHead => "no_head",
            Self::OldHead { .. } => "old_head",
            Self::NoPeer => "no_peer",
            Self::NoMesh => "no_mesh",
            Self::NoSigner => "no_signer",
            Self::Trouble(trouble) => trouble.kind().name(),
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHead => f.write_str("No block has arrived yet"),
            Self::OldHead { head, age, limit } => {
                let (age, limit) = (Span(*age), Span(*limit));
                write!(f, "The head {head} is {age} old, and {limit} are allowed")
            }
            Self::NoPeer => f.write_str("No peer is connected"),
            Self::NoMesh => f.write_str("No peer is in the mesh of the chain's block topic"),
            Self::NoSigner => f.write_str("The node has no p2p signer"),
            Self::Trouble(trouble) => write!(f, "{trouble}"),
        }
    }
}

/// Returns `true` if a trouble of this kind stops a node of this role from doing its work.
const fn blocks(role: Role, kind: TroubleKind) -> bool {
    match kind {
        TroubleKind::Store | TroubleKind::PartLost => true,
        TroubleKind::SignerUnknown | TroubleKind::SignerWrong => !matches!(role, Role::Sequencer),
        TroubleKind::Engine => matches!(role, Role::EngineFollower),
        TroubleKind::Signing => matches!(role, Role::Sequencer),
        _ => false,
    }
}

impl Node {
    /// Returns the reasons why the node is not ready for its [`Role`], worst first, or nothing if
    /// it is ready.
    pub fn not_ready(&self, now: Now) -> Vec<NotReady> {
        let role = self.role();
        let mut reasons = Vec::new();
        if role == Role::Sequencer {
            reasons.extend((!self.can_sign).then_some(NotReady::NoSigner));
        } else {
            reasons.extend(self.head_fault(now));
            reasons.extend((self.peers.nodes() == 0).then_some(NotReady::NoPeer));
        }
        if role == Role::Gateway {
            let topic = self.topic_in_use(now);
            let peers = self.troubles.mesh.map_or(0, |mesh| mesh[topic.index()]);
            reasons.extend((peers == 0).then_some(NotReady::NoMesh));
        }
        // An unknown signer is a trouble only after a while, but the node is not ready at once.
        let is_unknown = self.signers().current.is_none();
        if is_unknown && blocks(role, TroubleKind::SignerUnknown) {
            reasons.push(NotReady::Trouble(Trouble::SignerUnknown));
        }
        let blocking = self.troubles.raised().filter(|trouble| {
            trouble.kind() != TroubleKind::SignerUnknown && blocks(role, trouble.kind())
        });
        reasons.extend(blocking.cloned().map(NotReady::Trouble));
        reasons
    }

    fn head_fault(&self, now: Now) -> Option<NotReady> {
        let Some(head) = self.view.head() else { return Some(NotReady::NoHead) };
        let held = self.view.canonical(head.number).map(crate::payload::Block::timestamp);
        let timestamp = held.or_else(|| self.chain.timestamp_of(head.number))?;
        let age = now.unix.saturating_sub(Duration::from_secs(timestamp));
        let limit = OLDEST_HEAD.max(self.chain.interval_at(now.unix) * HEAD_INTERVALS);
        (age > limit).then_some(NotReady::OldHead { head, age, limit })
    }
}
