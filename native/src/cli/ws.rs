//! Flags for the browsers' listener.

use super::acme::{AcmeArgs, NodePlace};
use super::path;
use super::peers::at_least_one;
use super::values::{any_port, boolean};
use libp2p::Multiaddr;
use opp2p_core::peers::DoorLimits;
use opp2p_node::host::{WsConfig, WsTls};
use opp2p_wire::is_browser;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Browsers")]
pub(super) struct WsArgs {
    /// TCP port to listen on for browsers' WebSockets; 0 lets the system choose. Without it, no
    /// browser is served.
    #[arg(
        long = "p2p.listen.ws", env = "OP_NODE_P2P_LISTEN_WS_PORT", value_name = "PORT",
        value_parser = any_port
    )]
    listen: Option<u16>,
    /// File with the certificate chain (PEM), so that pages that came over HTTPS can connect (wss).
    #[arg(
        long = "p2p.ws.tls.cert", env = "OP_NODE_P2P_WS_TLS_CERT", value_name = "FILE",
        value_parser = path()
    )]
    cert: Option<PathBuf>,
    /// File with the certificate's private key (PEM).
    #[arg(
        long = "p2p.ws.tls.key", env = "OP_NODE_P2P_WS_TLS_KEY", value_name = "FILE",
        value_parser = path()
    )]
    key: Option<PathBuf>,
    #[command(flatten)]
    acme: AcmeArgs,
    /// Addresses at which browsers reach the listener, such as behind a reverse proxy: multiaddrs
    /// like /dns4/gw.example/tcp/443/wss, separated by commas.
    #[arg(
        long = "p2p.ws.advertise",
        env = "OP_NODE_P2P_WS_ADVERTISE",
        value_name = "ADDRS",
        value_delimiter = ','
    )]
    advertise: Vec<String>,
    /// Maximum number of browsers; further ones are refused. They do not count as nodes [default:
    /// 512].
    #[arg(
        long = "p2p.ws.peers", env = "OP_NODE_P2P_WS_PEERS", value_name = "N",
        value_parser = at_least_one
    )]
    peers: Option<usize>,
    /// Count a sequencer's block as published when browsers took it and no node is connected.
    /// Without it, the sequencer tries again until a node takes the block.
    #[arg(
        long = "p2p.ws.suffices", env = "OP_NODE_P2P_WS_SUFFICES", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    suffices: bool,
}

impl WsArgs {
    /// Returns the port to listen on, if it is requested.
    pub(super) const fn port(&self) -> Option<u16> {
        self.listen
    }

    /// Tells the operator which port to forward to this listener, if any.
    pub(super) fn tell_port(&self) {
        if let Some(port) = self.listen {
            self.acme.tell_port(port);
        }
    }

    /// Returns the listener's settings, if it is requested; an error is one sentence.
    pub(super) fn config(
        &self,
        tcp: u16,
        node: &NodePlace<'_>,
    ) -> Result<Option<WsConfig>, String> {
        // An empty environment variable counts as unset.
        let given =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let (cert, key) = (given(&self.cert), given(&self.key));
        let texts: Vec<_> =
            self.advertise.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        let Some(port) = self.listen else {
            let idle = [
                ("--p2p.ws.tls.cert", cert.is_some()),
                ("--p2p.ws.tls.key", key.is_some()),
                ("--p2p.ws.advertise", !texts.is_empty()),
                ("--p2p.ws.peers", self.peers.is_some()),
                ("--p2p.ws.suffices", self.suffices),
            ];
            let idle = idle.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag);
            return match idle.or_else(|| self.acme.first()) {
                Some(flag) => Err(format!(
                    "{flag} has no effect without a listener for browsers: give --p2p.listen.ws \
                     PORT too"
                )),
                None => Ok(None),
            };
        };
        if port == tcp && port != 0 {
            return Err(format!(
                "--p2p.listen.ws and --p2p.listen.tcp are both {port}: give browsers a port of \
                 their own"
            ));
        }
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(WsTls { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(
                    "--p2p.ws.tls.cert needs the certificate's key: give --p2p.ws.tls.key".into()
                );
            }
            (None, Some(_)) => {
                return Err("--p2p.ws.tls.key needs its certificate: give --p2p.ws.tls.cert".into());
            }
        };
        if let (Some(_), Some(flag)) = (&tls, self.acme.first()) {
            return Err(format!(
                "--p2p.ws.tls.cert and {flag} each say where the certificate comes from: give one \
                 of them"
            ));
        }
        let acme = self.acme.config(node)?;
        let advertise = texts.into_iter().map(advertised).collect::<Result<_, _>>()?;
        Ok(Some(WsConfig { port, tls, acme, advertise, suffices: self.suffices }))
    }

    /// Returns the limits for browsers.
    pub(super) fn limits(&self) -> DoorLimits {
        self.peers.map_or(DoorLimits::BROWSERS, DoorLimits::browsers)
    }
}

fn advertised(text: &str) -> Result<Multiaddr, String> {
    let wrong = |what: &str| {
        format!("--p2p.ws.advertise: {text:?} {what}: write it as /dns4/NAME/tcp/443/wss")
    };
    let address: Multiaddr = text.parse().map_err(|_| wrong("is not a multiaddr"))?;
    if is_browser(&address) { Ok(address) } else { Err(wrong("is not a WebSocket address")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn args(listen: Option<u16>) -> WsArgs {
        let advertise = Vec::new();
        let acme = AcmeArgs::default();
        WsArgs { listen, cert: None, key: None, acme, advertise, peers: None, suffices: false }
    }

    fn config(args: &WsArgs, tcp: u16) -> Result<Option<WsConfig>, String> {
        let node = NodePlace { ip: None, learns_ip: true, data: Path::new("data") };
        args.config(tcp, &node)
    }

    #[test]
    fn without_a_port_browser_settings_are_refused() {
        assert_eq!(config(&args(None), 9222), Ok(None));
        for idle in [
            WsArgs { cert: Some("c".into()), ..args(None) },
            WsArgs { key: Some("k".into()), ..args(None) },
            WsArgs { advertise: vec!["/dns4/x/tcp/443/wss".into()], ..args(None) },
            WsArgs { peers: Some(7), ..args(None) },
            WsArgs { suffices: true, ..args(None) },
        ] {
            let why = config(&idle, 9222).expect_err("it is of no use");
            assert!(why.contains("--p2p.listen.ws"), "{why}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key_and_empty_paths_count_as_unset() {
        let with = |cert: Option<&str>, key: Option<&str>| {
            let (cert, key) = (cert.map(PathBuf::from), key.map(PathBuf::from));
            config(&WsArgs { cert, key, ..args(Some(0)) }, 0)
        };
        let tls = Some(WsTls { cert: "c".into(), key: "k".into() });
        assert_eq!(with(Some("c"), Some("k")), Ok(Some(WsConfig { tls, ..WsConfig::default() })));
        assert_eq!(with(Some(""), Some("")), Ok(Some(WsConfig::default())));
        assert!(with(Some("c"), None).is_err_and(|why| why.contains("--p2p.ws.tls.key")));
        assert!(with(Some(""), Some("k")).is_err_and(|why| why.contains("--p2p.ws.tls.cert")));
    }

    #[test]
    fn browsers_have_their_own_port_and_place_limit() {
        assert!(config(&args(Some(9222)), 9222).is_err_and(|why| why.contains("9222")));
        assert!(config(&args(Some(0)), 0).is_ok());
        assert_eq!(args(Some(0)).limits().inbound, 512);
        let limits = WsArgs { peers: Some(7), ..args(Some(0)) }.limits();
        assert!(limits.inbound == 7 && limits.per_address >= 7, "{limits:?}");
    }

    #[test]
    fn only_websocket_addresses_can_be_advertised() {
        let with = |texts: &[&str]| {
            let advertise = texts.iter().map(|text| (*text).to_owned()).collect();
            config(&WsArgs { advertise, ..args(Some(0)) }, 0)
                .map(|door| door.map(|door| door.advertise.len()))
        };
        assert_eq!(
            with(&["/dns4/a.example/tcp/443/wss", " /ip4/1.2.3.4/tcp/80/ws ", ""]),
            Ok(Some(2))
        );
        for text in ["/dns4/a.example/tcp/443", "wss://a.example", "/dns4"] {
            assert!(
                with(&[text]).is_err_and(|why| why.contains(text) && why.contains("/wss")),
                "{text}"
            );
        }
    }
}
