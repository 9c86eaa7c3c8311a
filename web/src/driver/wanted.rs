//! The page's questions for single blocks, and their answers.

use crate::tell::Told;
use alloy_primitives::B256;

/// A block that the page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Number(u64),
    Hash(B256),
}

impl Wanted {
    /// Reads a number, or a hash with `0x` in front.
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("0x") {
            Some(digits) if digits.len() == 64 => text.parse().ok().map(Self::Hash),
            Some(_) => None,
            None => text.parse().ok().map(Self::Number),
        }
    }
}

/// A block that the page asked for.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) told: Told,
    pub(crate) payload: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_wanted_by_its_number_or_its_hash() {
        assert_eq!(Wanted::read("0"), Some(Wanted::Number(0)));
        assert_eq!(Wanted::read("18446744073709551615"), Some(Wanted::Number(u64::MAX)));
        let hash = B256::repeat_byte(0xab);
        assert_eq!(Wanted::read(&hash.to_string()), Some(Wanted::Hash(hash)));
        for wrong in ["", "-1", "1.5", "latest", "18446744073709551616", "0x", "0x1", "0xzz"] {
            assert_eq!(Wanted::read(wrong), None, "{wrong}");
        }
        assert_eq!(Wanted::read(&format!("0x{}", "g".repeat(64))), None);
    }
}
