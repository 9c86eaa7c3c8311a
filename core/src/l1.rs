//! The unsafe-block signer as L1 has it: read from the chain's SystemConfig contract
//! (`op-node/node/runtime_config.go`, `op-node/node/node.go`).
//!
//! [`SignerSource`] decides what to ask an L1 node and when, as JSON-RPC bodies; the driver posts them. A load asks for the
//! newest block, for the hash of the one that is deep enough, and for the contract's slot at that hash; the first load also
//! asks which chain it is. A load is as good as its last answer: nothing of a load that fails counts.
//!
//! # When
//! At the start, up to [`FIRST_ATTEMPTS`] times with [`RETRY`] between; then every [`L1Config::reload`]. Unlike the reference,
//! which waits for the next tick after a failure, a failed reload is tried again after [`RETRY`], each time twice as long
//! up to the interval, and [`SignerSource::hurry`] asks at once when blocks of an unknown signer come.
//!
//! # Bounds
//! One request under way, for [`TIMEOUT`] at most. An answer has at most [`MAX_ANSWER`] bytes; the operator's L1 node sends
//! them. Hurried loads: one in [`HURRY_INTERVAL`], however often strangers ask for one.

use crate::time::Instant;
use alloy_primitives::{Address, B256, U64, b256};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Where the contract keeps the signer: the hash of `systemconfig.unsafeblocksigner`.
pub const SIGNER_SLOT: B256 = b256!("65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08");
/// Time for one answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at the first load.
pub const FIRST_ATTEMPTS: u32 = 5;
/// Between two attempts.
pub const RETRY: Duration = Duration::from_secs(10);
/// Between two loads that somebody hurried.
pub const HURRY_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read: a block's header and its transactions' hashes.
pub const MAX_ANSWER: usize = 4 << 20;

/// What is read, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Config {
    /// The L1 chain on which the contract is.
    pub chain_id: u64,
    /// The chain's SystemConfig contract.
    pub contract: Address,
    /// Blocks below the newest one at which it is read (`--verifier.l1-confs`).
    pub confirmations: u64,
    /// Between two loads (`--l1.runtime-config-reload-interval`, 10 minutes); `None`: only the first.
    pub reload: Option<Duration>,
}

/// Something to do or to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum L1Step {
    /// Post this body to the L1 node, as `application/json`, and give back what comes by [`SignerSource::answered`].
    Ask {
        /// Names the request.
        id: u64,
        /// The body.
        body: String,
    },
    /// A load ended: this is the signer at that L1 block; `None` if the contract names none.
    Signer {
        /// The signer.
        signer: Option<Address>,
        /// Number of the L1 block at which it was read.
        block: u64,
    },
    /// A load failed; the next one comes by itself.
    Failed(L1Error),
    /// The first load failed [`FIRST_ATTEMPTS`] times, or the node is of the wrong chain. A node that knows no signer otherwise should not go on. It is told
    /// once, and attempts go on.
    GaveUp(L1Error),
}

/// Why a load failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L1Error {
    /// Nothing came back; one sentence of the driver's.
    #[error("the L1 node can't be asked: {0}")]
    Transport(String),
    /// Nothing came back in time.
    #[error("the L1 node did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The node refused.
    #[error("the L1 node refused {method}: {message} (code {code})")]
    Refused {
        /// What it was asked.
        method: &'static str,
        /// Its code.
        code: i64,
        /// Its words, shortened.
        message: String,
    },
    /// What came is no answer to what was asked.
    #[error("the L1 node's answer to {method} makes no sense: {found}")]
    Nonsense {
        /// What it was asked.
        method: &'static str,
        /// What came, shortened.
        found: String,
    },
    /// The node is of another chain.
    #[error("the L1 node is on chain {found}, and this chain's L1 is {expected}; give the right --l1")]
    WrongChain {
        /// The L1 of the chain that is followed.
        expected: u64,
        /// The node's.
        found: u64,
    },
    /// The node has not the block that it said it has.
    #[error("the L1 node does not have its own block {0}")]
    NoBlock(u64),
}

/// What is asked next in a load.
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
            // EIP-1898: a reorg between the two questions is an error, not another chain's answer.
            Self::Slot(_, hash) => {
                json!([contract, SIGNER_SLOT, { "blockHash": hash, "requireCanonical": false }])
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next load begins then; `None`: never.
    Waiting(Option<Instant>),
    /// A request is to be sent.
    Asking(Question),
    /// Its answer is awaited until then.
    Awaiting { question: Question, id: u64, until: Instant },
}

/// Asks L1 who signs: see the [module's documentation](self).
#[derive(Clone, Debug)]
pub struct SignerSource {
    config: L1Config,
    state: State,
    next_id: u64,
    /// Whether the node was seen to be of the right chain.
    knows_chain: bool,
    /// Whether a load ever succeeded, or was given up.
    has_begun: bool,
    /// Loads that failed since the last one that did not.
    failures: u32,
    last_hurry: Option<Instant>,
    told: Option<L1Step>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Header {
    number: U64,
    hash: B256,
}

impl SignerSource {
    /// The first load begins at `now`.
    pub const fn new(now: Instant, config: L1Config) -> Self {
        Self {
            config,
            state: State::Waiting(Some(now)),
            next_id: 0,
            knows_chain: false,
            has_begun: false,
            failures: 0,
            last_hurry: None,
            told: None,
        }
    }

    /// Blocks of a signer come that nobody knows: the next load begins now, unless one is under way or was hurried just
    /// before.
    pub fn hurry(&mut self, now: Instant) {
        let is_early = self.last_hurry.is_some_and(|last| now.since(last) < HURRY_INTERVAL);
        if matches!(self.state, State::Waiting(_)) && !is_early {
            self.last_hurry = Some(now);
            self.state = State::Waiting(Some(now));
        }
    }

    /// The body of an answer, or one sentence on why there is none.
    pub fn answered(&mut self, now: Instant, id: u64, body: Result<&[u8], String>) {
        let State::Awaiting { question, id: asked, .. } = self.state else { return };
        // One that came after its time.
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

    /// Takes an answer. What is to be asked next; nothing at the end, when the signer is to be told.
    fn read(&mut self, question: Question, body: &[u8]) -> Result<Option<Question>, L1Error> {
        let method = question.method();
        let nonsense = |found: &str| L1Error::Nonsense { method, found: shortened(found) };
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| nonsense(&String::from_utf8_lossy(head_of(body))))?;
        if let Some(Refusal { code, message }) = answer.error {
            return Err(L1Error::Refused { method, code, message: shortened(&message) });
        }
        let result = answer.result.unwrap_or_default();
        // A number without a digit would read as zero.
        let number = |value: &Value| {
            let text = value.as_str().filter(|text| text.len() > 2)?;
            text.parse::<U64>().map(|number| number.to::<u64>()).ok()
        };
        let wrong = || nonsense(&result.to_string());
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
                // The reference reads the newest one itself where there are fewer blocks than that.
                Ok(Some(Question::Block(newest.checked_sub(self.config.confirmations).unwrap_or(newest))))
            }
            Question::Block(wanted) if result.is_null() => Err(L1Error::NoBlock(wanted)),
            Question::Block(wanted) => {
                let header: Header = serde_json::from_value(result.clone()).map_err(|_| wrong())?;
                if header.number.to::<u64>() != wanted {
                    return Err(wrong());
                }
                Ok(Some(Question::Slot(wanted, header.hash)))
            }
            Question::Slot(block, _) => {
                let word: B256 = serde_json::from_value(result.clone()).map_err(|_| wrong())?;
                let signer = Address::from_word(word);
                let signer = Some(signer).filter(|signer| !signer.is_zero());
                self.told = Some(L1Step::Signer { signer, block });
                Ok(None)
            }
        }
    }

    fn failed(&mut self, now: Instant, error: L1Error) {
        self.failures = self.failures.saturating_add(1);
        // An operator who named the wrong node should hear of it before a minute has passed.
        let is_hopeless = matches!(error, L1Error::WrongChain { .. });
        let is_last = !self.has_begun && (is_hopeless || self.failures == FIRST_ATTEMPTS);
        let wait = if self.has_begun {
            let longest = self.config.reload.unwrap_or(RETRY).max(RETRY);
            RETRY.saturating_mul(1 << (self.failures - 1).min(16)).min(longest)
        } else {
            RETRY
        };
        self.has_begun |= is_last;
        // The node behind the address may be another one next time.
        self.knows_chain = false;
        self.state = State::Waiting(Some(now + wait));
        self.told = Some(if is_last { L1Step::GaveUp(error) } else { L1Step::Failed(error) });
    }

    /// The next thing to do or to tell; `None` when all is done for now.
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
            self.state = State::Asking(if self.knows_chain { Question::Newest } else { Question::Chain });
        }
        let State::Asking(question) = self.state else { return None };
        let id = self.next_id;
        self.next_id += 1;
        self.state = State::Awaiting { question, id, until: now + TIMEOUT };
        let (method, params) = (question.method(), question.parameters(self.config.contract));
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        Some(L1Step::Ask { id, body: body.to_string() })
    }

    /// When [`Self::poll`] has something to do, if nothing happens before.
    pub const fn next_wakeup(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => at,
            State::Asking(_) => None,
            State::Awaiting { until, .. } => Some(until),
        }
    }
}

/// The beginning of a body, which may be a whole page of a proxy's.
fn head_of(body: &[u8]) -> &[u8] {
    &body[..body.len().min(400)]
}

/// At most a line of somebody else's text.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    let line: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests;
