//! The shipped configurations of reverse proxies, in the real programs, in front of a gateway.
//!
//! Debian's packages `nginx-light` and `caddy` have them. If a program is missing, its test says so
//! and ends; `cargo all-tests` installs both first.

use crate::support::{Daemon, PATIENCE, Place, free_port};
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// The name in the shipped files.
const NAME: &str = "gateway.example.org";
/// The token of callers that may make changes.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PAGE: &str = "<!doctype html><title>opp2p</title>";

/// A gateway, and how a proxy is to reach it.
struct Gateway {
    place: Place,
    _node: Daemon,
    certified: CertifiedKey<KeyPair>,
    /// Ports of WebSocket, page and RPC, and the proxy's own.
    ports: [u16; 4],
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Gateway {
    fn start() -> Self {
        let place = Place::new();
        let certified = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        place.file("cert.pem", certified.cert.pem());
        place.file("key.pem", certified.signing_key.serialize_pem());
        place.file("page/index.html", PAGE);
        let token = place.file("rpc.token", TOKEN);
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let [ws, page, rpc, _] = ports.map(|port| port.to_string());
        let role = packaging().join("roles/gateway.toml");
        let (root, listen) = (place.name("page"), format!("127.0.0.1:{page}"));
        let data = place.name("data");
        let mut command = place.opp2p(&["node", "--config", role.to_str().unwrap()]);
        command.args(["--data-dir", &data, "--p2p.listen.ip", "127.0.0.1"]);
        command.args(["--p2p.listen.tcp", "0", "--metrics.port", "0", "--p2p.listen.ws", &ws]);
        command.args(["--web.root", &root, "--web.listen", &listen]);
        command.args(["--rpc.port", &rpc, "--rpc.hosts", NAME, "--rpc.token.path", &token]);
        let node = Daemon::start(command, Stdio::null());
        node.wait_for(0, PATIENCE, |line| line.contains("RPC server listening"));
        Self { place, _node: node, certified, ports }
    }

    /// Returns a shipped file with this gateway's ports and files in place of its own.
    fn configuration(&self, file: &str) -> String {
        let text = std::fs::read_to_string(packaging().join(file)).unwrap();
        let [ws, page, rpc, _] = self.ports;
        let folder = format!("/etc/letsencrypt/live/{NAME}");
        let changes = [
            (":9223".to_owned(), format!(":{ws}")),
            (":9080".to_owned(), format!(":{page}")),
            (":9545".to_owned(), format!(":{rpc}")),
            (format!("{folder}/fullchain.pem"), self.place.name("cert.pem")),
            (format!("{folder}/privkey.pem"), self.place.name("key.pem")),
        ];
        changes.iter().fold(text, |text, (from, to)| text.replace(from, to))
    }

    const fn port(&self) -> u16 {
        self.ports[3]
    }

    /// Connects to the proxy as a browser does.
    fn connect(&self) -> Tls {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.certified.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
    }

    /// Returns head and body of the proxy's answer to a request.
    fn ask(&self, request: &str, body: &str) -> (String, String) {
        exchange(self.connect(), request, body)
    }

    /// Opens a WebSocket at this path.
    fn websocket(&self, path: &str) -> WebSocket<Tls> {
        client(format!("wss://{NAME}{path}"), self.connect()).expect("a WebSocket").0
    }

    /// Checks everything that a browser does through the proxy.
    fn check(&self) {
        let (head, body) = self.ask("GET /", "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-security-policy"), "{head}");
        assert!(body.contains(PAGE), "{body}");
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
        let (head, body) = self.ask("POST /rpc", call);
        assert!(head.starts_with("HTTP/1.1 200") && body.contains(r#""0xa""#), "{head} {body}");

        // A token is of no use from outside.
        let call =
            r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_unblockAddr","params":["192.0.2.1"]}"#;
        let (_, body) = self.ask("POST /rpc", call);
        assert!(body.contains(r#""error""#), "{body}");
        let direct = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[2])).unwrap();
        let (_, body) = exchange(direct, "POST /", call);
        assert!(!body.contains(r#""error""#) && body.contains(r#""result""#), "{body}");

        // The gossip: both sides of a libp2p connection begin with this line.
        let mut socket = self.websocket("/");
        let greeting = b"\x13/multistream/1.0.0\n";
        socket.send(Message::binary(&greeting[..])).unwrap();
        let answer = first(&mut socket, Message::is_binary).into_data();
        assert!(answer.starts_with(greeting), "{answer:?}");

        // A subscription over the RPC's WebSocket.
        let mut socket = self.websocket("/rpc");
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"opp2p_subscribe","params":["troubles"]}"#;
        socket.send(Message::text(call)).unwrap();
        let answer = first(&mut socket, Message::is_text);
        assert!(answer.to_text().unwrap().contains(r#""result""#), "{answer:?}");
    }
}

/// Returns the first message of this kind; the others are pings.
#[track_caller]
fn first(socket: &mut WebSocket<Tls>, fits: impl Fn(&Message) -> bool) -> Message {
    loop {
        let message = socket.read().unwrap();
        if fits(&message) {
            return message;
        }
        assert!(message.is_ping(), "{message:?}");
    }
}

/// Sends a request with the token, and returns head and body of the answer.
fn exchange(mut stream: impl Read + Write, request: &str, body: &str) -> (String, String) {
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\
         authorization: Bearer {TOKEN}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A proxy may close the connection without the end of TLS.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_owned(), body.to_owned())
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// Returns the path of a program, or reports that it is missing. Debian installs nginx among the
/// administrator's programs.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: no `{name}` on the path; Debian has a package of it");
    }
    found
}

#[test]
fn nginx_serves_a_gateway() {
    let Some(nginx) = program("nginx") else { return };
    let gateway = Gateway::start();
    let port = gateway.port();
    let site = gateway.configuration("nginx.conf");
    let site = site.replace("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"));
    gateway.place.file("proxy/site.conf", site);
    let folder = gateway.place.name("proxy");
    let main = gateway.place.file(
        "proxy/main.conf",
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
             events {{}}\n\
             http {{\n access_log off;\n include {folder}/site.conf;\n}}\n"
        ),
    );
    let mut command = Command::new(nginx);
    command.args(["-p", &folder, "-c", &main]);
    let proxy = Daemon::start(command, Stdio::null());
    gateway.check();
    proxy.signal("TERM");
}

#[test]
fn caddy_serves_a_gateway() {
    let Some(caddy) = program("caddy") else { return };
    let gateway = Gateway::start();
    let port = gateway.port();
    let (cert, key) = (gateway.place.name("cert.pem"), gateway.place.name("key.pem"));
    // No certificate is fetched, and no port other than this one is opened.
    let options = "{\n\tadmin off\n\tauto_https off\n}\n";
    let site = format!("https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}\n");
    let text = gateway.configuration("Caddyfile").replace(&format!("{NAME} {{\n"), &site);
    let file = gateway.place.file("proxy/Caddyfile", format!("{options}{text}"));
    let mut command = Command::new(caddy);
    command.args(["run", "--adapter", "caddyfile", "--config", &file]);
    command.env("HOME", gateway.place.name("proxy"));
    command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    let proxy = Daemon::start(command, Stdio::null());
    gateway.check();
    proxy.signal("TERM");
}
