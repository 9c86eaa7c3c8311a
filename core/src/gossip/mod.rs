//! Gossip of unsafe blocks: topics, message ids, signatures, and the rules that a message must pass.
//!
//! A copy of a message is [`Unpacked`] once, named, and, if it is new, [`validate`]d as a job
//! without state; what passes is admitted to the list of [`SeenBlocks`]. [`inspect`] does all of it
//! for one captured message.

mod copies;
mod doubt;
mod inspect;
mod message;
mod params;
mod reason;
mod seen;
mod signature;
mod signers;
#[cfg(test)]
pub(crate) mod tests;
mod topic;
mod validate;

pub use copies::{COPIES, COPIES_AGE, COPIES_BYTES, Copies};
pub use doubt::{PATIENCE as DOUBT_PATIENCE, PAUSE as DOUBT_PAUSE, SUSPECTS, SignerDoubt, Suspicion};
pub use inspect::{Inspection, inspect};
pub use message::{MAX_MESSAGE_SIZE, MIN_MESSAGE_SIZE, MessageId, Unpacked};
pub use params::{
    ADVERTISED, FANOUT_TTL, HEARTBEAT, HEARTBEAT_INITIAL_DELAY, HISTORY_GOSSIP, HISTORY_LENGTH,
    IDONTWANT_THRESHOLD, MeshParams, OUTBOUND_QUEUE, SEEN_TTL, VALIDATION_CONCURRENCY, VALIDATION_QUEUE,
};
pub use reason::{Acceptance, Reason};
pub use seen::{BLOCKS_PER_HEIGHT, SEEN_HEIGHTS, SeenBlocks};
pub use signature::{
    BLOCK_DOMAIN, ChainIdTooLarge, ChainIdWord, SIGNATURE_SIZE, Signature, Unrecoverable, payload_hash,
    recover, signing_hash,
};
pub(crate) use signature::{public_key, sign};
pub use signers::{GRACE_PERIOD, SignerRotation, Signers};
pub use topic::{block_topic, version_of_topic};
pub(crate) use validate::check_timestamp;
pub use validate::{
    OneThread, Rules, TIMESTAMP_AHEAD, TIMESTAMP_THRESHOLD, Threads, Verified, validate, validate_on,
};
