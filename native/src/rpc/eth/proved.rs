//! Methods that read from untrusted endpoints and verify the answers against the node's own blocks
//! (`--l2.proofs`).

#[cfg(feature = "evm")]
use crate::rpc::error::REVERTED;
use crate::rpc::error::{ANSWER_TOO_LONG, BUSY, FAILED, NOT_FOUND, UNPROVED};
use crate::rpc::method::{Limit, Method, Parameter, Work};
use crate::rpc::proofs::PROOF_TIME;

const ADDRESS: Parameter = Parameter::new("address", "an address");
const BLOCK: Parameter = Parameter::optional(
    "block",
    "a block number in hexadecimal, a hash, `{\"blockHash\": HASH}`, `{\"blockNumber\": NUMBER}`, \
     or `latest`, `pending`, `safe`, `finalized` or `earliest`; `latest` by default",
);
const SLOT: Parameter = Parameter::new("slot", "a slot in hexadecimal");

#[cfg(feature = "evm")]
const CALL: Parameter = Parameter::new(
    "call",
    "`{from, to, gas, gasPrice, maxFeePerGas, maxPriorityFeePerGas, value, input, accessList, \
     authorizationList}`, each of which may be missing",
);
#[cfg(feature = "evm")]
const OVERRIDES: Parameter =
    Parameter::optional("overrides", "nothing: overrides of the state can't be proved");

const ERRORS: &[(i32, &str)] = &[
    (NOT_FOUND, "the node was started without `--l2.proofs`"),
    (
        FAILED,
        "the block is unknown or too old to be proved, no endpoint has its state yet, or no source \
         reports the `safe` or `finalized` block",
    ),
    (UNPROVED, "no endpoint gave a provable answer"),
    (BUSY, "too many reads are pending"),
    (ANSWER_TOO_LONG, "the read needs too much memory"),
];

const fn method(
    name: &'static str,
    parameters: &'static [Parameter],
    does: &'static str,
    result: &'static str,
) -> Method {
    Method::new(name, parameters, does, result, Work::Prove)
        .fails(ERRORS)
        .within(Limit::Fixed(PROOF_TIME))
}

#[cfg(feature = "evm")]
const CALL_ERRORS: &[(i32, &str)] = &[
    (REVERTED, "a contract reverted the call; the error's `data` has the contract's reason"),
    (NOT_FOUND, "the node was started without `--l2.proofs`"),
    (
        FAILED,
        "the call failed or is not valid; the rules of the chain's fork are not known; or the \
         block is unknown or too old to be proved, or no endpoint has its state yet",
    ),
    (UNPROVED, "no endpoint gave a provable answer"),
    (BUSY, "too many reads are pending"),
    (ANSWER_TOO_LONG, "the call reads too much state"),
];

#[cfg(feature = "evm")]
const fn call(name: &'static str, does: &'static str, result: &'static str) -> Method {
    method(name, &[CALL, BLOCK, OVERRIDES], does, result).fails(CALL_ERRORS)
}

/// The methods that execute a call over proved state.
#[cfg(feature = "evm")]
pub(in crate::rpc) const CALLS: &[Method] = &[
    call(
        "eth_call",
        "Executes a call in the node, and returns what the called contract returns. All state that \
         the execution reads is proved by the block's state root.",
        "bytes in hexadecimal",
    ),
    call(
        "eth_estimateGas",
        "Estimates the gas that a call needs, by executing it in the node over proved state.",
        "a number in hexadecimal",
    ),
    call(
        "eth_createAccessList",
        "Returns the accounts and slots that a call touches, by executing it in the node over \
         proved state.",
        "`{accessList, gasUsed, error}`, with `error` only if the call fails",
    ),
];

/// Without an executor, calls are unknown methods.
#[cfg(not(feature = "evm"))]
pub(in crate::rpc) const CALLS: &[Method] = &[];

/// The methods.
pub(in crate::rpc) const METHODS: [Method; 9] = [
    method(
        "eth_getBalance",
        &[ADDRESS, BLOCK],
        "Returns an account's balance, proved by the block's state root.",
        "an amount of wei in hexadecimal",
    ),
    method(
        "eth_getTransactionCount",
        &[ADDRESS, BLOCK],
        "Returns an account's nonce, proved by the block's state root. `pending` is the same as \
         `latest`.",
        "a number in hexadecimal",
    ),
    method(
        "eth_getCode",
        &[ADDRESS, BLOCK],
        "Returns an account's code, proved by the block's state root.",
        "bytes in hexadecimal",
    ),
    method(
        "eth_getStorageAt",
        &[ADDRESS, SLOT, BLOCK],
        "Returns the value of a slot, proved by the block's state root.",
        "32 bytes in hexadecimal",
    ),
    method(
        "eth_getProof",
        &[ADDRESS, Parameter::new("slots", "a list of at most 1024 slots"), BLOCK],
        "Returns an account and its slots with verified proofs.",
        "`{address, accountProof, balance, codeHash, nonce, storageHash, storageProof}`",
    ),
    method(
        "eth_getTransactionReceipt",
        &[Parameter::new("hash", "a transaction hash")],
        "Returns a receipt, proved by the block's receipts root. The L1 fees are computed from the \
         block's transactions.",
        "a receipt in the execution API's format, or `null` if neither the node nor an endpoint \
         knows a block with the transaction",
    ),
    method(
        "eth_getBlockReceipts",
        &[Parameter::new(
            "block",
            "a block number in hexadecimal, a hash, or a tag as for `eth_getBalance`",
        )],
        "Returns a block's receipts, proved by its receipts root. The L1 fees are computed from \
         the block's transactions.",
        "a list of receipts, or `null` if the block is unknown",
    ),
    method(
        "eth_getLogs",
        &[Parameter::new("filter", "`{fromBlock, toBlock, blockHash, address, topics}`")],
        "Returns the logs of at most 1024 blocks. Bloom filters rule out blocks without a matching \
         log. The receipts of the other blocks are proved.",
        "a list of logs",
    ),
    method(
        "eth_sendRawTransaction",
        &[Parameter::new("transaction", "a signed transaction")],
        "Sends a transaction to all endpoints. An endpoint's claim that it accepted the \
         transaction is not verified.",
        "the transaction's hash, which is computed by the node",
    )
    .fails(&[
        (NOT_FOUND, "the node was started without `--l2.proofs`"),
        (FAILED, "every endpoint refused it: the first one's error, possibly with its own code"),
        (UNPROVED, "no endpoint answered"),
    ]),
];
