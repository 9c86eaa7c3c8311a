//! Checks of the addresses that a node is to listen on, before anything is created or opened.

use super::Failure;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};

/// A TCP address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// The flag that sets its port.
    pub(super) flag: &'static str,
    pub(super) ip: IpAddr,
    /// The port; 0 for any that is free.
    pub(super) port: u16,
}

impl Listener {
    /// Returns `true` if no system lets a process listen on both.
    fn conflicts(&self, other: &Self) -> bool {
        let (one, two) = (self.ip.to_canonical(), other.ip.to_canonical());
        let is_shared = one == two
            || one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified());
        self.port == other.port && self.port != 0 && is_shared
    }
}

/// Refuses two listeners with one port, by the names of their flags.
pub(super) fn check(listeners: &[Listener]) -> Result<(), Failure> {
    for (number, one) in listeners.iter().enumerate() {
        if let Some(other) = listeners[..number].iter().find(|other| one.conflicts(other)) {
            return Err(Failure::new(format!(
                "{} and {} are both port {}: give each a port of its own",
                other.flag, one.flag, one.port
            )));
        }
    }
    Ok(())
}

/// Refuses a port that another process listens on.
///
/// libp2p would not notice: its sockets let two processes of one user share a port, and each of
/// them then gets some of the connections.
pub(super) fn check_port(ip: IpAddr, port: u16, flag: &str) -> Result<(), Failure> {
    if port == 0 {
        return Ok(());
    }
    let Err(error) = TcpListener::bind((ip, port)) else { return Ok(()) };
    let of_ip = if flag.starts_with("--p2p.") { "--p2p.listen.ip" } else { flag };
    Err(Failure::new(match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} of {ip} is in use: end the process that listens there, \
             or choose another port with {flag}"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {ip}: choose one of its own with {of_ip}, or 0.0.0.0 for \
             all"
        ),
        ErrorKind::PermissionDenied => format!(
            "can't listen on port {port} of {ip}: this user may not use the ports below 1024; \
             choose another port with {flag}, or permit it (CAP_NET_BIND_SERVICE)"
        ),
        _ if of_ip == flag => {
            format!("can't listen on port {port} of {ip}: {error}; choose another with {flag}")
        }
        _ => format!(
            "can't listen on port {port} of {ip}: {error}; choose others with {of_ip} and {flag}"
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(flag: &'static str, ip: &str, port: u16) -> Listener {
        Listener { flag, ip: ip.parse().expect("an address"), port }
    }

    #[test]
    fn listeners_that_cannot_share_a_port_are_refused_by_name() {
        for (one, two) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("10.0.0.7", "0.0.0.0"),
            ("::", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            let all = [listener("--a", one, 0), listener("--b", one, 9), listener("--c", two, 9)];
            let Err(Failure(why)) = check(&all) else { panic!("{one} and {two} pass") };
            assert_eq!(why, "--b and --c are both port 9: give each a port of its own");
        }
    }

    #[test]
    fn different_addresses_and_free_ports_do_not_conflict() {
        for (one, two) in [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"), ("0.0.0.0", "::1")] {
            assert!(check(&[listener("--a", one, 9), listener("--b", two, 9)]).is_ok());
        }
        assert!(check(&[listener("--a", "::", 0), listener("--b", "::", 0)]).is_ok());
        assert!(check(&[listener("--a", "::", 8), listener("--b", "::", 9)]).is_ok());
    }
}
