//! Reasons for not accepting a message: one for each check, in the order of the checks. The numbers
//! give the reference's order, which has the signature first: see [`validate`](super::validate).

use std::fmt;

/// Gossip's action for a message, in the terms of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acceptance {
    /// Valid: relay it.
    Accept,
    /// Neither relay it nor count it against the sender.
    Ignore,
    /// Invalid: don't relay it, and count it against the sender.
    Reject,
}

impl Acceptance {
    /// Returns `accept`, `ignore` or `reject`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Ignore => "ignore",
            Self::Reject => "reject",
        }
    }
}

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $acceptance:ident, $text:literal;)*) => {
        /// The check that a message failed (`op-node/p2p/gossip.go`, `BuildBlocksValidator`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All reasons, in the order of the checks.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns a short name for metrics and JSON: lower case, words joined by `_`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns gossip's action for a message that fails this check.
            pub const fn acceptance(self) -> Acceptance {
                match self {
                    $(Self::$variant => Acceptance::$acceptance,)*
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// 1: the snappy length header does not parse.
    SnappyHeader = "snappy_header" => Reject, "the snappy length header is invalid";
    /// 2: the message announces more than 10 MiB.
    AnnouncedTooLong = "announced_too_long" => Reject, "more than 10 MiB are announced";
    /// 3: the message announces fewer than 66 bytes.
    AnnouncedTooShort = "announced_too_short" => Reject, "fewer than 66 bytes are announced";
    /// 4: the snappy block does not decode.
    SnappyBody = "snappy_body" => Reject, "the snappy block does not decode";
    /// 7: no signer is known for this chain, so no message can be judged. Checked before the key
    /// recovery, as in the newer reference.
    NoSigner = "no_signer" => Ignore, "no unsafe block signer is configured";
    /// 9: the payload does not decode as the topic's version.
    Payload = "payload" => Reject, "the payload does not decode as the topic's version";
    /// 10: the timestamp is older than the window allows (60 s).
    TooOld = "too_old" => Reject, "the timestamp is too old";
    /// 10, but only because the configured limit is below the usual 60 s. The sender is not at
    /// fault: other nodes relay blocks up to the usual limit.
    TooOldHere = "too_old_here" => Ignore,
        "the timestamp is older than this node is configured to accept";
    /// 11: the timestamp is more than 5 s ahead.
    TooNew = "too_new" => Reject, "the timestamp is too far in the future";
    /// 10 or 11, but no block has confirmed this node's clock since the start, or since it jumped.
    /// The sender is not at fault.
    ClockInDoubt = "clock_in_doubt" => Ignore,
        "the timestamp is too old or too new, but our clock may be wrong";
    /// 13: a withdrawal list on v1.
    WithdrawalsPresent = "withdrawals_present" => Reject, "a v1 payload has a withdrawal list";
    /// 14: no withdrawal list on v2 or later.
    WithdrawalsMissing = "withdrawals_missing" => Reject, "the withdrawal list is missing";
    /// 15: the withdrawal list is not empty.
    WithdrawalsNotEmpty = "withdrawals_not_empty" => Reject, "the withdrawal list is not empty";
    /// 16: blob gas used on v1 or v2.
    BlobGasUsedPresent = "blob_gas_used_present" => Reject, "blob gas used is present before v3";
    /// 17: excess blob gas on v1 or v2.
    ExcessBlobGasPresent = "excess_blob_gas_present" => Reject,
        "excess blob gas is present before v3";
    /// 18: blob gas used is missing on v3 or later. [`Self::ForkBlobGas`] checks that it is zero
    /// before Jovian.
    BlobGasUsed = "blob_gas_used" => Reject, "blob gas used is missing";
    /// 19: excess blob gas is missing or not zero.
    ExcessBlobGas = "excess_blob_gas" => Reject, "excess blob gas is missing or not zero";
    /// 20: no parent beacon block root on v3 or later.
    BeaconRootMissing = "beacon_root_missing" => Reject, "the parent beacon block root is missing";
    /// 21: no withdrawals root on v4.
    WithdrawalsRootMissing = "withdrawals_root_missing" => Reject,
        "the withdrawals root is missing";
    /// From Denim on, the second transaction calls the contract of the BaseTime deposit, but it is
    /// not that deposit. Base's client also rejects this and the next two.
    BaseTimeForm = "base_time_form" => Reject,
        "the second transaction is a malformed BaseTime deposit";
    /// The BaseTime deposit has 1000 or more milliseconds.
    BaseTimeMillis = "base_time_millis" => Reject,
        "the BaseTime deposit has 1000 or more milliseconds";
    /// A second transaction of the block calls the contract of the BaseTime deposit.
    BaseTimeTwice = "base_time_twice" => Reject, "there is a second BaseTime deposit";
    /// 6: no public key can be recovered from the signature.
    Signature = "signature" => Reject, "no public key can be recovered from the signature";
    /// 8: another key signed.
    WrongSigner = "wrong_signer" => Reject, "signed by another key than the unsafe block signer's";
    /// 8: another key signed, but the signer may have changed. The sender is blamed later if the
    /// signer turns out not to have changed: see
    /// [`ValidatorStep::Blame`](super::ValidatorStep::Blame).
    SignerInDoubt = "signer_in_doubt" => Ignore,
        "signed by another key, while the unsafe block signer changes or may have changed";
    /// 12: the block hash does not match the contents.
    BlockHash = "block_hash" => Reject, "the block hash does not match the contents";
    /// 12, but the signature is right, and no block of this time or later had the hash that this
    /// version computes. A fork that the configuration does not name may have changed the header:
    /// then every honest peer sends such blocks, so the sender is not at fault.
    HashInDoubt = "hash_in_doubt" => Ignore,
        "the sequencer signed another block hash than this version computes, perhaps by a new fork";
    /// 18: blob gas used is not zero, and Jovian is not active by our schedule. The reasons from
    /// here to [`Self::ForkBaseTimeSource`] apply to blocks that the sequencer signed and that only
    /// our fork schedule refuses: see [`ScheduleRule`](super::ScheduleRule). The chain view still
    /// accepts the block.
    ForkBlobGas = "fork_blob_gas" => Ignore,
        "blob gas used is not zero, but Jovian is not active in our schedule";
    /// There is a BaseTime deposit, and Denim is not active by our schedule.
    ForkBaseTimeEarly = "fork_base_time_early" => Ignore,
        "there is a BaseTime deposit, but Denim is not active in our schedule";
    /// There is no BaseTime deposit, and Denim is active by our schedule.
    ForkBaseTimeMissing = "fork_base_time_missing" => Ignore,
        "the BaseTime deposit is missing, but Denim is active in our schedule";
    /// The timestamp is not the one that our schedule gives for the number.
    ForkTimestamp = "fork_timestamp" => Ignore,
        "the timestamp does not match the block number in our schedule";
    /// The milliseconds are not the ones that our schedule gives for the number.
    ForkMillis = "fork_millis" => Ignore,
        "the milliseconds do not match the block number in our schedule";
    /// The source hash of the BaseTime deposit is not the one that we compute from the number.
    /// Base's gossip does not check it.
    ForkBaseTimeSource = "fork_base_time_source" => Ignore,
        "the source hash of the BaseTime deposit does not match the block number";
    /// A check that a fork may change failed, and a fork that this software does not know is active
    /// by the chain's configuration.
    UnknownFork = "unknown_fork" => Ignore,
        "the block breaks a rule that an active fork, which this version does not know, may change";
    /// 22: six blocks of this number were already accepted on this topic.
    TooManyBlocks = "too_many_blocks" => Reject, "too many different blocks of this number";
    /// 23: this block was already accepted on this topic.
    AlreadySeen = "already_seen" => Ignore, "this block was already accepted";
    /// Validation is saturated: the message is dropped and stays known as seen, as in the
    /// reference. The sender is not at fault.
    Throttled = "throttled" => Ignore, "validation is saturated";
    /// The validation job panicked, which is a bug in this program. The sender is not at fault:
    /// otherwise every node with the same bug would ban all of its honest neighbours at once. The
    /// reference's guard rejects the message.
    Panicked = "panicked" => Ignore, "the validation failed unexpectedly";
}

impl Reason {
    /// Returns `true` if a fork may change the rule: fields may come or go, and with them the
    /// payload's layout and the hash.
    pub(super) const fn may_change_by_fork(self) -> bool {
        matches!(
            self,
            Self::Payload
                | Self::WithdrawalsPresent
                | Self::WithdrawalsMissing
                | Self::WithdrawalsNotEmpty
                | Self::BlobGasUsedPresent
                | Self::ExcessBlobGasPresent
                | Self::BlobGasUsed
                | Self::ExcessBlobGas
                | Self::BeaconRootMissing
                | Self::WithdrawalsRootMissing
                | Self::BaseTimeForm
                | Self::BaseTimeMillis
                | Self::BaseTimeTwice
                | Self::BlockHash
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
