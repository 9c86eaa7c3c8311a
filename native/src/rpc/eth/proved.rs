//! Methods that need an untrusted endpoint, whose answers the node's own blocks prove
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
        "the block is not known, or too old to be proved, or no endpoint has its state yet; no \
         source reports the `safe` or `finalized` block",
    ),
    (UNPROVED, "no endpoint gave an answer that could be proved"),
    (BUSY, "too many reads wait already"),
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
        "Returns an account and its slots with the proofs, which are verified.",
        "`{address, accountProof, balance, codeHash, nonce, storageHash, storageProof}`",
    ),
    method(
        "eth_getTransactionReceipt",
        &[Parameter::new("hash", "a transaction hash")],
        "Returns a receipt, proved by the block's receipts root. Fees for L1 data are left out.",
        "a receipt in the execution API's format, or `null` if neither the node nor an endpoint \
         knows a block with the transaction",
    ),
    method(
        "eth_getBlockReceipts",
        &[Parameter::new(
            "block",
            "a block number in hexadecimal, a hash, or a tag as for `eth_getBalance`",
        )],
        "Returns a block's receipts, proved by its receipts root. Fees for L1 data are left out.",
        "a list of receipts, or `null` if the block is not known",
    ),
    method(
        "eth_getLogs",
        &[Parameter::new("filter", "`{fromBlock, toBlock, blockHash, address, topics}`")],
        "Returns the logs of at most 1024 blocks. The blocks' bloom filters show which of them \
         have none, and their receipts, which are proved, have all others.",
        "a list of logs",
    ),
    method(
        "eth_sendRawTransaction",
        &[Parameter::new("transaction", "a signed transaction")],
        "Sends a transaction to all endpoints. An endpoint's word that it accepted the transaction \
         is not proved.",
        "the transaction's hash, which is computed by the node",
    )
    .fails(&[
        (NOT_FOUND, "the node was started without `--l2.proofs`"),
        (FAILED, "every endpoint refused it: the first one's error, whose code may be another"),
        (UNPROVED, "no endpoint answered"),
    ]),
];
