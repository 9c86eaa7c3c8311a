//! The unsafe-block signer according to L1, read from the chain's SystemConfig contract
//! (`op-node/node/runtime_config.go`, `op-node/node/node.go`).
//!
//! [`SignerSource`] decides when to query an L1 node and for what, as JSON-RPC bodies; the driver
//! posts them. A load queries the newest block, the hash of the block that is deep enough, and the
//! contract's slot at that hash; the first load also queries the chain id. A load is all or
//! nothing: if one answer fails, all answers of the load are discarded.
//!
//! # Times
//! The first load starts at once and has up to [`FIRST_ATTEMPTS`] attempts, [`RETRY`] apart; a
//! further load follows every [`L1Config::reload`]. After a failed reload, the reference waits for
//! the next tick. This implementation retries after [`RETRY`], which doubles with each failure up
//! to the reload interval. [`SignerSource::expedite`] starts a load at once when blocks of an
//! unknown signer arrive.
//!
//! # Bounds
//! One request in flight, for at most [`TIMEOUT`]. An answer has at most [`MAX_ANSWER`] bytes, and
//! comes from the operator's L1 node. At most one hurried load per [`EXPEDITE_INTERVAL`], however
//! often strangers provoke one.

mod head;
mod origin;

pub use head::L1Block;
pub use origin::SignerOrigin;

use crate::json_rpc::{Answer, Refusal, shortened};
use crate::time::Instant;
use alloy_primitives::{Address, B256, U64, b256};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Storage slot of the signer in the contract: the Keccak-256 hash of
/// `systemconfig.unsafeblocksigner`.
pub const SIGNER_SLOT: B256 =
    b256!("65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08");
/// Maximum time to wait for one answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of attempts for the first load.
pub const FIRST_ATTEMPTS: u32 = 5;
/// Time between two attempts.
pub const RETRY: Duration = Duration::from_secs(10);
/// Minimum time between two hurried loads.
pub const EXPEDITE_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of bytes read of an answer: a block's header and the hashes of its transactions.
pub const MAX_ANSWER: usize = 4 << 20;

/// Location of the signer on L1, and the interval at which it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Config {
    /// Chain id of the L1 on which the contract lives.
    pub chain_id: u64,
    /// Address of the chain's SystemConfig contract.
    pub contract: Address,
    /// Number of blocks below the newest one at which the contract is read (`--verifier.l1-confs`).
    pub confirmations: u64,
    /// Time between two loads (`--l1.runtime-config-reload-interval`, 10 minutes), or `None` to
    /// load only once.
    pub reload: Option<Duration>,
}

/// An action or report for the driver.
#[derive(Clone, Debug, PartialEq)]
pub enum L1Step {
    /// Post this body to the L1 node as `application/json`, and pass the result to
    /// [`SignerSource::answered`].
    Ask {
        /// Id of the request.
        id: u64,
        /// The body.
        body: String,
    },
    /// A load read this signer at this L1 block, or `None` if the contract names no signer.
    Signer {
        /// The signer.
        signer: Option<Address>,
        /// Number of the L1 block at which it was read.
        block: u64,
        /// Timestamp of that block, in Unix seconds; `None` if the node does not report it.
        timestamp: Option<u64>,
    },
    /// A load failed; the next one follows by itself.
    Failed(L1Error),
    /// The first load failed [`FIRST_ATTEMPTS`] times, or the node is on the wrong chain. A node
    /// without another source of the signer should stop. Reported once; attempts continue.
    GaveUp(L1Error),
}

/// Reason why a load failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L1Error {
    /// No answer arrived; the driver gives the reason in one sentence.
    #[error("the L1 node can't be asked: {0}")]
    Transport(String),
    /// No answer arrived in time.
    #[error("the L1 node did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The node answered with an error.
    #[error("the L1 node refused {method}: {message} (code {code})")]
    Refused {
        /// The requested method.
        method: &'static str,
        /// Error code.
        code: i64,
        /// Error message, shortened.
        message: String,
    },
    /// The answer does not fit the request.
    #[error("the L1 node's answer to {method} makes no sense: {found}")]
    InvalidResponse {
        /// The requested method.
        method: &'static str,
        /// The answer, shortened.
        found: String,
    },
    /// The node is on another chain.
    #[error(
        "the L1 node is on chain {found}, and this chain's L1 is {expected}; give a node of that \
         chain"
    )]
    WrongChain {
        /// Id of the L1 chain that this node expects.
        expected: u64,
        /// Chain id of the L1 node.
        found: u64,
    },
    /// The L1 node lacks a block that it reported before.
    #[error("the L1 node does not have its own block {0}")]
    NoBlock(u64),
}

/// The next query of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Chain,
    Newest,
    Block(u64),
    Slot(u64, B256),
}

impl Question {
    const fn method(self) -> &'static str {
        match self {
            Self::Chain => "eth_chainId",
            Self::Newest => "eth_blockNumber",
            Self::Block(_) => "eth_getBlockByNumber",
            Self::Slot(..) => "eth_getStorageAt",
        }
    }

    fn parameters(self, contract: Address) -> Value {
        match self {
            Self::Chain | Self::Newest => json!([]),
            Self::Block(number) => json!([U64::from(number), false]),
            // EIP-1898: a reorg between the two queries causes an error, not an answer from another
            // branch.
            Self::Slot(_, hash) => {
                json!([contract, SIGNER_SLOT, { "blockHash": hash, "requireCanonical": false }])
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next load begins at this time, or never if `None`.
    Waiting(Option<Instant>),
    /// A request is to be sent.
    Asking(Question),
    /// The request was sent; its answer must arrive by `until`.
    Awaiting { question: Question, id: u64, until: Instant },
}

/// Reads the signer from L1: see the [module's documentation](self).
#[derive(Clone, Debug)]
pub struct SignerSource {
    config: L1Config,
    state: State,
    next_id: u64,
    /// Whether the node has been found to be on the right chain.
    knows_chain: bool,
    /// Whether a load has ever succeeded or been given up.
    has_begun: bool,
    /// Number of consecutive failed loads.
    failures: u32,
    last_expedited: Option<Instant>,
    /// Timestamp of the block of the current load.
    timestamp: Option<u64>,
    told: Option<L1Step>,
}

#[derive(Deserialize)]
struct Header {
    number: U64,
    hash: B256,
    #[serde(default)]
    timestamp: Option<U64>,
}

impl SignerSource {
    /// Creates a source whose first load begins at `now`.
    pub const fn new(now: Instant, config: L1Config) -> Self {
        Self {
            config,
            state: State::Waiting(Some(now)),
            next_id: 0,
            knows_chain: false,
            has_begun: false,
            failures: 0,
            last_expedited: None,
            timestamp: None,
            told: None,
        }
    }

    /// Starts the next load now, because blocks of an unknown signer arrive. Has no effect while a
    /// load is running or if one was hurried recently.
    pub fn expedite(&mut self, now: Instant) {
        let is_early = self.last_expedited.is_some_and(|last| now.since(last) < EXPEDITE_INTERVAL);
        if matches!(self.state, State::Waiting(_)) && !is_early {
            self.last_expedited = Some(now);
            self.state = State::Waiting(Some(now));
        }
    }

    /// Handles the body of an answer, or one sentence on why no answer arrived.
    pub fn answered(&mut self, now: Instant, id: u64, body: Result<&[u8], String>) {
        let State::Awaiting { question, id: asked, .. } = self.state else { return };
        // The answer arrived too late.
        if asked != id {
            return;
        }
        match body.map_err(L1Error::Transport).and_then(|body| self.read(question, body)) {
            Ok(Some(next)) => self.state = State::Asking(next),
            Ok(None) => {
                (self.has_begun, self.failures) = (true, 0);
                self.state = State::Waiting(self.config.reload.map(|interval| now + interval));
            }
            Err(error) => self.failed(now, error),
        }
    }

    /// Handles an answer. Returns the next query, or `None` at the end of the load, when the signer
    /// is to be reported.
    fn read(&mut self, question: Question, body: &[u8]) -> Result<Option<Question>, L1Error> {
        let method = question.method();
        let invalid = |found: &str| L1Error::InvalidResponse { method, found: shortened(found) };
        let answer =
            Answer::read(body).ok_or_else(|| invalid(&String::from_utf8_lossy(head_of(body))))?;
        if let Some(Refusal { code, message, .. }) = answer.error {
            return Err(L1Error::Refused { method, code, message: shortened(&message) });
        }
        let result = answer.result;
        // A number without digits would be read as zero.
        let number = |value: &Value| {
            let text = value.as_str().filter(|text| text.len() > 2)?;
            text.parse::<U64>().map(|number| number.to::<u64>()).ok()
        };
        let wrong = || invalid(&result.to_string());
        match question {
            Question::Chain => {
                let (found, expected) = (number(&result).ok_or_else(wrong)?, self.config.chain_id);
                if found != expected {
                    return Err(L1Error::WrongChain { expected, found });
                }
                self.knows_chain = true;
                Ok(Some(Question::Newest))
            }
            Question::Newest => {
                let newest = number(&result).ok_or_else(wrong)?;
                // Like the reference, read the newest block if the chain has fewer blocks than
                // confirmations.
                Ok(Some(Question::Block(
                    newest.checked_sub(self.config.confirmations).unwrap_or(newest),
                )))
            }
            Question::Block(wanted) if result.is_null() => Err(L1Error::NoBlock(wanted)),
            Question::Block(wanted) => {
                let header: Header = serde_json::from_value(result.clone()).map_err(|_| wrong())?;
                if header.number.to::<u64>() != wanted {
                    return Err(wrong());
                }
                self.timestamp = header.timestamp.map(|timestamp| timestamp.to());
                Ok(Some(Question::Slot(wanted, header.hash)))
            }
            Question::Slot(block, _) => {
                let word: B256 = serde_json::from_value(result.clone()).map_err(|_| wrong())?;
                let signer = Address::from_word(word);
                let signer = Some(signer).filter(|signer| !signer.is_zero());
                self.told = Some(L1Step::Signer { signer, block, timestamp: self.timestamp });
                Ok(None)
            }
        }
    }

    fn failed(&mut self, now: Instant, error: L1Error) {
        self.failures = self.failures.saturating_add(1);
        // An operator who configured the wrong node should learn of it in less than a minute.
        let is_hopeless = matches!(error, L1Error::WrongChain { .. });
        let is_last = !self.has_begun && (is_hopeless || self.failures == FIRST_ATTEMPTS);
        let wait = if self.has_begun {
            let longest = self.config.reload.unwrap_or(RETRY).max(RETRY);
            RETRY.saturating_mul(1 << (self.failures - 1).min(16)).min(longest)
        } else {
            RETRY
        };
        self.has_begun |= is_last;
        // Next time, the address may lead to a different node.
        self.knows_chain = false;
        self.state = State::Waiting(Some(now + wait));
        self.told = Some(if is_last { L1Step::GaveUp(error) } else { L1Step::Failed(error) });
    }

    /// Returns the next step, or `None` if nothing is left to do for now.
    pub fn poll(&mut self, now: Instant) -> Option<L1Step> {
        if let State::Awaiting { until, .. } = self.state
            && until <= now
        {
            self.failed(now, L1Error::Timeout);
        }
        if let Some(told) = self.told.take() {
            return Some(told);
        }
        if let State::Waiting(Some(at)) = self.state
            && at <= now
        {
            self.state =
                State::Asking(if self.knows_chain { Question::Newest } else { Question::Chain });
        }
        let State::Asking(question) = self.state else { return None };
        let id = self.next_id;
        self.next_id += 1;
        self.state = State::Awaiting { question, id, until: now + TIMEOUT };
        let (method, params) = (question.method(), question.parameters(self.config.contract));
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        Some(L1Step::Ask { id, body: body.to_string() })
    }

    /// Returns the time of the next [`Self::poll`] if nothing happens earlier.
    pub const fn next_wakeup(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => at,
            State::Asking(_) => None,
            State::Awaiting { until, .. } => Some(until),
        }
    }
}

/// Returns the beginning of a body, which may be a whole page from a proxy.
fn head_of(body: &[u8]) -> &[u8] {
    &body[..body.len().min(400)]
}

#[cfg(test)]
mod tests;
