//! The observer page as visitors get it: over HTTP from `opp2p node` and `opp2p devnet`.
//!
//! The tests serve their own folder, since the binary may have been built without the page.

use crate::support::{Daemon, Outcome, PATIENCE, Place};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Time limit for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// Creates a folder with a page, and a file outside of it that must stay hidden.
fn page(place: &Place) -> String {
    place.file("secret.txt", "secret");
    place.file("page/index.html", "<!doctype html><title>page</title>");
    place.file("page/app.js", "let plain;");
    place.file("page/app.js.br", "brotli");
    place.file("page/app.js.gz", "gzip");
    place.file("page/opp2p/opp2p.wasm", b"\0asm");
    place.name("page")
}

/// Starts a node that serves the page, and returns the page's address.
fn node(place: &Place) -> (Daemon, SocketAddr) {
    let root = page(place);
    let command = place.opp2p(&[
        "node",
        "--network",
        "op-mainnet",
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--p2p.priv.path",
        "key",
        "--web.listen",
        "127.0.0.1:0",
        "--web.root",
        &root,
    ]);
    let node = Daemon::start(command, Stdio::null());
    let (line, _) = node.wait_for(0, PATIENCE, |line| line.contains("serving the observer page"));
    let address = address(&line);
    (node, address)
}

/// Returns the address in the first URL of a line.
#[track_caller]
fn address(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

/// An answer, read until the connection was closed.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends bytes and reads the answer; `None` if it is empty.
fn send(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    exchange(address, bytes, |_| ())
}

/// Like [`send`], with an action between sending and reading.
fn exchange(address: SocketAddr, bytes: &[u8], between: impl Fn(&TcpStream)) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    // A refused connection may be closed while it is being written.
    let _ = stream.write_all(bytes);
    between(&stream);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head, body: answer[end + 4..].to_vec() })
}

#[track_caller]
fn ask(address: SocketAddr, method: &str, path: &str, more: &str) -> Answer {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: page\r\nconnection: close\r\n{more}\r\n");
    send(address, request.as_bytes()).unwrap()
}

#[track_caller]
fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "")
}

#[test]
fn a_node_serves_the_page_with_its_headers() {
    let place = Place::new();
    let (node, address) = node(&place);
    let index = get(address, "/");
    assert_eq!((index.status, index.text()), (200, "<!doctype html><title>page</title>"));
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?peers=x&network=y", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/opp2p/opp2p.wasm", "application/wasm"),
        ("/config.json", "application/json"),
    ] {
        let answer = get(address, path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{answer:?}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("content-length").unwrap(), answer.body.len().to_string());
    }
    node.end("TERM");
}

/// Waits until the index has this text.
#[track_caller]
fn wait_for_index(address: SocketAddr, text: &str) {
    let end = Instant::now() + PATIENCE;
    while get(address, "/").text() != text {
        assert!(Instant::now() < end, "the index is {:?}", get(address, "/").text());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_changed_page_is_served_and_a_removed_one_stays() {
    let place = Place::new();
    let (node, address) = node(&place);
    place.file("page/new.js", "let new_one;");
    place.file("page/index.html", "<title>second page</title>");
    wait_for_index(address, "<title>second page</title>");
    assert_eq!(get(address, "/new.js").text(), "let new_one;");

    std::fs::remove_dir_all(place.path("page")).unwrap();
    // A folder that holds more than a page is reported, and the earlier files stay.
    for number in 0..=4096 {
        place.file(&format!("page/{number}.txt"), "x");
    }
    place.file("page/index.html", "<title>too much</title>");
    node.wait_for(0, PATIENCE, |line| line.contains("its earlier files are served"));
    assert_eq!(get(address, "/").text(), "<title>second page</title>");
    assert_eq!(get(address, "/new.js").status, 200);

    std::fs::remove_dir_all(place.path("page")).unwrap();
    place.file("page/index.html", "<title>third page</title>");
    wait_for_index(address, "<title>third page</title>");
    assert_eq!(get(address, "/new.js").status, 404);
    node.end("TERM");
}

#[test]
fn encodings_tags_and_head_requests_are_supported() {
    let place = Place::new();
    let (node, address) = node(&place);
    for (accepted, encoding, body) in [
        ("accept-encoding: gzip, deflate, br\r\n", Some("br"), "brotli"),
        ("accept-encoding: gzip\r\n", Some("gzip"), "gzip"),
        ("accept-encoding: br;q=0\r\n", None, "let plain;"),
        ("", None, "let plain;"),
    ] {
        let answer = ask(address, "GET", "/app.js", accepted);
        assert_eq!((answer.header("content-encoding"), answer.text()), (encoding, body));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        let head = ask(address, "HEAD", "/app.js", accepted);
        assert_eq!((head.status, head.body.len()), (200, 0));
        for same in ["content-length", "content-encoding", "content-type", "etag", "cache-control"]
        {
            assert_eq!(head.header(same), answer.header(same), "{same}");
        }
        let tag = answer.header("etag").unwrap();
        let again = ask(address, "GET", "/app.js", &format!("{accepted}if-none-match: {tag}\r\n"));
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
    }
    node.end("TERM");
}

#[test]
fn only_the_files_of_the_page_are_served() {
    let place = Place::new();
    let (node, address) = node(&place);
    for path in [
        "/nothing",
        "/opp2p/",
        "/app.js/",
        "/app.js.br",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/opp2p/../../secret.txt",
        "/..\\secret.txt",
        "//etc/passwd",
        "/./index.html",
        "/index.html%00.js",
        "http://page/../secret.txt",
    ] {
        let answer = get(address, path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("text/plain; charset=utf-8")),
            "{path}"
        );
        assert!(answer.header("content-security-policy").is_some());
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = ask(address, method, "/", "content-length: 0\r\n");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    node.end("TERM");
}

#[test]
fn garbage_is_refused_and_harms_no_other_client() {
    let place = Place::new();
    let (node, address) = node(&place);
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let garbage: [&[u8]; 8] = [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\0/ HTTP/1.1\r\n\r\n",
        long.as_bytes(),
        path.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in garbage {
        // More could follow, and the server would wait for it.
        let no_more = |stream: &TcpStream| drop(stream.shutdown(Shutdown::Write));
        if let Some(answer) = exchange(address, bytes, no_more) {
            assert!((400..=505).contains(&answer.status), "{answer:?}");
        }
        assert_eq!(get(address, "/").status, 200);
    }
    node.end("TERM");
}

#[test]
fn visitors_beyond_the_limit_are_refused_until_there_is_room() {
    let place = Place::new();
    let (node, address) = node(&place);
    let idle: Vec<TcpStream> = (0..256).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Connections are accepted in order, so this one comes after all of them.
    assert!(send(address, b"GET / HTTP/1.1\r\nhost: page\r\nconnection: close\r\n\r\n").is_none());
    drop(idle);
    let served = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(25));
        send(address, b"GET / HTTP/1.1\r\nhost: page\r\nconnection: close\r\n\r\n").is_some()
    });
    assert!(served);
    node.end("TERM");
}

#[test]
fn the_page_configuration_describes_the_node() {
    let place = Place::new();
    let (node, address) = node(&place);
    let answer = get(address, "/config.json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!((&told["network"], &told["signer"]), (&json!("op-mainnet"), &Value::Null), "{told}");
    assert_eq!((&told["fromGenesis"], told["peers"].is_array()), (&json!(false), true), "{told}");
    node.end("TERM");
}

#[test]
fn page_settings_that_cannot_be_served_are_refused_in_one_sentence() {
    let place = Place::new();
    let root = page(&place);
    let run = |more: &[&str]| -> Outcome {
        let node = [
            "node",
            "--network",
            "op-mainnet",
            "--p2p.listen.ip",
            "127.0.0.1",
            "--p2p.listen.tcp",
            "0",
        ];
        place.run(&[&node[..], &["--p2p.priv.path", "key"], more].concat())
    };
    for wrong in ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999"] {
        run(&["--web.listen", wrong]).refused(&["--web.listen", wrong, "127.0.0.1:8080"]);
    }
    run(&["--web.root", &root]).refused(&["--web.root", "give --web.listen"]);
    let nowhere = place.name("nowhere");
    run(&["--web.listen", "127.0.0.1:0", "--web.root", &nowhere])
        .refused(&[&nowhere, "another folder with --web.root"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    let empty = place.name("empty");
    run(&["--web.listen", "127.0.0.1:0", "--web.root", &empty]).refused(&[&empty, "index.html"]);
    // Nothing was created for a node that did not start.
    assert!(!place.path("key").exists());

    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let (listen, port) = (address.to_string(), address.port().to_string());
    run(&["--web.listen", &listen, "--web.root", &root]).refused(&[&port, "--web.listen"]);
    if !opp2p::page::PageFiles::are_embedded() {
        run(&["--web.listen", "127.0.0.1:0"]).refused(&[
            "this binary was built without the page: run `cargo web-page` and build with \
             --release, or serve it from a folder with --web.root DIR",
        ]);
        let devnet = ["devnet", "--blocks", "1", "--web.listen", "127.0.0.1:0"];
        place.run(&devnet).refused(&["built without the page"]);
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let place = Place::new();
    let arguments = [
        "node",
        "--network",
        "op-mainnet",
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
    ];
    let mut command = place.opp2p(&[&arguments[..], &["--p2p.priv.path", "key"]].concat());
    command.env("OP_NODE_WEB_LISTEN", "").env("OP_NODE_WEB_ROOT", "");
    let node = Daemon::start(command, Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains("started"));
    let lines = node.end("TERM");
    assert!(!lines.iter().any(|line| line.contains("observer page")), "{lines:#?}");
}

#[test]
fn a_devnet_serves_the_page_and_prints_its_address() {
    let place = Place::new();
    let root = page(&place);
    let arguments =
        ["devnet", "--json", "--followers", "1", "--block-time", "1", "--web.root", &root];
    let mut devnet = Daemon::start(place.opp2p(&arguments), Stdio::piped());
    let (line, _) =
        devnet.wait_for(0, PATIENCE, |line| line.starts_with("observer page: http://127.0.0.1:"));
    let address = address(&line);
    let told: Value = serde_json::from_str(get(address, "/config.json").text()).unwrap();
    assert_eq!(
        (&told["name"], &told["fromGenesis"]),
        (&json!("opp2p devnet"), &json!(true)),
        "{told}"
    );
    let chain =
        opp2p_core::chain::ChainConfig::from_rollup_json(&told["network"].to_string()).unwrap();
    assert_eq!(chain.chain_id, 901);
    assert!(told["signer"].as_str().unwrap().starts_with("0x"), "{told}");
    // The listener for browsers is open.
    let [door] = &told["peers"].as_array().unwrap()[..] else { panic!("{told}") };
    let parts: Vec<&str> = door.as_str().unwrap().split('/').collect();
    let ["", "ip4", "127.0.0.1", "tcp", port, "ws", "p2p", _] = parts[..] else { panic!("{door}") };
    TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    devnet.signal("INT");
    assert_eq!(devnet.wait(Duration::from_secs(20)), Some(0), "{:#?}", devnet.lines());
    let mut printed = String::new();
    devnet.stdout().read_to_string(&mut printed).unwrap();
    let summary: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(summary["web"], json!(format!("http://{address}/")));
}

/// Starts a devnet that serves the page and keeps its data. Returns it with the page's address and
/// configuration, both as they are once the devnet runs.
fn kept_devnet(place: &Place, more: &[&str]) -> (Daemon, SocketAddr, Value) {
    let root = place.name("page");
    let (data, web) = (["--data-dir", "kept"], ["--web.root", &root]);
    let arguments = [&["devnet", "--json", "--followers", "1"], &data[..], &web, more].concat();
    let devnet = Daemon::start(place.opp2p(&arguments), Stdio::null());
    let is_url = |line: &str| line.starts_with("observer page: http://127.0.0.1:");
    let (line, _) = devnet.wait_for(0, PATIENCE, is_url);
    let address = address(&line);
    let told = serde_json::from_str(get(address, "/config.json").text()).unwrap();
    (devnet, address, told)
}

/// Ends a devnet as a user does.
fn interrupt(mut devnet: Daemon) {
    devnet.signal("INT");
    assert_eq!(devnet.wait(PATIENCE), Some(0), "{:#?}", devnet.lines());
}

#[test]
fn devnet_links_survive_a_restart_and_show_an_old_chain_from_its_newest_block() {
    let place = Place::new();
    page(&place);
    let (devnet, address, young) = kept_devnet(&place, &["--block-time", "1"]);
    assert_eq!(young["fromGenesis"], json!(true), "{young}");
    devnet.wait_for(0, PATIENCE, |line| line.starts_with("block "));
    interrupt(devnet);
    // At an hour a block, the first one makes it old.
    let (devnet, again, old) = kept_devnet(&place, &["--block-time", "3600"]);
    assert_eq!((again, &old["peers"]), (address, &young["peers"]), "{old}");
    assert_eq!(old["fromGenesis"], json!(false), "{old}");
    interrupt(devnet);
    // A port that is given, which is free: it was this devnet's.
    let port = address.port().to_string();
    let (devnet, elsewhere, told) =
        kept_devnet(&place, &["--p2p.listen.ws", &port, "--web.listen", "127.0.0.1:0"]);
    assert_ne!(elsewhere, address);
    let door = format!("/ip4/127.0.0.1/tcp/{port}/ws/");
    assert!(told["peers"][0].as_str().unwrap().starts_with(&door), "{told}");
    // Another devnet can't have it as well.
    let taken = ["devnet", "--blocks", "1", "--p2p.listen.ws", &port];
    place.run(&taken).refused(&[&port, "--p2p.listen.ws"]);
    interrupt(devnet);
    place.run(&[&taken[..], &["--no-web"]].concat()).refused(&["--no-web", "--p2p.listen.ws"]);
}

#[test]
fn a_devnet_without_a_page_reports_it_once_and_continues() {
    let place = Place::new();
    let run = |more: &[&str]| {
        let devnet =
            ["devnet", "--json", "--followers", "1", "--blocks", "1", "--block-time", "0.1"];
        let outcome = place.run(&[&devnet[..], more].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let summary: Value = serde_json::from_str(&outcome.stdout).unwrap();
        (summary["web"].clone(), outcome.stderr.matches("without the page").count())
    };
    assert_eq!(run(&["--no-web"]), (Value::Null, 0));
    let (web, said) = run(&[]);
    assert_eq!(
        (web.is_string(), said),
        if opp2p::page::PageFiles::are_embedded() { (true, 0) } else { (false, 1) }
    );
}
