//! Protobuf: variable-length integers, tags, and a walker over fields.

/// Error of a frame or stream that is not gossipsub's. The stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A variable-length integer is longer than allowed, or breaks off.
    #[error("a variable-length integer is too long or breaks off")]
    Varint,
    /// The length prefix of a frame has more bytes than its value needs.
    #[error("the length of a frame is written with more bytes than necessary")]
    Padded,
    /// A frame is longer than [`MAX_FRAME`](super::MAX_FRAME).
    #[error("a frame of {0} bytes is too long")]
    TooLong(u64),
    /// A frame has more than [`MAX_OVERHEAD`](super::MAX_OVERHEAD) bytes beside message data.
    #[error("a frame has too many bytes beside message data")]
    Overhead,
    /// A field's number is 0 or above the largest that exists.
    #[error("field number {0} does not exist")]
    FieldNumber(u64),
    /// A field's wire type does not exist, or is a group.
    #[error("wire type {0} is not in use")]
    WireType(u8),
    /// A known field has the wire type of another kind of value.
    #[error("field {0} has the wrong wire type")]
    WrongType(u32),
    /// A field is longer than what contains it.
    #[error("a field is longer than its container")]
    Truncated,
}

/// Largest number of a protobuf field.
const MAX_FIELD: u64 = (1 << 29) - 1;
/// Maximum length of a 64-bit variable-length integer.
const MAX_VARINT: usize = 10;

/// The value of one field, with fixed-size values skipped: the schema has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Value<'a> {
    /// Returns the bytes of `field`, which has the type `string`, `bytes` or a message.
    pub(super) fn bytes(self, field: u32) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed => Err(Malformed::WrongType(field)),
        }
    }

    /// Returns the number of `field`, which has the type `bool` or `uint64`.
    pub(super) fn number(self, field: u32) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(Malformed::WrongType(field)),
        }
    }
}

/// Walks the fields of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Returns the next field's number and value, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = tag >> 3;
        if field == 0 || field > MAX_FIELD {
            return Err(Malformed::FieldNumber(field));
        }
        let value = match (tag & 7) as u8 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(Malformed::WireType(other)),
        };
        Ok(Some((field as u32, value)))
    }

    /// Returns the next field of a message that was checked before.
    pub(super) fn next_checked(&mut self) -> Option<(u32, Value<'a>)> {
        self.next().ok().flatten()
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let (value, length) = read_varint(self.rest)?.ok_or(Malformed::Varint)?;
        self.take(length)?;
        Ok(value)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Reads a variable-length integer at the start of `bytes`: its value and length, or `None` if it
/// breaks off.
pub(super) fn read_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for a single bit.
        if at == MAX_VARINT - 1 && *byte > 1 {
            return Err(Malformed::Varint);
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= MAX_VARINT { Err(Malformed::Varint) } else { Ok(None) }
}

/// Appends a variable-length integer.
pub(super) fn write_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Returns the length of `value` as a variable-length integer.
pub(super) const fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a field of bytes.
pub(super) fn write_bytes(to: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    to.push(field << 3 | 2);
    write_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Appends a field that holds a number.
pub(super) fn write_number(to: &mut Vec<u8>, field: u8, number: u64) {
    to.push(field << 3);
    write_varint(to, number);
}
