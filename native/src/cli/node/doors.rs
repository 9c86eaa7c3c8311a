//! The addresses for the observer page to dial.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Returns the addresses for the page to dial. If the node listens on all addresses of its machine
/// (`on_all`), IP addresses are replaced by the host that served the page: a visitor can reach that
/// host, but not necessarily the IP addresses.
pub(super) fn doors(addresses: &[Multiaddr], on_all: bool) -> Vec<String> {
    let mut doors = Vec::new();
    for address in addresses {
        let mut parts = address.iter();
        let is_ip = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let door = match on_all && is_ip {
            true => format!("/dns4/{{host}}{}", parts.collect::<Multiaddr>()),
            false => address.to_string(),
        };
        if !doors.contains(&door) {
            doors.push(door);
        }
    }
    doors
}
