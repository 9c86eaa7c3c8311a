//! Publishing our own blocks: signing, validation by the rules that every other node will apply,
//! and the queue that retries.

mod health;
mod queue;
mod signer;

pub use health::{FAILURE_TTL, PublishHealth};
pub use queue::{
    ATTEMPT_TIMEOUT, Obstacle, Publication, PublishError, PublishId, PublishQueue, QUEUE_BYTES,
    QUEUE_LENGTH, RETRY_INTERVAL, Sealed, SendOutcome, Step,
};
pub use signer::{InvalidSecretKey, LocalSigner};
