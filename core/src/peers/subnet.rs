//! Networks of IP addresses, as block lists name them.

use core::net::{IpAddr, Ipv6Addr};
use std::{fmt, str::FromStr};

/// An IP network: an address whose bits behind the prefix are zero, and the prefix length in bits.
///
/// An IPv4-mapped IPv6 network (`::ffff:1.2.3.0/120`) is the IPv4 network that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: IpAddr,
    length: u8,
}

/// A text or a pair that is no [`Subnet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubnet {
    /// The text is not an IP address, a slash and a number.
    #[error("a subnet is an IP address, a slash and a prefix length, like 1.2.3.0/24")]
    Form,
    /// The prefix is longer than the address.
    #[error("a prefix of {length} bits, an address has {bits}")]
    Length {
        /// Bits of the prefix that was given.
        length: u8,
        /// Bits of the address: 32 or 128.
        bits: u8,
    },
}

impl Subnet {
    /// The network of `length` bits in which `address` lies. Bits behind the prefix are dropped, as
    /// Go's `net.ParseCIDR` does.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidSubnet> {
        let bits = bits(address);
        if length > bits {
            return Err(InvalidSubnet::Length { length, bits });
        }
        Ok(Self::masked(address, length))
    }

    /// The first address of the network.
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// Bits of the prefix.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` lies in it. IPv4 and IPv6 networks share no address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address) == bits(self.network) && Self::masked(address, self.length) == *self
    }

    /// All networks in which `address` lies, the smallest first: 33 or 129 of them.
    pub(super) fn all_with(address: IpAddr) -> impl Iterator<Item = Self> {
        let address = address.to_canonical();
        (0..=bits(address)).rev().map(move |length| Self::masked(address, length))
    }

    /// `length` is at most the address's bits.
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
        // Rust's integers would also take a plus sign.
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
    fn texts_come_back_in_their_canonical_form() {
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
    fn what_is_no_subnet_is_refused() {
        for text in ["", "1.2.3.4", "1.2.3.4/", "/8", "1.2.3/8", "1.2.3.4/+8", "1.2.3.4/-1", "1.2.3.4/999"] {
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
        fn an_address_lies_in_all_its_networks_and_in_no_other(bits in any::<u128>(), v4: bool, flip in 0_u8..128) {
            let address = |bits: u128| match v4 {
                true => IpAddr::V4((bits as u32).into()),
                false => IpAddr::V6(bits.into()),
            };
            let width = if v4 { 32 } else { 128 };
            let flip = flip % width;
            // Differs from bit `flip` on, counted from the front.
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
