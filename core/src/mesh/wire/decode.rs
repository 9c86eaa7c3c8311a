//! Decoder of an `RPC`, which stores no part of it.

use super::MAX_OVERHEAD;
use super::proto::{Fields, Malformed, Value};
use super::transfers::{self, TRANSFERS, Transfer};

/// Field numbers of `RPC`.
const SUBSCRIPTIONS: u32 = 1;
const PUBLISH: u32 = 2;
const CONTROL: u32 = 3;
/// Field numbers of `ControlMessage`.
const IHAVE: u32 = 1;
const IWANT: u32 = 2;
const GRAFT: u32 = 3;
const PRUNE: u32 = 4;
const IDONTWANT: u32 = 5;
const EXTENSIONS: u32 = 6;

/// A frame that was checked as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Rpc<'a> {
    frame: &'a [u8],
    overhead: usize,
    has_subscriptions: bool,
    has_control: bool,
    has_extensions: bool,
    has_transfers: bool,
}

/// An entry of `RPC.subscriptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Whether the peer subscribes or unsubscribes.
    pub subscribes: bool,
    /// The topic, as bytes, which need not be text.
    pub topic: &'a [u8],
}

/// An entry of `RPC.publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The topic, empty if absent.
    pub topic: &'a [u8],
    /// The data, empty if absent.
    pub data: &'a [u8],
    /// Whether an author, sequence number, signature or key is present, even an empty one. All are
    /// forbidden on this network.
    pub is_signed: bool,
}

/// An entry of `RPC.control`.
#[derive(Clone, Copy, Debug)]
pub enum Control<'a> {
    /// The sender has these messages of a topic.
    IHave {
        /// The topic.
        topic: &'a [u8],
        /// Ids of the messages.
        ids: Ids<'a>,
    },
    /// The sender asks for these messages.
    IWant(Ids<'a>),
    /// The sender added us to its mesh of this topic.
    Graft(&'a [u8]),
    /// The sender removed us from its mesh.
    Prune {
        /// The topic.
        topic: &'a [u8],
        /// Seconds for which we must not graft, 0 if absent.
        backoff: u64,
    },
    /// The sender has these messages and wants no copies.
    IDontWant(Ids<'a>),
}

/// Message ids in one entry of `RPC.control`, of any length.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    field: u32,
    rest: Fields<'a>,
}

impl<'a> Iterator for Ids<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rest.next_checked()? {
                (field, Value::Bytes(id)) if field == self.field => return Some(id),
                _ => {}
            }
        }
    }
}

impl<'a> Rpc<'a> {
    /// Checks a frame, without its length prefix.
    ///
    /// # Errors
    /// Any violation of the format. Nothing of such a frame may be used.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut checked = Self {
            frame,
            overhead: frame.len(),
            has_subscriptions: false,
            has_control: false,
            has_extensions: false,
            has_transfers: false,
        };
        // Counts the bytes that are not data. Stops early: a frame may be 10 MiB of empty entries.
        let (mut seen, mut data) = (0, 0);
        let mut fields = Fields::new(frame);
        while let Some((field, value)) = fields.next()? {
            seen += match value {
                Value::Bytes(bytes) => 2 + bytes.len(),
                Value::Varint(_) | Value::Fixed => 2,
            };
            match field {
                SUBSCRIPTIONS => {
                    checked.has_subscriptions = true;
                    check_subscription(value.bytes(field)?)?;
                }
                PUBLISH => data += check_message(value.bytes(field)?)?,
                CONTROL => {
                    checked.has_control = true;
                    let control = value.bytes(field)?;
                    if control.len() > MAX_OVERHEAD {
                        return Err(Malformed::Overhead);
                    }
                    checked.has_extensions |= check_control(control)?;
                }
                TRANSFERS => {
                    checked.has_transfers = true;
                    transfers::check(value.bytes(field)?)?;
                }
                _ => {}
            }
            if seen - data > MAX_OVERHEAD {
                return Err(Malformed::Overhead);
            }
        }
        checked.overhead = frame.len() - data;
        if checked.overhead > MAX_OVERHEAD { Err(Malformed::Overhead) } else { Ok(checked) }
    }

    /// Returns the number of bytes that are not message data.
    pub const fn overhead(&self) -> usize {
        self.overhead
    }

    /// Returns `true` if there is any subscription.
    pub const fn has_subscriptions(&self) -> bool {
        self.has_subscriptions
    }

    /// Returns `true` if there is a control message, even an empty one.
    pub const fn has_control(&self) -> bool {
        self.has_control
    }

    /// Returns `true` if the control message names extensions.
    pub const fn has_extensions(&self) -> bool {
        self.has_extensions
    }

    /// Returns `true` if our own extension is present, even an empty one.
    pub const fn has_transfers(&self) -> bool {
        self.has_transfers
    }

    /// Returns the subscriptions in order.
    pub fn subscriptions(&self) -> impl Iterator<Item = Subscription<'a>> + use<'a> {
        entries(self.frame, SUBSCRIPTIONS).map(|entry| {
            let (mut subscribes, mut topic) = (false, &[][..]);
            let mut fields = Fields::new(entry);
            while let Some((field, value)) = fields.next_checked() {
                match (field, value) {
                    (1, Value::Varint(number)) => subscribes = number != 0,
                    (2, Value::Bytes(bytes)) => topic = bytes,
                    _ => {}
                }
            }
            Subscription { subscribes, topic }
        })
    }

    /// Returns the messages in order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'a>> + use<'a> {
        entries(self.frame, PUBLISH).map(|entry| {
            let mut message = Message { topic: &[], data: &[], is_signed: false };
            let mut fields = Fields::new(entry);
            while let Some((field, value)) = fields.next_checked() {
                match (field, value) {
                    (2, Value::Bytes(bytes)) => message.data = bytes,
                    // Some schemas allow several topics. All implementations take the last.
                    (4, Value::Bytes(bytes)) => message.topic = bytes,
                    (1 | 3 | 5 | 6, _) => message.is_signed = true,
                    _ => {}
                }
            }
            message
        })
    }

    /// Returns the control entries in order, those of all control fields together.
    pub fn control(&self) -> impl Iterator<Item = Control<'a>> + use<'a> {
        entries(self.frame, CONTROL).flat_map(|control| {
            let mut fields = Fields::new(control);
            std::iter::from_fn(move || {
                loop {
                    let (field, value) = fields.next_checked()?;
                    let Value::Bytes(entry) = value else { continue };
                    if let Some(control) = control_entry(field, entry) {
                        return Some(control);
                    }
                }
            })
        })
    }

    /// Returns the entries of our own extension in order, those of all its fields together.
    pub fn transfers(&self) -> impl Iterator<Item = Transfer<'a>> + use<'a> {
        entries(self.frame, TRANSFERS).flat_map(transfers::read)
    }
}

/// Returns the entries of a repeated field in a message that was checked.
fn entries(message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::new(message);
    std::iter::from_fn(move || {
        loop {
            match fields.next_checked()? {
                (field, Value::Bytes(entry)) if field == wanted => return Some(entry),
                _ => {}
            }
        }
    })
}

fn control_entry(field: u32, entry: &[u8]) -> Option<Control<'_>> {
    let ids = |field| Ids { field, rest: Fields::new(entry) };
    Some(match field {
        IHAVE => Control::IHave { topic: topic_of(entry), ids: ids(2) },
        IWANT => Control::IWant(ids(1)),
        GRAFT => Control::Graft(topic_of(entry)),
        PRUNE => Control::Prune { topic: topic_of(entry), backoff: backoff_of(entry) },
        IDONTWANT => Control::IDontWant(ids(1)),
        _ => return None,
    })
}

/// Returns field 1 of a control entry, empty if absent.
fn topic_of(entry: &[u8]) -> &[u8] {
    entries(entry, 1).last().unwrap_or_default()
}

/// Returns field 3 of a PRUNE, 0 if absent.
fn backoff_of(entry: &[u8]) -> u64 {
    let (mut fields, mut backoff) = (Fields::new(entry), 0);
    while let Some((field, value)) = fields.next_checked() {
        if let (3, Value::Varint(seconds)) = (field, value) {
            backoff = seconds;
        }
    }
    backoff
}

fn check_subscription(entry: &[u8]) -> Result<(), Malformed> {
    let mut fields = Fields::new(entry);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 | 3 | 4 => drop(value.number(field)?),
            2 => drop(value.bytes(field)?),
            _ => {}
        }
    }
    Ok(())
}

/// Checks an entry of `publish`; returns the length of its data.
fn check_message(entry: &[u8]) -> Result<usize, Malformed> {
    let (mut fields, mut data) = (Fields::new(entry), 0);
    while let Some((field, value)) = fields.next()? {
        if let 1..=6 = field {
            let bytes = value.bytes(field)?;
            if field == 2 {
                // Data that a later field replaces is not data.
                data = bytes.len();
            }
        }
    }
    Ok(data)
}

/// Checks a control message; returns whether it names extensions.
fn check_control(control: &[u8]) -> Result<bool, Malformed> {
    let (mut fields, mut has_extensions) = (Fields::new(control), false);
    while let Some((field, value)) = fields.next()? {
        match field {
            IHAVE | PRUNE => {
                let mut inner = Fields::new(value.bytes(field)?);
                while let Some((field_inside, value)) = inner.next()? {
                    match field_inside {
                        1 | 2 => drop(value.bytes(field_inside)?),
                        3 if field == PRUNE => drop(value.number(field_inside)?),
                        _ => {}
                    }
                }
            }
            IWANT | GRAFT | IDONTWANT => {
                let mut inner = Fields::new(value.bytes(field)?);
                while let Some((field, value)) = inner.next()? {
                    if field == 1 {
                        value.bytes(field)?;
                    }
                }
            }
            EXTENSIONS => {
                let mut inner = Fields::new(value.bytes(field)?);
                while inner.next()?.is_some() {}
                has_extensions = true;
            }
            _ => {}
        }
    }
    Ok(has_extensions)
}
