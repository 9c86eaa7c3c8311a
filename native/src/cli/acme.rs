//! Flags for certificates that the node obtains by ACME.

use super::path;
use super::values::boolean;
use opp2p_node::host::{
    AcmeConfig, CertificateName, LETS_ENCRYPT, OwnName, PUBLIC_BROKER, PUBLIC_DOMAIN,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Folder in the data directory for accounts and certificates.
const FOLDER: &str = "acme";

/// Port to which an authority connects to validate a domain name.
const CHECKED_PORT: u16 = 443;

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Browsers")]
pub(super) struct AcmeArgs {
    /// Obtain and renew the certificate for wss by ACME, for this domain name. To validate the
    /// name, the authority connects to its port 443, which must reach --p2p.listen.ws. With this
    /// flag you agree to the authority's terms of service.
    #[arg(long = "p2p.ws.tls.acme", env = "OPP2P_P2P_WS_TLS_ACME", value_name = "NAME")]
    name: Option<String>,
    /// Obtain and renew the certificate for wss for this node's own name below libp2p.direct
    /// (AutoTLS). No domain is needed. --p2p.listen.tcp and --p2p.listen.ws must be publicly
    /// reachable. With this flag you agree to the authority's terms of service.
    #[arg(
        long = "p2p.ws.tls.auto", env = "OPP2P_P2P_WS_TLS_AUTO", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean
    )]
    auto: bool,
    /// URL of the authority's ACME directory [default: that of Let's Encrypt].
    #[arg(
        long = "p2p.ws.tls.acme.directory",
        env = "OPP2P_P2P_WS_TLS_ACME_DIRECTORY",
        value_name = "URL",
        hide_env_values = true
    )]
    directory: Option<String>,
    /// E-mail address for the authority's notices.
    #[arg(
        long = "p2p.ws.tls.acme.contact",
        env = "OPP2P_P2P_WS_TLS_ACME_CONTACT",
        value_name = "EMAIL"
    )]
    contact: Option<String>,
    /// PEM file of the root certificates for connections to the directory and the broker, in place
    /// of the system's: for an authority inside an organisation.
    #[arg(
        long = "p2p.ws.tls.acme.ca", env = "OPP2P_P2P_WS_TLS_ACME_CA", value_name = "FILE",
        value_parser = path()
    )]
    ca: Option<PathBuf>,
    /// URL of the broker that publishes this node's own name [default:
    /// https://registration.libp2p.direct].
    #[arg(
        long = "p2p.ws.tls.auto.broker",
        env = "OPP2P_P2P_WS_TLS_AUTO_BROKER",
        value_name = "URL",
        hide_env_values = true
    )]
    broker: Option<String>,
    /// Domain of this node's own name [default: libp2p.direct].
    #[arg(
        long = "p2p.ws.tls.auto.domain",
        env = "OPP2P_P2P_WS_TLS_AUTO_DOMAIN",
        value_name = "NAME"
    )]
    domain: Option<String>,
}

/// Other settings that a certificate depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodePlace<'a> {
    /// The configured public address.
    pub(super) ip: Option<IpAddr>,
    /// Whether the node learns its address from peers.
    pub(super) learns_ip: bool,
    /// The data directory.
    pub(super) data: &'a Path,
}

/// Returns a trimmed text. An empty environment variable counts as unset.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

impl AcmeArgs {
    /// Returns the first flag that was given.
    pub(super) fn first(&self) -> Option<&'static str> {
        if given(&self.name).is_some() {
            Some("--p2p.ws.tls.acme")
        } else if self.auto {
            Some("--p2p.ws.tls.auto")
        } else {
            self.detail()
        }
    }

    /// Returns the first given flag that has an effect only with another one.
    fn detail(&self) -> Option<&'static str> {
        let ca = self.ca.as_ref().filter(|path| !path.as_os_str().is_empty());
        let details = [
            ("--p2p.ws.tls.acme.directory", given(&self.directory).is_some()),
            ("--p2p.ws.tls.acme.contact", given(&self.contact).is_some()),
            ("--p2p.ws.tls.acme.ca", ca.is_some()),
            ("--p2p.ws.tls.auto.broker", given(&self.broker).is_some()),
            ("--p2p.ws.tls.auto.domain", given(&self.domain).is_some()),
        ];
        details.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// Tells the operator to forward port 443 to `port`, unless they are the same.
    pub(super) fn tell_port(&self, port: u16) {
        if let Some(name) = given(&self.name).filter(|_| port != CHECKED_PORT) {
            tracing::info!(
                "the authority connects to port {CHECKED_PORT} of {name}: forward it to port \
                 {port} of this node"
            );
        }
    }

    /// Returns the ACME configuration, if a flag requests one. An error is one sentence.
    pub(super) fn config(&self, node: &NodePlace<'_>) -> Result<Option<AcmeConfig>, String> {
        let name = match (given(&self.name), self.auto) {
            (Some(_), true) => {
                return Err("--p2p.ws.tls.acme and --p2p.ws.tls.auto each obtain a certificate: \
                            give one of them"
                    .into());
            }
            (Some(name), false) => CertificateName::Domain(domain("--p2p.ws.tls.acme", name)?),
            (None, true) => CertificateName::Own(self.own(node)?),
            (None, false) => {
                return match self.detail() {
                    Some(flag) => Err(format!(
                        "{flag} has no effect without a certificate to obtain: give \
                         --p2p.ws.tls.acme NAME or --p2p.ws.tls.auto too"
                    )),
                    None => Ok(None),
                };
            }
        };
        let own_flags = [&self.broker, &self.domain].into_iter().any(|flag| given(flag).is_some());
        if own_flags && matches!(name, CertificateName::Domain(_)) {
            return Err("--p2p.ws.tls.auto.broker and --p2p.ws.tls.auto.domain are for \
                        --p2p.ws.tls.auto, and have no effect with --p2p.ws.tls.acme: leave them \
                        out"
            .into());
        }
        let config = AcmeConfig {
            name,
            directory: given(&self.directory).unwrap_or(LETS_ENCRYPT).to_owned(),
            contact: given(&self.contact).map(contact).transpose()?,
            ca: self.ca.clone().filter(|path| !path.as_os_str().is_empty()),
            folder: node.data.join(FOLDER),
        };
        config.check().map_err(|error| format!("the authority can't be asked: {error}"))?;
        Ok(Some(config))
    }

    fn own(&self, node: &NodePlace<'_>) -> Result<OwnName, String> {
        if node.ip.is_none() && !node.learns_ip {
            return Err(
                "--p2p.ws.tls.auto needs this node's public address, which only discovery \
                        learns: give --p2p.advertise.ip"
                    .into(),
            );
        }
        let broker = given(&self.broker).unwrap_or(PUBLIC_BROKER);
        let name = given(&self.domain).unwrap_or(PUBLIC_DOMAIN);
        let domain = domain("--p2p.ws.tls.auto.domain", name)?;
        Ok(OwnName { broker: broker.to_owned(), domain, ip: node.ip })
    }
}

/// Parses a domain name for a certificate.
fn domain(flag: &str, text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.split('.').all(|label| label.chars().all(|c| c.is_ascii_digit()));
    if name.len() > 253 || is_address || !name.split('.').all(is_label) {
        return Err(format!(
            "{flag}: {text:?} is not a domain name: write a name such as gw.example.org"
        ));
    }
    Ok(name)
}

/// Parses the operator's e-mail address.
fn contact(text: &str) -> Result<String, String> {
    let is_plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !",<>?".contains(c))
    };
    match text.split_once('@') {
        Some((user, host)) if is_plain(user) && is_plain(host) && !host.contains('@') => {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "--p2p.ws.tls.acme.contact: {text:?} is not an e-mail address: write NAME@HOST"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ip: Option<IpAddr>, learns_ip: bool) -> NodePlace<'static> {
        NodePlace { ip, learns_ip, data: Path::new("data") }
    }

    fn config(args: &AcmeArgs) -> Result<Option<AcmeConfig>, String> {
        args.config(&place(None, true))
    }

    /// Returns a file of authorities: a machine may have none of its own.
    fn authorities(directory: &Path) -> Option<PathBuf> {
        let file = directory.join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).expect("made");
        std::fs::write(&file, made.cert.pem()).expect("written");
        Some(file)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_certificate_is_obtained_only_if_a_flag_says_so() {
        let none = AcmeArgs { name: text(" "), broker: text(""), ..AcmeArgs::default() };
        assert_eq!((config(&none), none.first()), (Ok(None), None));
        let directory = tempfile::tempdir().expect("a directory");
        let ca = authorities(directory.path());
        let named = AcmeArgs { name: text("GW.Example."), ca: ca.clone(), ..AcmeArgs::default() };
        let found = config(&named).expect("valid").expect("given");
        assert_eq!(found.name, CertificateName::Domain("gw.example".into()));
        assert_eq!(found.directory, LETS_ENCRYPT);
        assert_eq!(found.folder, Path::new("data/acme"));
        let auto = AcmeArgs { auto: true, domain: text("a.example"), ca, ..AcmeArgs::default() };
        let ip = Some(IpAddr::from([1, 2, 3, 4]));
        let found = auto.config(&place(ip, false)).expect("valid").expect("given");
        let (broker, domain) = (PUBLIC_BROKER.into(), "a.example".into());
        assert_eq!(found.name, CertificateName::Own(OwnName { broker, domain, ip }));
        let why = auto.config(&place(None, false)).expect_err("it never learns its address");
        assert!(why.contains("--p2p.advertise.ip"), "{why}");
    }

    #[test]
    fn flags_that_would_have_no_effect_are_named() {
        let details = [
            AcmeArgs { directory: text("https://ca.example"), ..AcmeArgs::default() },
            AcmeArgs { contact: text("a@b.example"), ..AcmeArgs::default() },
            AcmeArgs { ca: Some("ca.pem".into()), ..AcmeArgs::default() },
            AcmeArgs { broker: text("https://b.example"), ..AcmeArgs::default() },
            AcmeArgs { domain: text("b.example"), ..AcmeArgs::default() },
        ];
        for args in details {
            let flag = args.first().expect("given");
            let why = config(&args).expect_err("no effect");
            assert!(why.starts_with(flag) && why.contains("--p2p.ws.tls.auto"), "{why}");
        }
        let both = AcmeArgs { name: text("gw.example"), auto: true, ..AcmeArgs::default() };
        assert!(config(&both).is_err_and(|why| why.contains("one of them")));
        let mixed =
            AcmeArgs { name: text("gw.example"), domain: text("b.example"), ..AcmeArgs::default() };
        assert!(config(&mixed).is_err_and(|why| why.contains("--p2p.ws.tls.auto.domain")));
    }

    #[test]
    fn wrong_names_addresses_and_urls_are_named() {
        for name in ["10.0.0.1", "::1", "*.example", "a..example", "-a.example", "a_b", "a/b"] {
            let args = AcmeArgs { name: text(name), ..AcmeArgs::default() };
            assert!(
                config(&args).is_err_and(|why| why.contains(name) && why.contains("gw.example")),
                "{name}"
            );
        }
        let directory = tempfile::tempdir().expect("a directory");
        let ca = authorities(directory.path());
        let named = || AcmeArgs { name: text("gw.example"), ca: ca.clone(), ..AcmeArgs::default() };
        for address in ["a", "@a", "a@", "a@b@c", "mailto: a@b", "a@b,c@d"] {
            let args = AcmeArgs { contact: text(address), ..named() };
            assert!(config(&args).is_err_and(|why| why.contains("NAME@HOST")), "{address}");
        }
        let args = AcmeArgs { directory: text("ca.example/dir"), ..named() };
        assert!(config(&args).is_err_and(|why| why.contains("not a URL")));
        let args = AcmeArgs { ca: Some("/no/such/ca.pem".into()), ..named() };
        assert!(config(&args).is_err_and(|why| why.contains("/no/such/ca.pem")));
    }
}
