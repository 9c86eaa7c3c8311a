//! Why a message was not accepted: one reason for each check, in the order of the checks. The numbers are the reference's order, which
//! looks at the signature first: see [`validate`](super::validate).

use std::fmt;

/// What gossip does with a message, in the terms of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acceptance {
    /// Valid: relay it.
    Accept,
    /// Neither relay it nor hold it against the sender.
    Ignore,
    /// Invalid: don't relay it, and count it against the sender.
    Reject,
}

impl Acceptance {
    /// `accept`, `ignore` or `reject`.
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
        /// The check that decided against a message (`op-node/p2p/gossip.go`, `BuildBlocksValidator`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All reasons, in the order of the checks.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// A short name for metrics and JSON: lower case, words joined by `_`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What happens to a message that fails this check.
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
    /// 2: more than 10 MiB are announced.
    AnnouncedTooLong = "announced_too_long" => Reject, "more than 10 MiB are announced";
    /// 3: fewer than 66 bytes are announced.
    AnnouncedTooShort = "announced_too_short" => Reject, "fewer than 66 bytes are announced";
    /// 4: the snappy block does not decode.
    SnappyBody = "snappy_body" => Reject, "the snappy block does not decode";
    /// 7: no signer is known for this chain, so nothing can be judged. Before the recovery, as the
    /// newer reference has it.
    NoSigner = "no_signer" => Ignore, "no unsafe block signer is configured";
    /// 9: the payload does not decode as the topic's version.
    Payload = "payload" => Reject, "the payload does not decode as the topic's version";
    /// 10: the timestamp is older than the window allows (60 s).
    TooOld = "too_old" => Reject, "the timestamp is too old";
    /// 11: the timestamp is more than 5 s ahead.
    TooNew = "too_new" => Reject, "the timestamp is too far in the future";
    /// 10 or 11, but this node's own clock has jumped, and no block has shown since that it is right. No fault of the
    /// sender.
    ClockInDoubt = "clock_in_doubt" => Ignore, "the timestamp is too old or too new by a clock that has jumped";
    /// 13: a withdrawal list on v1.
    WithdrawalsPresent = "withdrawals_present" => Reject, "a v1 payload has a withdrawal list";
    /// 14: no withdrawal list on v2 or later.
    WithdrawalsMissing = "withdrawals_missing" => Reject, "the withdrawal list is missing";
    /// 15: the withdrawal list is not empty.
    WithdrawalsNotEmpty = "withdrawals_not_empty" => Reject, "the withdrawal list is not empty";
    /// 16: blob gas used on v1 or v2.
    BlobGasUsedPresent = "blob_gas_used_present" => Reject, "blob gas used is present before v3";
    /// 17: excess blob gas on v1 or v2.
    ExcessBlobGasPresent = "excess_blob_gas_present" => Reject, "excess blob gas is present before v3";
    /// 18: blob gas used is missing, or not zero before Jovian.
    BlobGasUsed = "blob_gas_used" => Reject, "blob gas used is missing, or not zero before Jovian";
    /// 19: excess blob gas is missing or not zero.
    ExcessBlobGas = "excess_blob_gas" => Reject, "excess blob gas is missing or not zero";
    /// 20: no parent beacon block root on v3 or later.
    BeaconRootMissing = "beacon_root_missing" => Reject, "the parent beacon block root is missing";
    /// 21: no withdrawals root on v4.
    WithdrawalsRootMissing = "withdrawals_root_missing" => Reject, "the withdrawals root is missing";
    /// 6: no public key can be recovered from the signature.
    Signature = "signature" => Reject, "no public key can be recovered from the signature";
    /// 8: another key signed.
    WrongSigner = "wrong_signer" => Reject, "signed by another key than the unsafe block signer's";
    /// 8: another key signed, and the signer is being read anew: it may have changed. Whoever is to blame is blamed then.
    SignerInDoubt = "signer_in_doubt" => Ignore, "signed by another key, and the unsafe block signer is being read anew";
    /// 12: the block hash does not match the contents.
    BlockHash = "block_hash" => Reject, "the block hash does not match the contents";
    /// 22: six blocks of this number were accepted on this topic already.
    TooManyBlocks = "too_many_blocks" => Reject, "too many different blocks of this number";
    /// 23: this block was accepted on this topic already.
    AlreadySeen = "already_seen" => Ignore, "this block was accepted already";
    /// Validation can't keep up: the message is dropped and stays known as seen, as the reference
    /// drops it. No fault of the sender.
    Throttled = "throttled" => Ignore, "validation is saturated";
    /// The job failed for a reason of its own; counted as invalid like the reference's guard does.
    Panicked = "panicked" => Reject, "the validation failed unexpectedly";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
