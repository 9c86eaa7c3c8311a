//! Message ids and topics, as small values.

use std::fmt;

/// Maximum length of a message id in bytes.
pub const MAX_ID: usize = 32;
/// Maximum number of topics that a router knows.
pub const MAX_TOPICS: usize = 8;

/// A message id of 1 to [`MAX_ID`] bytes. The ids of this network have 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    bytes: [u8; MAX_ID],
    length: u8,
}

impl Id {
    /// Creates an id, or returns `None` if `bytes` is empty or longer than [`MAX_ID`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = u8::try_from(bytes.len()).ok().filter(|length| *length > 0)?;
        let mut id = [0; MAX_ID];
        id.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: id, length })
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.length.into()).0
    }
}

impl From<[u8; 20]> for Id {
    fn from(id: [u8; 20]) -> Self {
        let mut bytes = [0; MAX_ID];
        bytes[..20].copy_from_slice(&id);
        Self { bytes, length: 20 }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Index of one of the router's topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(u8);

impl Topic {
    /// Creates the index of the topic at this position of [`MeshConfig::topics`].
    ///
    /// [`MeshConfig::topics`]: super::MeshConfig::topics
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_TOPICS { Some(Self(index as u8)) } else { None }
    }

    /// Returns the position of the topic.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns all possible topics.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_TOPICS as u8).map(Self)
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics(u8);

impl Topics {
    pub(super) const fn contains(self, topic: Topic) -> bool {
        self.0 & (1 << topic.0) != 0
    }

    pub(super) const fn set(&mut self, topic: Topic, member: bool) {
        if member {
            self.0 |= 1 << topic.0;
        } else {
            self.0 &= !(1 << topic.0);
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Topic> {
        Topic::all().filter(move |topic| self.contains(*topic))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
