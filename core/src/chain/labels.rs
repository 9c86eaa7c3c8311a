//! Block tags: `latest`, `pending`, `safe`, `finalized` and `earliest`.
//!
//! Gossip determines only the unsafe head. The safe and finalized blocks follow from L1, which
//! another program reads: an execution client, or a node that derives the chain. [`Labels`] holds
//! the blocks that this program reported. Until it reports one, the tag resolves to an error, not
//! to a guess.

use super::BlockId;
use std::fmt;

/// A block tag of the execution API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockTag {
    /// The lowest held block.
    Earliest,
    /// The newest canonical block: the unsafe head.
    Latest,
    /// The block after the head. Only the sequencer knows it, so the tag resolves like
    /// [`Self::Latest`].
    Pending,
    /// The newest block that follows from data on L1.
    Safe,
    /// The newest block that follows from finalized data on L1.
    Finalized,
}

impl BlockTag {
    /// Returns the tag with this name in the execution API, or `None` for any other name.
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

    /// Returns the tag's name in the execution API.
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

/// The labels that gossip does not provide. By default, no label is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The newest block that follows from data on L1, if known.
    pub safe: Option<BlockId>,
    /// The newest block that follows from finalized data on L1, if known.
    pub finalized: Option<BlockId>,
}

/// The block that a tag refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// This block, which may not be held.
    Block(BlockId),
    /// The lowest held block.
    Lowest,
    /// No block, because there is no head yet.
    Nothing,
}

/// Error: the tag is a label that has not been set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {0} block is not known: this node follows gossip, and nothing that reads L1 has told it \
     which one that is"
)]
pub struct Unlabelled(pub BlockTag);

impl Labels {
    /// Returns the block that the tag refers to. `head` is the unsafe head.
    ///
    /// # Errors
    /// [`Unlabelled`] if the tag is a label that has not been set.
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

    const ALL: [BlockTag; 5] = [
        BlockTag::Earliest,
        BlockTag::Latest,
        BlockTag::Pending,
        BlockTag::Safe,
        BlockTag::Finalized,
    ];

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
    fn without_labels_only_gossip_is_known() {
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
    fn setting_one_label_does_not_set_the_other() {
        let safe = BlockId::new(5, B256::repeat_byte(5));
        let labels = Labels { safe: Some(safe), finalized: None };
        assert_eq!(labels.meant(BlockTag::Safe, None), Ok(Meant::Block(safe)));
        assert_eq!(labels.meant(BlockTag::Finalized, None), Err(Unlabelled(BlockTag::Finalized)));
    }
}
