//! IP networks, as used in block lists.

use core::net::{IpAddr, Ipv6Addr};
use std::{fmt, str::FromStr};

/// An IP network: an address whose bits after the prefix are zero, and the prefix length in bits.
///
/// An IPv4-mapped IPv6 network (`::ffff:1.2.3.0/120`) is treated as the IPv4 network that it
/// represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: IpAddr,
    length: u8,
}

/// Error for a text, or for an address and a length, that does not form a [`Subnet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubnet {
    /// The text does not consist of an IP address, a slash and a number.
    #[error("a subnet is an IP address, a slash and a prefix length, like 1.2.3.0/24")]
    Form,
    /// The prefix is longer than the address.
    #[error("a prefix of {length} bits, an address has {bits}")]
    Length {
        /// The prefix length given, in bits.
        length: u8,
        /// Length of the address, in bits: 32 or 128.
        bits: u8,
    },
}

impl Subnet {
    /// Returns the network of `length` bits that contains `address`. Bits after the prefix are
    /// dropped, as by Go's `net.ParseCIDR`.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidSubnet> {
        let bits = bits(address);
        if length > bits {
            return Err(InvalidSubnet::Length { length, bits });
        }
        Ok(Self::masked(address, length))
    }

    /// Returns the first address of the network.
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// Returns the length of the prefix, in bits.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Returns `true` if the network contains `address`. IPv4 and IPv6 networks have no addresses
    /// in common.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address) == bits(self.network) && Self::masked(address, self.length) == *self
    }

    /// Returns all networks that contain `address`, smallest first: 33 for IPv4, 129 for IPv6.
    pub(super) fn all_with(address: IpAddr) -> impl Iterator<Item = Self> {
        let address = address.to_canonical();
        (0..=bits(address)).rev().map(move |length| Self::masked(address, length))
    }

    /// Masks `address`. `length` must not exceed the number of its bits.
    fn masked(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self { network: IpAddr::V4((v4.to_bits() & mask).into()), length }
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                let network = Ipv6Addr::from_bits(v6.to_bits() & mask);
                match (network.to_ipv4_mapped(), length.checked_sub(96)) {
                    (Some(v4), Some(length)) => Self { network: IpAddr::V4(v4), length },
                    _ => Self { network: IpAddr::V6(network), length },
                }
            }
        }
    }
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let (address, length) = text.split_once('/').ok_or(InvalidSubnet::Form)?;
        // Rust's integer parser would also accept a plus sign.
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSubnet::Form);
        }
        let address = address.parse().map_err(|_| InvalidSubnet::Form)?;
        Self::new(address, length.parse().map_err(|_| InvalidSubnet::Form)?)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect(text)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn subnets_are_shown_in_canonical_form() {
        for (text, canonical) in [
            ("1.2.3.0/24", "1.2.3.0/24"),
            ("1.2.3.4/24", "1.2.3.0/24"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("1.2.3.4/32", "1.2.3.4/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1/128", "::1/128"),
            ("::1/0", "::/0"),
            ("::ffff:1.2.3.4/120", "1.2.3.0/24"),
            ("::ffff:1.2.3.4/96", "0.0.0.0/0"),
        ] {
            assert_eq!(subnet(text).to_string(), canonical);
        }
    }

    #[test]
    fn text_that_is_not_a_subnet_is_refused() {
        for text in
            ["", "1.2.3.4", "1.2.3.4/", "/8", "1.2.3/8", "1.2.3.4/+8", "1.2.3.4/-1", "1.2.3.4/999"]
        {
            assert_eq!(text.parse::<Subnet>(), Err(InvalidSubnet::Form), "{text}");
        }
        let long = |length, bits| Err(InvalidSubnet::Length { length, bits });
        assert_eq!("1.2.3.4/33".parse::<Subnet>(), long(33, 32));
        assert_eq!("::/129".parse::<Subnet>(), long(129, 128));
    }

    #[test]
    fn mapped_addresses_are_ipv4_addresses() {
        assert!(subnet("1.2.3.0/24").contains(ip("::ffff:1.2.3.200")));
        assert!(subnet("::ffff:1.2.3.0/120").contains(ip("1.2.3.200")));
        assert!(!subnet("1.2.3.0/24").contains(ip("1.2.4.0")));
        assert!(!subnet("::/0").contains(ip("1.2.3.4")));
        assert!(!subnet("0.0.0.0/0").contains(ip("::1")));
    }

    proptest! {
        #[test]
        fn an_address_is_in_all_its_networks_and_in_no_other(
            bits in any::<u128>(), v4: bool, flip in 0_u8..128
        ) {
            let address = |bits: u128| match v4 {
                true => IpAddr::V4((bits as u32).into()),
                false => IpAddr::V6(bits.into()),
            };
            let width = if v4 { 32 } else { 128 };
            let flip = flip % width;
            // The two addresses differ at bit `flip`, counted from the front.
            let other = address(bits ^ (1 << (width - 1 - flip)));
            let bits = address(bits).to_canonical();
            prop_assume!(bits.is_ipv4() == v4 && other.to_canonical().is_ipv4() == v4);
            let all: Vec<_> = Subnet::all_with(bits).collect();
            prop_assert_eq!(all.len(), usize::from(width) + 1);
            for subnet in all {
                prop_assert!(subnet.contains(bits));
                prop_assert_eq!(subnet.contains(other), subnet.length() <= flip);
                prop_assert_eq!(subnet.to_string().parse::<Subnet>(), Ok(subnet));
            }
        }
    }
}
