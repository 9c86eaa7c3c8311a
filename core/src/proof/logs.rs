//! The logs filter of `eth_getLogs` over proved receipts.
//!
//! A header's bloom filter shows that a block has no matching log: only the receipts of the other
//! blocks must be fetched.

use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};

use super::receipts::{ProvedReceipt, ProvedReceipts};

/// Maximum number of addresses and topics in a filter that is read from JSON.
pub const MAX_FILTER_ENTRIES: usize = 1024;

/// A filter for logs by address and topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// A log must have one of these addresses. An empty list matches every address.
    pub addresses: Vec<Address>,
    /// For each position: a log must have one of these topics there. An empty list matches every
    /// topic, but a log must have at least as many topics as there are positions.
    pub topics: Vec<Vec<B256>>,
}

impl LogFilter {
    /// Returns `true` if the log matches.
    pub fn matches(&self, log: &Log) -> bool {
        let topics = log.topics();
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= topics.len()
            && self
                .topics
                .iter()
                .zip(topics)
                .all(|(any, topic)| any.is_empty() || any.contains(topic))
    }

    /// Returns the filter in the form for [bloom filters](FilterBlooms::may_match). Hashes each
    /// entry once.
    pub fn blooms(&self) -> FilterBlooms {
        let addresses = self.addresses.iter().map(|address| bloom_of(address.as_slice())).collect();
        let topics = self.topics.iter();
        let topics = topics.map(|any| any.iter().map(|topic| bloom_of(topic.as_slice())).collect());
        FilterBlooms(std::iter::once(addresses).chain(topics).collect())
    }

    /// Returns the matching logs of a block, in their order.
    pub fn select<'a>(
        &'a self,
        block: &'a ProvedReceipts,
    ) -> impl Iterator<Item = ProvedLog<'a>> + 'a {
        block.logs().filter(|log| self.matches(log.log))
    }
}

/// The addresses, and the topics of each position, of a filter in their form in a bloom filter.
#[derive(Clone, Debug)]
pub struct FilterBlooms(Vec<Vec<Bloom>>);

impl FilterBlooms {
    /// Returns `false` if a block or receipt with this bloom filter has no matching log.
    pub fn may_match(&self, logs_bloom: &Bloom) -> bool {
        self.0.iter().all(|any| any.is_empty() || any.iter().any(|one| logs_bloom.contains(one)))
    }
}

fn bloom_of(bytes: &[u8]) -> Bloom {
    let mut bloom = Bloom::ZERO;
    bloom.accrue(BloomInput::Raw(bytes));
    bloom
}

/// A log of a proved receipt, with its position in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvedLog<'a> {
    /// The contract, the topics and the data.
    pub log: &'a Log,
    /// Hash of the transaction.
    pub transaction_hash: B256,
    /// Index of the transaction in the block.
    pub transaction_index: u64,
    /// Index of the log in the block.
    pub log_index: u64,
}

impl ProvedReceipts {
    /// Returns all logs of the block, in their order.
    pub fn logs(&self) -> impl Iterator<Item = ProvedLog<'_>> {
        let receipts = self.receipts.iter().zip(0..);
        receipts.flat_map(|(receipt, transaction_index)| receipt.logs(transaction_index))
    }
}

impl ProvedReceipt {
    fn logs(&self, transaction_index: u64) -> impl Iterator<Item = ProvedLog<'_>> {
        self.receipt.logs.iter().zip(self.first_log..).map(move |(log, log_index)| ProvedLog {
            log,
            transaction_hash: self.transaction_hash,
            transaction_index,
            log_index,
        })
    }
}
