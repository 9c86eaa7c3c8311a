//! Node records: our own, and the fields of others' records that the core needs.

use discv5::Enr;
use enr::{CombinedKey, CombinedPublicKey};
use libp2p::PeerId;
use libp2p::identity::{PublicKey, secp256k1};
use opp2p_core::discovery::{Advertised, ENTRY_KEY, OpStackEntry, OwnAddresses, Record};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Returns the key in the library's form.
pub(super) fn key(
    secret: &Zeroizing<[u8; 32]>,
) -> Result<CombinedKey, impl std::fmt::Display + use<>> {
    // The library wipes what it reads.
    CombinedKey::secp256k1_from_bytes(secret.clone().as_mut_slice())
}

/// Returns our own record.
pub(super) fn record(
    key: &CombinedKey,
    advertised: &Advertised,
    entry: &OpStackEntry,
    sequence: u64,
) -> Result<Enr, enr::Error> {
    let mut builder = Enr::builder();
    builder.seq(sequence).add_value_rlp(ENTRY_KEY, entry.encode().into());
    let OwnAddresses { ip4, ports4: (tcp4, udp4), ip6 } = advertised.addresses();
    builder.tcp4(tcp4).udp4(udp4);
    if let Some(ip) = ip4 {
        builder.ip4(ip);
    }
    if let Some((ip, (tcp6, udp6))) = ip6 {
        builder.ip6(ip).tcp6(tcp6).udp6(udp6);
    }
    builder.build(key)
}

/// Returns `true` if two records differ only in their sequence number.
pub(super) fn says_the_same(one: &Enr, other: &Enr) -> bool {
    one.iter().eq(other.iter())
}

/// Returns the peer id of a record; `None` if its key is not of a kind that an OP Stack node can
/// have.
pub(super) fn peer_of(enr: &Enr) -> Option<PeerId> {
    let CombinedPublicKey::Secp256k1(key) = enr.public_key() else { return None };
    let key = secp256k1::PublicKey::try_from_bytes(&key.to_sec1_point(true).to_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// Returns the address at which a node is queried.
pub(super) fn asked_at(enr: &Enr) -> Option<IpAddr> {
    let v4 = enr.udp4_socket().map(|at| IpAddr::from(*at.ip()));
    v4.or_else(|| enr.udp6_socket().map(|at| IpAddr::from(*at.ip())))
}

/// Returns the fields of a record that the core checks.
pub(super) fn fields(enr: &Enr) -> Record<'_> {
    Record {
        entry: enr.get_raw_rlp(ENTRY_KEY),
        ip4: enr.ip4(),
        tcp4: enr.tcp4(),
        ip6: enr.ip6(),
        tcp6: enr.tcp6(),
    }
}
