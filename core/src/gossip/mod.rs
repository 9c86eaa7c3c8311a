//! Gossip of unsafe blocks: topics, message ids, signatures, and the rules that a message must
//! pass.
//!
//! Each received copy of a message is [`Unpacked`] once and given its message id. The [`Validator`]
//! takes the first copy and gives the verdict. It checks the message in a stateless job, which runs
//! [`validate`], and remembers what a safe verdict depends on: the blocks of each height, the
//! signers, the clock, and suspects. [`inspect`] judges one captured message without a memory.

mod copies;
mod inspect;
mod message;
mod params;
mod reason;
mod schedule;
mod seen;
mod signature;
mod signers;
#[cfg(test)]
pub(crate) mod tests;
mod topic;
mod validate;
mod validator;

pub use copies::{COPIES, COPIES_AGE, COPIES_BYTES, Copies};
pub use inspect::{Inspection, inspect};
pub use message::{MAX_MESSAGE_SIZE, MIN_MESSAGE_SIZE, MessageId, Unpacked};
pub use params::{
    FANOUT_TTL, HEARTBEAT, HEARTBEAT_INITIAL_DELAY, HISTORY_GOSSIP, HISTORY_LENGTH,
    IDONTWANT_THRESHOLD, InvalidMesh, MAX_IHAVE_IDS, MAX_MESH_SIZE, MeshParams, OUTBOUND_QUEUE,
    SEEN_TTL, VALIDATION_CONCURRENCY, VALIDATION_QUEUE,
};
pub use reason::{Acceptance, Reason};
pub(crate) use schedule::remedy;
pub use schedule::{ScheduleBreach, ScheduleRule};
pub use seen::{BLOCKS_PER_HEIGHT, MAX_SEEN_HEIGHTS, SEEN_HEIGHTS, SeenBlocks};
pub use signature::{
    BLOCK_DOMAIN, ChainIdTooLarge, ChainIdWord, SIGNATURE_SIZE, Signature, Unrecoverable,
    payload_hash, recover, signing_hash,
};
pub(crate) use signature::{public_key, sign};
pub use signers::{GRACE_PERIOD, SWITCH_PERIOD, SignerRotation, Signers};
pub use topic::{block_topic, version_of_topic};
pub(crate) use validate::{Check, Judged, Refusal, check_timestamp};
pub use validate::{
    OneThread, Rules, TIMESTAMP_AHEAD, TIMESTAMP_THRESHOLD, Threads, Verified, validate,
    validate_on,
};
pub use validator::{
    BlockSource, OwnId, RefusedBlock, SCHEDULE_DOUBT_BLOCKS, SCHEDULE_DOUBT_TTL,
    SCHEDULE_REPORT_EVERY, ScheduleDoubt, ValidationId, ValidationJob, ValidationResult, Validator,
    ValidatorConfig, ValidatorStep, Verdict, WAITING_BYTES,
};
