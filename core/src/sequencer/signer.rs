//! Signing with a key held by this process.

use crate::gossip::{
    BLOCK_DOMAIN, SIGNATURE_SIZE, Signature, payload_hash, public_key, sign, signing_hash,
};
use crate::payload::{EncodeError, Envelope, PayloadVersion};
use alloy_primitives::{Address, B256, keccak256};
use std::fmt;

/// A secret key, overwritten when dropped.
pub struct LocalSigner {
    secret: zeroize::Zeroizing<[u8; 32]>,
    address: Address,
}

/// Error for bytes that are not a secret key: zero, or not below the group's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a secp256k1 secret key: zero, or not below the group's order")]
pub struct InvalidSecretKey;

impl LocalSigner {
    /// Creates the signer with this secret key.
    ///
    /// # Errors
    /// If the bytes are zero or not below the group's order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, InvalidSecretKey> {
        let key = public_key(secret).ok_or(InvalidSecretKey)?;
        let address = Address::from_slice(&keccak256(key)[12..]);
        Ok(Self { secret: zeroize::Zeroizing::new(*secret), address })
    }

    /// Returns the address that its signatures recover to.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a signing hash.
    pub fn sign(&self, signing_hash: &B256) -> Signature {
        sign(&self.secret, signing_hash).expect("the key was checked when the signer was made")
    }

    /// Returns the gossip message of a block before compression, that is, the signature and the
    /// encoded block; and the block's version, which determines the topic.
    ///
    /// A node publishes by [`Input::Publish`](crate::node::Input::Publish), which also checks the
    /// block. This is for tests and tools.
    ///
    /// # Errors
    /// If the payload's fields match no version.
    pub fn sign_block(
        &self,
        chain_id: u64,
        envelope: &Envelope,
    ) -> Result<(PayloadVersion, Vec<u8>), EncodeError> {
        let mut message = vec![0; SIGNATURE_SIZE];
        let version = envelope.encode(&mut message)?;
        self.sign_message(chain_id, &mut message);
        Ok((version, message))
    }

    /// Returns the message with this body, which need not be a block.
    pub fn sign_body(&self, chain_id: u64, body: &[u8]) -> Vec<u8> {
        let mut message = [&[0; SIGNATURE_SIZE], body].concat();
        self.sign_message(chain_id, &mut message);
        message
    }

    /// Writes the signature of the body in front of it.
    fn sign_message(&self, chain_id: u64, message: &mut [u8]) {
        if let Some((signature, body)) = message.split_first_chunk_mut::<SIGNATURE_SIZE>() {
            let hash = signing_hash(BLOCK_DOMAIN, chain_id.into(), payload_hash(body));
            *signature = self.sign(&hash);
        }
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSigner").field("address", &self.address).finish_non_exhaustive()
    }
}
