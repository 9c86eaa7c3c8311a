//! The sequencer's signature over a block (`op-node/p2p/signer.go`): the signing hash and the
//! recovery of the signer.
//!
//! The hash binds the chain id and every byte after the signature. A signature for one block or
//! chain therefore recovers a different, random address for any other, which is why a recovered
//! address can be trusted. Malleability does no harm: the high-s twin of a signature is accepted,
//! as in the reference, and yields the same signer for the same bytes.

use alloy_primitives::{Address, B256, Keccak256, keccak256};

/// Size of a signature in bytes: r, s, recovery id.
pub const SIGNATURE_SIZE: usize = 65;
/// A signature: `r ++ s ++ v`, with big-endian r and s, and v from 0 to 3.
pub type Signature = [u8; SIGNATURE_SIZE];

/// Domain of block signatures, the same for every topic.
pub const BLOCK_DOMAIN: B256 = B256::ZERO;

/// A chain id in its signed form: 32 bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainIdWord(B256);

/// Error: the chain id has more than 256 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain_id is too large")]
pub struct ChainIdTooLarge;

impl ChainIdWord {
    /// Returns the word for a chain id, given as a big-endian number of any length.
    ///
    /// # Errors
    /// If the number needs more than 256 bits.
    pub fn from_be_bytes(number: &[u8]) -> Result<Self, ChainIdTooLarge> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let significant = &number[zeros..];
        if significant.len() > 32 {
            Err(ChainIdTooLarge)
        } else {
            Ok(Self(B256::left_padding_from(significant)))
        }
    }
}

impl From<u64> for ChainIdWord {
    fn from(chain_id: u64) -> Self {
        Self(B256::left_padding_from(&chain_id.to_be_bytes()))
    }
}

/// Returns the hash that the sequencer signs: `keccak256(domain ++ chain id ++ payload hash)`.
///
/// `payload_hash` is the [`payload_hash`] of everything after the signature.
pub fn signing_hash(domain: B256, chain_id: ChainIdWord, payload_hash: B256) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(domain);
    hasher.update(chain_id.0);
    hasher.update(payload_hash);
    hasher.finalize()
}

/// Returns `keccak256` over everything after the signature.
pub fn payload_hash(body: &[u8]) -> B256 {
    keccak256(body)
}

/// Error: no key could have produced this signature. v is not 0 to 3, r or s is zero or not below
/// the group's order, or r is not the x of any point on the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no public key can be recovered from the signature")]
pub struct Unrecoverable;

/// Returns the address of the key that produced `signature` over `hash`.
///
/// High-s signatures are accepted; a v of 27 or 28 is not.
///
/// # Errors
/// If no key could have produced it.
pub fn recover(signature: &Signature, hash: &B256) -> Result<Address, Unrecoverable> {
    let key = backend::recover(signature, hash)?;
    Ok(Address::from_slice(&keccak256(key)[12..]))
}

/// Returns the public key of a secret key, or `None` if the secret is zero or not below the group's
/// order.
pub(crate) fn public_key(secret: &[u8; 32]) -> Option<[u8; 64]> {
    backend::public_key(secret)
}

/// Signs `hash` deterministically (RFC 6979), with a low s and v of 0 or 1.
///
/// Returns `None` if the secret key is invalid, see [`public_key`].
pub(crate) fn sign(secret: &[u8; 32], hash: &B256) -> Option<Signature> {
    backend::sign(secret, hash)
}

#[cfg(feature = "libsecp256k1")]
use by_libsecp256k1 as backend;

#[cfg(not(feature = "libsecp256k1"))]
use by_k256 as backend;

#[cfg(not(any(feature = "k256", feature = "libsecp256k1")))]
compile_error!("opp2p-core needs one of its features `k256` and `libsecp256k1`");

/// Backend that uses the C library: five times faster, for native builds.
#[cfg(feature = "libsecp256k1")]
mod by_libsecp256k1 {
    use super::{B256, SIGNATURE_SIZE, Signature, Unrecoverable};
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    use secp256k1::{Message, PublicKey, SecretKey};

    fn coordinates(key: &PublicKey) -> [u8; 64] {
        let mut coordinates = [0; 64];
        coordinates.copy_from_slice(&key.serialize_uncompressed()[1..]);
        coordinates
    }

    pub(super) fn public_key(secret: &[u8; 32]) -> Option<[u8; 64]> {
        let secret = SecretKey::from_secret_bytes(*secret).ok()?;
        Some(coordinates(&PublicKey::from_secret_key(&secret)))
    }

    pub(super) fn sign(secret: &[u8; 32], hash: &B256) -> Option<Signature> {
        let secret = SecretKey::from_secret_bytes(*secret).ok()?;
        let signature =
            RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(hash.0), &secret);
        let (recovery_id, numbers) = signature.serialize_compact();
        let mut out = [0; SIGNATURE_SIZE];
        out[..64].copy_from_slice(&numbers);
        out[64] = recovery_id.to_u8();
        Some(out)
    }

    /// Recovers the two coordinates of the public key.
    pub(super) fn recover(signature: &Signature, hash: &B256) -> Result<[u8; 64], Unrecoverable> {
        let recovery_id = RecoveryId::try_from(i32::from(signature[SIGNATURE_SIZE - 1]));
        let recovery_id = recovery_id.map_err(|_| Unrecoverable)?;
        let parsed = RecoverableSignature::from_compact(&signature[..64], recovery_id);
        let recovered = parsed.and_then(|parsed| parsed.recover(Message::from_digest(hash.0)));
        recovered.map(|key| coordinates(&key)).map_err(|_| Unrecoverable)
    }
}

/// Backend in pure Rust, for every target.
#[cfg(any(test, not(feature = "libsecp256k1")))]
#[cfg(feature = "k256")]
mod by_k256 {
    use super::{B256, SIGNATURE_SIZE, Signature, Unrecoverable};
    use k256::ecdsa::{self, RecoveryId, SigningKey, VerifyingKey};

    fn coordinates(key: &VerifyingKey) -> Option<[u8; 64]> {
        key.to_sec1_point(false).as_bytes().get(1..)?.try_into().ok()
    }

    pub(super) fn public_key(secret: &[u8; 32]) -> Option<[u8; 64]> {
        coordinates(SigningKey::from_slice(secret).ok()?.verifying_key())
    }

    pub(super) fn sign(secret: &[u8; 32], hash: &B256) -> Option<Signature> {
        let key = SigningKey::from_slice(secret).ok()?;
        let (signature, recovery_id) = key.sign_prehash_recoverable(hash.as_slice());
        let mut out = [0; SIGNATURE_SIZE];
        out[..64].copy_from_slice(&signature.to_bytes());
        out[64] = recovery_id.to_byte();
        Some(out)
    }

    /// Recovers the two coordinates of the public key.
    pub(super) fn recover(signature: &Signature, hash: &B256) -> Result<[u8; 64], Unrecoverable> {
        let v = signature[SIGNATURE_SIZE - 1];
        let recovery_id = RecoveryId::from_byte(v).ok_or(Unrecoverable)?;
        let parsed = ecdsa::Signature::from_slice(&signature[..64]).map_err(|_| Unrecoverable)?;
        // The library verifies the key that it recovers, and treats a high s as invalid. The twin
        // with the low s and the other point of the same x is a signature of the same key.
        let low = parsed.normalize_s();
        let recovery_id = if low == parsed {
            recovery_id
        } else {
            RecoveryId::new(!recovery_id.is_y_odd(), recovery_id.is_x_reduced())
        };
        let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &low, recovery_id);
        key.ok().and_then(|key| coordinates(&key)).ok_or(Unrecoverable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequencer::LocalSigner;
    use alloy_primitives::{U256, hex, uint};
    use proptest::prelude::*;

    const ORDER: U256 =
        uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    fn hash_of(domain: B256, chain_id: u64, message: &[u8]) -> B256 {
        signing_hash(domain, chain_id.into(), payload_hash(message))
    }

    #[test]
    fn signing_hashes_match_the_reference() {
        assert_eq!(
            hash_of(BLOCK_DOMAIN, 100, b"any msg").0,
            hex!("4b2979b3fa7e30d6fc46e24d2843dcea92ddb40facec3961531a8ade831cdd92")
        );
        assert_eq!(
            hash_of(BLOCK_DOMAIN, 10, b"").0,
            hex!("8f0376107ed64d01dcf2878be3dcca11b06ae66209215dbf07b109f516a57ef3")
        );
    }

    #[test]
    fn signing_hash_differs_for_different_domain() {
        assert_ne!(
            hash_of(BLOCK_DOMAIN, 100, b"any msg"),
            hash_of(B256::with_last_byte(3), 100, b"any msg")
        );
    }

    #[test]
    fn signing_hash_differs_for_different_chain_id() {
        assert_ne!(hash_of(BLOCK_DOMAIN, 100, b"any msg"), hash_of(BLOCK_DOMAIN, 101, b"any msg"));
    }

    #[test]
    fn signing_hash_differs_for_different_message() {
        assert_ne!(
            hash_of(BLOCK_DOMAIN, 100, b"any msg"),
            hash_of(BLOCK_DOMAIN, 100, b"other msg")
        );
    }

    #[test]
    fn signing_hash_limits_chain_id_to_256_bits() {
        let mut number = [0; 33];
        number[0] = 1;
        let error = ChainIdWord::from_be_bytes(&number).expect_err("257 bits");
        assert!(error.to_string().contains("chain_id is too large"));
        number[0] = 0;
        number[1] = 0xff;
        ChainIdWord::from_be_bytes(&number).expect("256 bits behind a zero");
        assert_eq!(ChainIdWord::from_be_bytes(&[10]), Ok(10.into()));
    }

    fn signer() -> LocalSigner {
        LocalSigner::from_bytes(&[7; 32]).expect("a valid key")
    }

    fn high_s(mut signature: Signature) -> Signature {
        let s = U256::from_be_slice(&signature[32..64]);
        signature[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
        signature[64] ^= 1;
        signature
    }

    #[test]
    fn a_high_s_signature_recovers_the_same_signer() {
        let hash = B256::repeat_byte(5);
        let signature = signer().sign(&hash);
        assert_eq!(recover(&high_s(signature), &hash), Ok(signer().address()));
        assert_eq!(
            by_k256::recover(&high_s(signature), &hash),
            by_k256::recover(&signature, &hash)
        );
    }

    #[test]
    fn v_must_be_0_to_3() {
        let hash = B256::repeat_byte(5);
        let mut signature = signer().sign(&hash);
        assert!(signature[64] < 2);
        for v in 4..=255 {
            signature[64] = v;
            assert_eq!(recover(&signature, &hash), Err(Unrecoverable), "v = {v}");
        }
    }

    #[test]
    fn r_and_s_must_be_nonzero_and_below_the_order() {
        let hash = B256::repeat_byte(5);
        let valid = signer().sign(&hash);
        for number in [U256::ZERO, ORDER, U256::MAX] {
            for at in [0, 32] {
                let mut signature = valid;
                signature[at..at + 32].copy_from_slice(&number.to_be_bytes::<32>());
                assert_eq!(recover(&signature, &hash), Err(Unrecoverable));
                assert_eq!(by_k256::recover(&signature, &hash), Err(Unrecoverable));
            }
        }
    }

    #[cfg(feature = "libsecp256k1")]
    #[test]
    fn both_libraries_produce_the_same_signatures() {
        for byte in 1..=50 {
            let (secret, hash) = ([byte; 32], B256::repeat_byte(byte ^ 0x55));
            assert_eq!(by_k256::sign(&secret, &hash), by_libsecp256k1::sign(&secret, &hash));
            assert_eq!(by_k256::public_key(&secret), by_libsecp256k1::public_key(&secret));
        }
        for secret in [[0; 32], [0xff; 32]] {
            assert_eq!(by_k256::public_key(&secret), None);
            assert_eq!(by_libsecp256k1::public_key(&secret), None);
        }
    }

    proptest! {
        #[cfg(feature = "libsecp256k1")]
        #[test]
        fn both_libraries_recover_the_same_signer(
            signed in any::<[u8; 32]>(), asked in any::<[u8; 32]>(),
            v in 0_u8..5, high in any::<bool>(),
            noise in prop::option::of((0_usize..64, any::<u8>())),
        ) {
            let mut signature = signer().sign(&B256::new(signed));
            signature = if high { high_s(signature) } else { signature };
            signature[64] = v;
            if let Some((at, byte)) = noise {
                signature[at] = byte;
            }
            for hash in [B256::new(signed), B256::new(asked)] {
                let ours = by_k256::recover(&signature, &hash);
                prop_assert_eq!(ours, by_libsecp256k1::recover(&signature, &hash));
            }
        }
    }
}
