//! The kinds of trouble: names, meanings, remedies, and the times that each must last.
//!
//! The times are those of the list. A kind whose time is zero here may still take its time: the
//! node counts blocks or waits for some block intervals before it sees the cause at all.

use std::fmt;
use std::time::Duration;

/// Defines [`TroubleKind`] from one table.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $raise:literal s, $clear:literal s:
        $meaning:literal; $remedy:literal;)*) => {
        /// A kind of trouble of the node itself, with its meaning and its remedy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum TroubleKind {
            $($(#[$doc])* $variant,)*
        }

        impl TroubleKind {
            /// All kinds, in the order of display.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the position in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the meaning, as one sentence without a full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// Returns what the operator can do, as one clause without a full stop.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }

            /// Returns the time for which the cause must last before the trouble is raised.
            pub const fn raise_after(self) -> Duration {
                match self { $(Self::$variant => Duration::from_secs($raise),)* }
            }

            /// Returns the time for which the cause must be gone before the trouble is cleared.
            pub const fn clear_after(self) -> Duration {
                match self { $(Self::$variant => Duration::from_secs($clear),)* }
            }
        }
    };
}

kinds! {
    /// No unsafe-block signer is known, so that every block is ignored.
    SignerUnknown = "signer_unknown", 5 s, 0 s:
        "The unsafe-block signer is unknown, so every block is ignored";
        "check that the L1 node answers, or set the signer's address";
    /// Blocks arrive that another key signed: the configured signer is wrong or stale.
    SignerWrong = "signer_wrong", 0 s, 10 s:
        "Blocks are signed by another key than the unsafe-block signer that this node expects";
        "set the present signer, or an L1 node from which this node reads it";
    /// Signed blocks break the fork schedule.
    ScheduleInDoubt = "schedule_in_doubt", 0 s, 0 s:
        "Blocks that the sequencer signed break this node's fork schedule";
        "correct the fork times of the configuration, or install a newer version";
    /// The configuration has a fork that this version does not know, and it is active or will be
    /// within a week.
    UnknownFork = "unknown_fork", 0 s, 0 s:
        "The configuration has a fork that this version does not know";
        "install a newer version";
    /// No peer other than browsers is connected.
    NoPeers = "no_peers", 30 s, 5 s:
        "No peer is connected, so no block arrives or leaves by gossip";
        "check the network, the firewall for the p2p port, and the boot nodes or static peers";
    /// Peers are connected, but none is in the mesh of the topic on which blocks come.
    NoMesh = "no_mesh", 60 s, 10 s:
        "Peers are connected, but none of them is in the mesh of the chain's block topic";
        "check that the peers are of the same chain, and that this node is set up for the right \
         network";
    /// No block has arrived for longer than the block interval explains.
    NoBlocks = "no_blocks", 0 s, 5 s:
        "No new block has arrived for longer than the block interval explains";
        "check the peers, and whether the sequencer runs";
    /// A gap below the highest signed block stays open without progress.
    Gap = "gap", 0 s, 5 s:
        "Blocks are missing below the newest signed block, and no peer has provided them yet";
        "add peers that serve blocks, or set a JSON-RPC endpoint for missing blocks";
    /// Signed blocks do not build on the head that is shown.
    OffBranch = "off_branch", 5 s, 5 s:
        "The sequencer signed later blocks that are not known to build on the head that is shown";
        "wait for the missing blocks, and add peers that serve blocks if this lasts";
    /// The sequencer's key signs two branches at once.
    TwoSequencers = "two_sequencers", 0 s, 60 s:
        "The sequencer's key signs two branches at once";
        "stop one of the two sequencers";
    /// The block store does not take blocks.
    Store = "store", 0 s, 5 s:
        "Blocks are not stored";
        "make room on the disk, put the file back if it is gone, or repair the disk and start \
         the node again";
    /// The peer store does not take what the node knows of its peers.
    PeerStore = "peer_store", 0 s, 5 s:
        "Bans and known peers are not stored";
        "make room on the disk, put the file back if it is gone, or repair the disk and start \
         the node again";
    /// Blocks in the store are damaged.
    StoreDamaged = "store_damaged", 0 s, 5 s:
        "Blocks in the store are damaged, and feeds leave them out";
        "check the disk, and move the store away if more blocks are damaged";
    /// The file of the node's key is gone.
    KeyFile = "key_file", 0 s, 5 s:
        "The file of this node's p2p key is gone, so the next start would make another peer of it";
        "put the file back";
    /// The execution client fails, refuses a block, or is of another chain.
    Engine = "engine", 0 s, 5 s:
        "The execution client does not take blocks";
        "check the execution client and its address";
    /// The source of the safe and finalized labels fails.
    Labels = "labels", 0 s, 5 s:
        "The source of the safe and finalized blocks does not report them";
        "check that node and its address";
    /// The signer of our own blocks fails.
    Signing = "signing", 0 s, 10 s:
        "The signer does not sign this node's blocks";
        "check the signer and its permissions";
    /// Blocks of our own do not leave the node.
    Publishing = "publishing", 5 s, 10 s:
        "This node's own blocks are not published";
        "check the peers and the signer";
    /// L1 can't be read.
    L1 = "l1", 30 s, 5 s:
        "The unsafe-block signer can't be read from L1";
        "check the L1 node and its address";
    /// The stream that the feed writes into fails.
    Feed = "feed", 5 s, 5 s:
        "The feed can't write into its stream";
        "check the server of the stream";
    /// An RPC endpoint gave false answers.
    Proofs = "proofs", 0 s, 5 s:
        "An RPC endpoint for proved reads gave a false answer, and is no longer used";
        "replace the endpoint, and start the node again";
    /// No certificate for browsers could be obtained or renewed.
    Certificate = "certificate", 0 s, 0 s:
        "The certificate for browsers could not be obtained or stored";
        "check that its name leads to this node, and that the authority answers";
    /// The wall clock is wrong, judged by signed blocks.
    Clock = "clock", 0 s, 10 s:
        "The clock of this machine is wrong, judged by the blocks that the sequencer signed";
        "synchronise the clock, for example with NTP";
    /// Another node uses our p2p key.
    KeyInUse = "key_in_use", 0 s, 600 s:
        "Another node uses this node's p2p key";
        "give each node its own key";
    /// A high share of the messages is refused for one reason.
    Refused = "refused", 30 s, 60 s:
        "A high share of the blocks that arrive is refused";
        "check the configuration of the chain, and compare it with another node's";
    /// A part of the program has ended.
    PartLost = "part_lost", 0 s, 0 s:
        "A part of this program has ended unexpectedly";
        "start the node again, and report the log";
    /// A panic was contained.
    Panicked = "panicked", 0 s, 600 s:
        "A part of this program panicked, and the panic was contained";
        "report the log, and install a newer version";
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_names_are_unique_and_texts_are_clauses() {
        for (at, kind) in TroubleKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), at);
            assert!(!TroubleKind::ALL[..at].iter().any(|other| other.name() == kind.name()));
            for text in [kind.meaning(), kind.remedy()] {
                assert!(!text.ends_with('.') && !text.contains('\n'), "{kind}: {text}");
            }
            assert!(kind.meaning().starts_with(char::is_uppercase), "{kind}");
            assert!(kind.remedy().starts_with(char::is_lowercase), "{kind}");
        }
    }
}
