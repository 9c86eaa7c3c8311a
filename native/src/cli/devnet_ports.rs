//! The ports of a devnet for browsers, kept in its directory: links to its page and to its gateway
//! work again after a restart.

use super::listeners::check_port;
use super::{Failure, remark};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;

/// Name of the file in the devnet's directory.
const FILE: &str = "ports.json";

/// TCP ports on loopback; 0 for any that is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// The port of the WebSocket listener.
    pub(super) ws: u16,
    /// The port of the page.
    pub(super) web: u16,
}

impl Ports {
    /// Returns the ports of the last run in this directory that are still free. A missing or
    /// damaged file has none.
    pub(super) fn read(directory: &Path) -> Self {
        let file = std::fs::read(directory.join(FILE)).unwrap_or_default();
        let value: Value = serde_json::from_slice(&file).unwrap_or_default();
        let port = |name: &str| value[name].as_u64().and_then(|port| u16::try_from(port).ok());
        let free = |name: &str| match port(name) {
            Some(port) if check_port(Ipv4Addr::LOCALHOST.into(), port, name).is_ok() => port,
            Some(port) => {
                remark(format_args!(
                    "port {port} of the last run is in use: browsers get another one, and old \
                     links do not work"
                ));
                0
            }
            None => 0,
        };
        Self { ws: free("ws"), web: free("web") }
    }

    /// Returns these ports with others in their place, where there are others.
    pub(super) fn with(self, ws: Option<u16>, web: Option<u16>) -> Self {
        Self { ws: ws.unwrap_or(self.ws), web: web.unwrap_or(self.web) }
    }

    /// Writes the ports into the devnet's directory.
    pub(super) fn write(self, directory: &Path) -> Result<(), Failure> {
        let Self { ws, web } = self;
        let file = directory.join(FILE);
        std::fs::write(&file, format!("{}\n", json!({ "ws": ws, "web": web }))).map_err(|error| {
            Failure::new(format!(
                "can't write {}: {error}; choose another directory with --data-dir",
                file.display()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn ports_are_kept_while_they_are_free() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Ports::read(directory.path()), Ports::default());
        // Two ports that were free a moment ago.
        let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [ws, web] = [0, 1].map(|index| listeners[index].local_addr().unwrap().port());
        Ports { ws, web }.write(directory.path()).unwrap();
        assert_eq!(Ports::read(directory.path()), Ports::default(), "both are taken");
        let [first, second] = listeners;
        drop(first);
        assert_eq!(Ports::read(directory.path()), Ports { ws, web: 0 });
        drop(second);
    }

    #[test]
    fn a_damaged_file_yields_no_ports() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "7", r#"{"ws":"1","web":-1}"#, r#"{"ws":65536}"#] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(Ports::read(directory.path()), Ports::default(), "{text}");
        }
    }

    #[test]
    fn a_given_port_replaces_the_last_one() {
        let last = Ports { ws: 1, web: 2 };
        assert_eq!(last.with(None, None), last);
        assert_eq!(last.with(Some(3), Some(0)), Ports { ws: 3, web: 0 });
    }
}
