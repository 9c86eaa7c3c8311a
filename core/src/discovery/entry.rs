//! The `opstack` entry of a node record, which names the chain that a node follows.
//!
//! On the wire, the entry is an RLP byte string that contains two unsigned varints (seven bits per
//! byte, low bits first): the chain id and a version. Like the reference, this implementation
//! ignores any bytes after them, which are left to future versions.

use alloy_rlp::{Encodable, Header};

/// Key of the entry in a node record.
pub const ENTRY_KEY: &str = "opstack";
/// The only known version of the entry.
pub const VERSION: u64 = 0;

/// Maximum length of a varint of 64 bits, in bytes.
const MAX_VARINT: usize = 10;

/// The chain that a node follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpStackEntry {
    /// Id of the L2 chain. An id of more than 64 bits would be truncated to its low 64 bits, as in
    /// the reference; no chain has such an id.
    pub chain_id: u64,
    /// Version of the entry: [`VERSION`].
    pub version: u64,
}

/// Reason why bytes are not an [`OpStackEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// The bytes are not an RLP byte string.
    #[error("not an RLP byte string")]
    NotBytes,
    /// The entry ends within a number.
    #[error("it ends within a number")]
    Short,
    /// A number has more than 64 bits.
    #[error("a number of more than 64 bits")]
    Overflow,
}

impl OpStackEntry {
    /// Creates the entry of a node on this chain.
    pub const fn new(chain_id: u64) -> Self {
        Self { chain_id, version: VERSION }
    }

    /// Encodes the entry as RLP, in the form that a record contains.
    pub fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(2 * MAX_VARINT);
        put_varint(&mut content, self.chain_id);
        put_varint(&mut content, self.version);
        let mut rlp = Vec::with_capacity(content.len() + 1);
        content.as_slice().encode(&mut rlp);
        rlp
    }

    /// Decodes an entry from RLP.
    ///
    /// # Errors
    /// See [`InvalidEntry`]. Bytes after the two numbers are not an error.
    pub fn decode(mut rlp: &[u8]) -> Result<Self, InvalidEntry> {
        let mut content =
            Header::decode_bytes(&mut rlp, false).map_err(|_| InvalidEntry::NotBytes)?;
        let chain_id = take_varint(&mut content)?;
        let version = take_varint(&mut content)?;
        Ok(Self { chain_id, version })
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a varint like Go's `binary.ReadUvarint`: redundant zeros are accepted, a 65th bit is an
/// error.
fn take_varint(bytes: &mut &[u8]) -> Result<u64, InvalidEntry> {
    let mut number = 0;
    for shift in (0..).step_by(7).take(MAX_VARINT) {
        let (byte, rest) = bytes.split_first().ok_or(InvalidEntry::Short)?;
        *bytes = rest;
        if shift == 63 && *byte > 1 {
            return Err(InvalidEntry::Overflow);
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(InvalidEntry::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Output of the reference's own encoder for these chains.
    const REFERENCE: [(u64, &[u8]); 8] = [
        (1, &[0x82, 0x01, 0x00]),
        (10, &[0x82, 0x0a, 0x00]),
        (130, &[0x83, 0x82, 0x01, 0x00]),
        (420, &[0x83, 0xa4, 0x03, 0x00]),
        (901, &[0x83, 0x85, 0x07, 0x00]),
        (8453, &[0x83, 0x85, 0x42, 0x00]),
        (84532, &[0x84, 0xb4, 0x94, 0x05, 0x00]),
        (11_155_420, &[0x85, 0xdc, 0xef, 0xa8, 0x05, 0x00]),
    ];

    #[test]
    fn entries_match_the_reference_bytes() {
        for (chain_id, bytes) in REFERENCE {
            assert_eq!(OpStackEntry::new(chain_id).encode(), bytes, "{chain_id}");
            assert_eq!(OpStackEntry::decode(bytes), Ok(OpStackEntry::new(chain_id)));
        }
    }

    #[test]
    fn bytes_after_the_two_numbers_are_ignored() {
        assert_eq!(
            OpStackEntry::decode(&[0x84, 0x0a, 0x00, 0xff, 0xff]),
            Ok(OpStackEntry::new(10))
        );
        assert_eq!(OpStackEntry::decode(&[0x82, 0x0a, 0x00, 0x99]), Ok(OpStackEntry::new(10)));
    }

    #[test]
    fn garbage_is_refused_with_its_reason() {
        for (bytes, why) in [
            (&[][..], InvalidEntry::NotBytes),
            (&[0xc2, 0x0a, 0x00], InvalidEntry::NotBytes),
            (&[0x83, 0x0a, 0x00], InvalidEntry::NotBytes),
            (&[0x80], InvalidEntry::Short),
            (&[0x0a], InvalidEntry::Short),
            (&[0x82, 0x8a, 0x80], InvalidEntry::Short),
        ] {
            assert_eq!(OpStackEntry::decode(bytes), Err(why), "{bytes:x?}");
        }
        let mut long = vec![0x8b];
        long.extend([0xff; 9]);
        long.extend([0x02, 0x00]);
        assert_eq!(OpStackEntry::decode(&long), Err(InvalidEntry::Overflow));
        long[9] = 0xff;
        long[10] = 0xff;
        assert_eq!(OpStackEntry::decode(&long), Err(InvalidEntry::Overflow));
    }

    proptest! {
        #[test]
        fn every_entry_round_trips(chain_id: u64, version: u64) {
            let entry = OpStackEntry { chain_id, version };
            prop_assert_eq!(OpStackEntry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_round_trip(bytes: Vec<u8>) {
            if let Ok(entry) = OpStackEntry::decode(&bytes) {
                prop_assert_eq!(OpStackEntry::decode(&entry.encode()), Ok(entry));
            }
        }
    }
}
