//! Peers of a crowd that misbehave.

/// Behaviour of a villain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Villain {
    /// Sends blocks signed by another key.
    Forger,
    /// Sends real blocks, long after their time.
    Stale,
    /// Sends random bytes.
    Garbage,
    /// Sends real blocks on the topic of another version.
    WrongTopic,
    /// Sends real blocks with a changed field, so that neither signature nor hash is valid.
    Tamperer,
    /// Like the forger, and leaves before the verdict each time.
    Runner,
    /// Answers requests with random bytes.
    Useless,
    /// Never sends anything.
    Silent,
}

pub(crate) const KINDS: [Villain; 8] = [
    Villain::Forger,
    Villain::Stale,
    Villain::Garbage,
    Villain::WrongTopic,
    Villain::Tamperer,
    Villain::Runner,
    Villain::Useless,
    Villain::Silent,
];

impl Villain {
    /// Returns `true` if its behaviour differs from everything that an honest peer may do. Bad
    /// answers cost at most 9 points by the reference's caps, and a quiet peer is silent too:
    /// neither is ever a reason for a ban.
    pub(crate) const fn is_bannable(self) -> bool {
        !matches!(self, Self::Useless | Self::Silent)
    }
}
