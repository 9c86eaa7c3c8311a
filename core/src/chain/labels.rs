//! Which block somebody means by a word: `latest`, `pending`, `safe`, `finalized`, `earliest`.
//!
//! Gossip alone tells what is unsafe. What is safe or finalized follows from L1, which somebody else reads: an execution
//! client, or whoever derives the chain. [`Labels`] is what that somebody says, and until it says something the answer
//! to the question is that nobody knows, not a guess.

use super::BlockId;
use std::fmt;

/// A word for a block, as the execution API has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockTag {
    /// The lowest block that is held.
    Earliest,
    /// The newest canonical block: the unsafe head.
    Latest,
    /// The block after it, of which nobody outside the sequencer knows anything: answered as [`Self::Latest`].
    Pending,
    /// The newest block that follows from data on L1.
    Safe,
    /// The newest block that follows from finalized data on L1.
    Finalized,
}

impl BlockTag {
    /// The tag of this name, as the execution API writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            "pending" => Some(Self::Pending),
            "safe" => Some(Self::Safe),
            "finalized" => Some(Self::Finalized),
            _ => None,
        }
    }

    /// What the execution API calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Pending => "pending",
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

impl fmt::Display for BlockTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of the chain beyond gossip. By default nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The newest block that follows from data on L1.
    pub safe: Option<BlockId>,
    /// The newest block that follows from finalized data on L1.
    pub finalized: Option<BlockId>,
}

/// The block that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// This one, whether it is held or not.
    Block(BlockId),
    /// The lowest one that is held.
    Lowest,
    /// None: there is no head yet.
    Nothing,
}

/// Nobody says which block that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {0} block is not known: this node follows gossip, and nothing that reads L1 has told it which one that is"
)]
pub struct Unlabelled(pub BlockTag);

impl Labels {
    /// Which block the tag means, where `head` is the unsafe head.
    ///
    /// # Errors
    /// If the tag is a label that nobody has set.
    pub fn meant(&self, tag: BlockTag, head: Option<BlockId>) -> Result<Meant, Unlabelled> {
        match tag {
            BlockTag::Earliest => Ok(Meant::Lowest),
            BlockTag::Latest | BlockTag::Pending => Ok(head.map_or(Meant::Nothing, Meant::Block)),
            BlockTag::Safe => self.safe.map(Meant::Block).ok_or(Unlabelled(tag)),
            BlockTag::Finalized => self.finalized.map(Meant::Block).ok_or(Unlabelled(tag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    const ALL: [BlockTag; 5] =
        [BlockTag::Earliest, BlockTag::Latest, BlockTag::Pending, BlockTag::Safe, BlockTag::Finalized];

    #[test]
    fn every_tag_has_one_name() {
        for tag in ALL {
            assert_eq!(BlockTag::from_name(tag.name()), Some(tag));
        }
        for wrong in ["", "Latest", "latest ", "unsafe", "0x1"] {
            assert_eq!(BlockTag::from_name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn without_labels_only_what_gossip_tells_is_known() {
        let head = BlockId::new(7, B256::repeat_byte(7));
        let labels = Labels::default();
        assert_eq!(labels.meant(BlockTag::Latest, Some(head)), Ok(Meant::Block(head)));
        assert_eq!(labels.meant(BlockTag::Pending, Some(head)), Ok(Meant::Block(head)));
        assert_eq!(labels.meant(BlockTag::Latest, None), Ok(Meant::Nothing));
        assert_eq!(labels.meant(BlockTag::Earliest, None), Ok(Meant::Lowest));
        for tag in [BlockTag::Safe, BlockTag::Finalized] {
            assert_eq!(labels.meant(tag, Some(head)), Err(Unlabelled(tag)));
        }
    }

    #[test]
    fn a_label_that_is_set_names_its_block_and_says_nothing_of_the_other() {
        let safe = BlockId::new(5, B256::repeat_byte(5));
        let labels = Labels { safe: Some(safe), finalized: None };
        assert_eq!(labels.meant(BlockTag::Safe, None), Ok(Meant::Block(safe)));
        assert_eq!(labels.meant(BlockTag::Finalized, None), Err(Unlabelled(BlockTag::Finalized)));
    }
}
