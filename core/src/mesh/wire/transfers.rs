//! Our own extension of `RPC`: notices of large messages that are on their way.
//!
//! It is a field that other implementations skip, with this message in it:
//!
//! ```proto
//! message Transfers {
//!   optional bool speaks = 1;      // the sender understands the others
//!   repeated bytes sending = 2;    // ids of messages that it begins to send to us
//!   repeated bytes receiving = 3;  // ids of messages that it is receiving from another peer
//!   repeated bytes received = 4;   // ids of messages that it has received from us
//! }
//! ```
//!
//! `core/NOTICES.md` is the page for other implementers.
//!
//! # Bounds
//! None of its own: nothing is stored. The bytes count as bytes beside message data.

use super::proto::{Fields, Malformed, Value};

/// Number of the extension's field in `RPC`: `op2` in ASCII.
pub const TRANSFERS: u32 = 0x6f_7032;
/// Field numbers of `Transfers`.
pub(super) const SPEAKS: u8 = 1;
pub(super) const SENDING: u8 = 2;
pub(super) const RECEIVING: u8 = 3;
pub(super) const RECEIVED: u8 = 4;

/// An entry of `RPC.transfers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer<'a> {
    /// Whether the sender understands the other entries.
    Speaks(bool),
    /// The sender begins to send this message to us.
    Sending(&'a [u8]),
    /// The sender is receiving this message from another peer.
    Receiving(&'a [u8]),
    /// The sender has received this message from us.
    Received(&'a [u8]),
}

/// Checks the extension.
pub(super) fn check(transfers: &[u8]) -> Result<(), Malformed> {
    let mut fields = Fields::new(transfers);
    while let Some((field, value)) = fields.next()? {
        match u8::try_from(field) {
            Ok(SPEAKS) => drop(value.number(field)?),
            Ok(SENDING | RECEIVING | RECEIVED) => drop(value.bytes(field)?),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the entries of an extension that was checked, in order.
pub(super) fn read(transfers: &[u8]) -> impl Iterator<Item = Transfer<'_>> {
    let mut fields = Fields::new(transfers);
    std::iter::from_fn(move || {
        loop {
            let (field, value) = fields.next_checked()?;
            match (u8::try_from(field), value) {
                (Ok(SPEAKS), Value::Varint(number)) => return Some(Transfer::Speaks(number != 0)),
                (Ok(SENDING), Value::Bytes(id)) => return Some(Transfer::Sending(id)),
                (Ok(RECEIVING), Value::Bytes(id)) => return Some(Transfer::Receiving(id)),
                (Ok(RECEIVED), Value::Bytes(id)) => return Some(Transfer::Received(id)),
                _ => {}
            }
        }
    })
}
