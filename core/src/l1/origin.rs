//! Origins of the unsafe-block signer, and which of them counts.

use alloy_primitives::Address;

/// Origin of the unsafe-block signer in force.
///
/// The operator's word counts for good. Otherwise L1 counts as soon as it is read, and until then
/// the chain configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignerOrigin {
    /// No signer is known.
    #[default]
    Nobody,
    /// The chain configuration, until L1 is read.
    ChainConfig,
    /// The operator (`--signer`), for good.
    Operator,
    /// The SystemConfig contract on L1.
    L1,
    /// A caller of the driver, such as a test.
    Caller,
}

impl SignerOrigin {
    /// Returns the origin at the start, given the signers that the operator and the chain
    /// configuration name.
    pub const fn at_start(operator: Option<Address>, chain: Option<Address>) -> Self {
        match (operator, chain) {
            (Some(_), _) => Self::Operator,
            (None, Some(_)) => Self::ChainConfig,
            (None, None) => Self::Nobody,
        }
    }

    /// Returns `true` if L1 is to be read: the operator has not named the signer.
    pub const fn reads_l1(self) -> bool {
        !matches!(self, Self::Operator)
    }

    /// Returns the name for JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::ChainConfig => "chain configuration",
            Self::Operator => "operator",
            Self::L1 => "L1",
            Self::Caller => "caller",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_counts_most_and_then_l1() {
        let (operator, chain) = (Some(Address::ZERO), Some(Address::repeat_byte(1)));
        for (operator, chain, origin, reads_l1) in [
            (operator, chain, SignerOrigin::Operator, false),
            (operator, None, SignerOrigin::Operator, false),
            (None, chain, SignerOrigin::ChainConfig, true),
            (None, None, SignerOrigin::Nobody, true),
        ] {
            let found = SignerOrigin::at_start(operator, chain);
            assert_eq!((found, found.reads_l1()), (origin, reads_l1));
        }
    }
}
