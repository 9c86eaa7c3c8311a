//! Publishing blocks of our own: signing, judging them by the rules that everybody else will apply,
//! and the queue that retries.

mod queue;
mod signer;

pub use queue::{
    ATTEMPT_TIMEOUT, Obstacle, Publication, PublishError, PublishId, PublishQueue, QUEUE_LENGTH,
    RETRY_INTERVAL, Sealed, SendOutcome, Step,
};
pub use signer::{InvalidSecretKey, LocalSigner};
