//! The devnet's parts: [`BlockMaker`] makes its blocks.

mod blocks;

pub use blocks::BlockMaker;
