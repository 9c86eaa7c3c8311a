//! Methods that read from untrusted endpoints and verify the answers against the node's own blocks
//! (`--l2.proofs`).

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
