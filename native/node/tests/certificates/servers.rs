//! Runs pebble and p2p-forge as processes.

use crate::client::{Root, root_of};
use crate::program;
use crate::support::PATIENCE;
use opp2p_node::http::{HttpSender, TlsFiles};
use serde_json::json;
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A name that the authority refuses.
pub(crate) const REFUSED: &str = "refused.example";

/// Returns a port that is free for TCP and UDP, but not reserved.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A process with its output in a file. It is killed on drop.
#[derive(Debug)]
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(log: PathBuf, command: &mut Command) -> Self {
        let output = File::create(&log).unwrap();
        let errors = output.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until it listens on the port.
    async fn listens(&mut self, port: u16) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let has_ended = self.child.try_wait().unwrap().is_some();
            assert!(!has_ended && begun.elapsed() < PATIENCE, "it does not listen on {port}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            println!("--- {} ends with:\n{last}", self.log.display());
        }
    }
}

/// A running pebble.
#[derive(Debug)]
pub(crate) struct Pebble {
    _process: Running,
    /// URL of the ACME directory.
    pub(crate) directory: String,
    /// PEM file of the directory's root certificate.
    pub(crate) ca: PathBuf,
    /// Root of the issued certificates.
    pub(crate) root: Root,
}

impl Pebble {
    /// Starts an authority that resolves names with the given DNS server and validates them at the
    /// given port. Its certificates are valid for the given number of seconds.
    pub(crate) async fn start(folder: &Path, dns: &str, checked: u16, seconds: u64) -> Self {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (ca, key) = (folder.join("authority.pem"), folder.join("authority.key"));
        std::fs::write(&ca, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let [port, management] = [free_port(), free_port()];
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": ca,
            "privateKey": key,
            "tlsPort": checked,
            "httpPort": 1,
            "domainBlocklist": [REFUSED],
            "keyAlgorithm": "ecdsa",
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "short", "validityPeriod": seconds}},
        }});
        let file = folder.join("authority.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(program("pebble").unwrap());
        command.arg("-config").arg(&file).arg("-dnsserver").arg(dns);
        // Disables the random delay before each validation.
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let mut process = Running::start(folder.join("pebble.log"), &mut command);
        process.listens(port).await;
        process.listens(management).await;
        let tls = TlsFiles { ca: Some(ca.clone()), ..TlsFiles::default() };
        let http = HttpSender::new(Some(tls), PATIENCE, 1 << 20).unwrap();
        let root = root_of(&http, &format!("https://127.0.0.1:{management}/roots/0")).await;
        let directory = format!("https://127.0.0.1:{port}/dir");
        Self { _process: process, directory, ca, root }
    }
}

/// A running p2p-forge: the broker, and the DNS server of its domain.
#[derive(Debug)]
pub(crate) struct Forge {
    _process: Running,
    /// Address of the DNS server.
    pub(crate) dns: String,
    /// URL of the broker.
    pub(crate) broker: String,
}

impl Forge {
    /// Starts one for this domain.
    pub(crate) async fn start(folder: &Path, domain: &str) -> Self {
        let [dns, http] = [free_port(), free_port()];
        let zone = format!(
            "$TTL 60\n$ORIGIN {domain}.\n@ IN SOA ns.{domain}. a.{domain}. 1 60 60 60 60\n\
             @ IN NS ns.{domain}.\nns IN A 127.0.0.1\n"
        );
        // The path is fixed in the program.
        std::fs::create_dir(folder.join("zones")).unwrap();
        std::fs::write(folder.join("zones").join(domain), zone).unwrap();
        // In production, a proxy terminates TLS.
        let core = format!(
            "{domain} {{\n bind 127.0.0.1\n errors\n ipparser {domain}\n \
             file zones/{domain}\n \
             acme {domain} {{\n  registration-domain 127.0.0.1:{http} \
             listen-address=127.0.0.1:{http} external-tls=true\n  database-type badger data\n \
             }}\n}}\n"
        );
        std::fs::write(folder.join("Corefile"), core).unwrap();
        let mut command = Command::new(program("p2p-forge").unwrap());
        command.current_dir(folder).args(["-conf", "Corefile", "-dns.port", &dns.to_string()]);
        let mut process = Running::start(folder.join("forge.log"), &mut command);
        process.listens(http).await;
        process.listens(dns).await;
        let (dns, broker) = (format!("127.0.0.1:{dns}"), format!("http://127.0.0.1:{http}"));
        Self { _process: process, dns, broker }
    }
}
