//! Signing with a key that this process holds.

use crate::gossip::{Signature, public_key, sign};
use alloy_primitives::{Address, B256, keccak256};
use std::fmt;

/// A secret key, forgotten (overwritten) when dropped.
pub struct LocalSigner {
    secret: zeroize::Zeroizing<[u8; 32]>,
    address: Address,
}

/// The bytes are no secret key: zero, or not below the group's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a secp256k1 secret key: zero, or not below the group's order")]
pub struct InvalidSecretKey;

impl LocalSigner {
    /// The signer with this secret key.
    ///
    /// # Errors
    /// If the number is zero or not below the group's order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, InvalidSecretKey> {
        let key = public_key(secret).ok_or(InvalidSecretKey)?;
        let address = Address::from_slice(&keccak256(key)[12..]);
        Ok(Self { secret: zeroize::Zeroizing::new(*secret), address })
    }

    /// Address that its signatures recover to.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a signing hash.
    pub fn sign(&self, signing_hash: &B256) -> Signature {
        sign(&self.secret, signing_hash).expect("the key was checked when the signer was made")
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSigner").field("address", &self.address).finish_non_exhaustive()
    }
}
