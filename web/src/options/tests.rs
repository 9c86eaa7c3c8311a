use super::*;

const PEER: &str = "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY";

fn options(peers: &[&str]) -> Options {
    Options {
        network: "op-mainnet".into(),
        peers: peers.iter().map(|text| format!("{text}/p2p/{PEER}")).collect(),
        ..Options::default()
    }
}

fn code(options: &Options) -> Code {
    options.plan().expect_err("it makes no sense").code
}

#[test]
fn a_plan_has_the_signer_of_the_network_and_every_address_of_each_peer() {
    let ways = [
        "/dns4/a.example/tcp/443/wss",
        "/dns4/a.example/tcp/443/tls/ws",
        "/ip4/10.0.0.1/tcp/9223/ws",
    ];
    let plan = options(&[ways[0], ways[1], ways[2], ways[0]]).plan().unwrap();
    assert_eq!((plan.chain.chain_id, plan.peers.len()), (10, 1));
    assert_eq!(plan.peers.values().next().map(Vec::len), Some(3));
    assert!(plan.signer.is_some() && !plan.reads_signer);
    assert_eq!(plan.signer, plan.chain.unsafe_block_signer);
}

#[test]
fn each_mistake_has_its_code_and_a_sentence() {
    let good = options(&["/ip4/10.0.0.1/tcp/9223/ws"]);
    assert!(good.plan().is_ok());
    let network = |text: &str| Options { network: text.into(), ..good.clone() };
    for (wrong, expected) in [
        (network("no such chain"), Code::Network),
        (network("{}"), Code::Network),
        (network("999999"), Code::Network),
        (Options { peers: Vec::new(), ..good.clone() }, Code::Address),
        (Options { peers: vec!["x".into(); MAX_PEERS + 1], ..good.clone() }, Code::Address),
        (Options { peers: vec!["http://gateway".into()], ..good.clone() }, Code::Address),
        (Options { peers: vec!["/ip4/10.0.0.1/tcp/1/ws".into()], ..good.clone() }, Code::Address),
        (options(&["/ip4/10.0.0.1/tcp/1"]), Code::Address),
        (options(&["/ip4/10.0.0.1/udp/1/quic-v1"]), Code::Address),
        (options(&["/dnsaddr/a.example/tcp/1/ws"]), Code::Address),
        (options(&["/ip4/10.0.0.1/tcp/1/ws/p2p-circuit"]), Code::Address),
        (Options { signer: Some("0x12".into()), ..good.clone() }, Code::Signer),
        (Options { signer: Some(Address::ZERO.to_string()), ..good.clone() }, Code::Signer),
        (Options { gap_memory: Some(1.0), ..good.clone() }, Code::Option),
        (Options { gap_memory: Some(1e18), ..good.clone() }, Code::Option),
        (Options { gap_memory: Some(f64::NAN), ..good.clone() }, Code::Option),
        (Options { gap_patience: Some(-1.0), ..good.clone() }, Code::Option),
        (Options { is_secure_page: true, ..good.clone() }, Code::Insecure),
    ] {
        let refusal = wrong.plan().expect_err("it makes no sense");
        assert_eq!(refusal.code, expected, "{}", refusal.message);
        assert!(
            refusal.message.len() > 15 && !refusal.message.contains('\n'),
            "{}",
            refusal.message
        );
    }
}

#[test]
fn a_page_that_reads_the_signer_may_start_without_it() {
    let network = r#"{
        "genesis": {
            "l2": {
                "hash": "0x0100000000000000000000000000000000000000000000000000000000000000",
                "number": 0
            },
            "l2_time": 0
        },
        "block_time": 2, "l1_chain_id": 1, "l2_chain_id": 100
    }"#;
    let unknown = Options { network: network.into(), ..options(&["/ip4/10.0.0.1/tcp/9223/ws"]) };
    assert_eq!(code(&unknown), Code::Signer);
    let plan = Options { reads_signer: true, ..unknown }.plan().unwrap();
    assert_eq!((plan.signer, plan.reads_signer), (None, true));
}

#[test]
fn endpoints_are_http_urls_and_only_their_host_is_shown() {
    let with = |urls: &[&str]| Options {
        rpc: urls.iter().map(|url| (*url).to_owned()).collect(),
        ..options(&["/ip4/10.0.0.1/tcp/9223/ws"])
    };
    assert!(with(&[]).plan().unwrap().endpoints.is_empty());
    let good = [
        ("https://rpc.example/v1/secret-key", "rpc.example"),
        (" HTTPS://rpc.example?key=secret-key ", "rpc.example"),
        ("http://10.0.0.1:8545", "10.0.0.1:8545"),
        ("https://[::1]:8545/secret-key", "[::1]:8545"),
    ];
    let plan = with(&good.map(|(url, _)| url)).plan().unwrap();
    for (endpoint, (url, host)) in plan.endpoints.iter().zip(good) {
        assert_eq!((endpoint.url(), endpoint.host()), (url.trim(), host));
    }
    assert!(!format!("{plan:?}").contains("secret-key"), "{plan:?}");
    for wrong in [
        "",
        "rpc.example/secret-key",
        "ws://rpc.example/secret-key",
        "ftp://rpc.example/secret-key",
        "https:/rpc.example/secret-key",
        "https://",
        "https:///secret-key",
        "https://:8545/secret-key",
        "https://user:secret-key@rpc.example",
        "https://rpc example/secret-key",
        "https://rpc.example/\nsecret-key",
        "ħttps://rpc.example/secret-key",
    ] {
        let refusal = with(&[wrong]).plan().expect_err(wrong);
        assert_eq!(refusal.code, Code::Option, "{wrong}");
        assert!(!refusal.message.contains("secret-key"), "{}", refusal.message);
        assert!(refusal.message.contains("`rpc`"), "{}", refusal.message);
    }
    assert!(with(&["https://rpc.example"; MAX_ENDPOINTS]).plan().is_ok());
    assert_eq!(code(&with(&["https://rpc.example"; MAX_ENDPOINTS + 1])), Code::Option);
}

#[test]
fn a_secure_page_may_ask_endpoints_by_https_and_on_loopback() {
    let read = |url| Endpoint::read(url, true).map_err(|refusal| refusal.code).map(|_| ());
    for url in [
        "https://rpc.example",
        "http://localhost:8545",
        "http://a.localhost",
        "http://127.0.0.1:8545/x",
        "http://[::1]:8545",
    ] {
        assert_eq!(read(url), Ok(()), "{url}");
    }
    for url in ["http://rpc.example/x", "http://localhost.example", "http://10.0.0.1"] {
        assert_eq!(read(url), Err(Code::Insecure), "{url}");
    }
}

#[test]
fn the_gap_patience_is_ten_seconds_unless_the_page_sets_it() {
    let good = options(&["/ip4/10.0.0.1/tcp/9223/ws"]);
    assert_eq!(good.plan().unwrap().gap_patience, Duration::from_secs(10));
    let patient = Options { gap_patience: Some(60.0), ..good };
    assert_eq!(patient.plan().unwrap().gap_patience, Duration::from_secs(60));
}

#[test]
fn a_secure_page_may_dial_loopback_and_wss() {
    for way in [
        "/ip4/127.0.0.1/tcp/1/ws",
        "/ip6/::1/tcp/1/ws",
        "/dns4/localhost/tcp/1/ws",
        "/dns4/a.example/tcp/1/wss",
    ] {
        assert!(Options { is_secure_page: true, ..options(&[way]) }.plan().is_ok(), "{way}");
    }
    assert_eq!(
        code(&Options { is_secure_page: true, ..options(&["/dns4/localhost.example/tcp/1/ws"]) }),
        Code::Insecure
    );
}

#[test]
fn an_address_behind_a_proxy_can_have_a_path_and_a_name() {
    let plain = |way: &str| options(&[way]).plan().unwrap().peers.into_values().next().unwrap();
    for (way, dialled) in [
        ("/dns4/a.example/tcp/443/tls/ws/http-path/opp2p%2Fone", "wss://a.example:443/opp2p/one"),
        ("/dns4/a.example/tcp/443/wss/http-path/one", "wss://a.example:443/one"),
        ("/dns4/a.example/tcp/80/ws/http-path/one", "ws://a.example:80/one"),
        ("/dns4/a.example/tcp/443/tls/sni/a.example/ws", "wss://a.example:443/"),
        ("/ip4/10.0.0.1/tcp/443/tls/sni/a.example/ws", "wss://a.example:443/"),
    ] {
        // As the transport reads it.
        let address = &plain(way)[0];
        let parts: Vec<_> = address.iter().collect();
        let (Protocol::Dns(name) | Protocol::Dns4(name)) = &parts[0] else { panic!("{way}") };
        let Protocol::Tcp(port) = parts[1] else { panic!("{way}") };
        let (scheme, path) = match &parts[2] {
            Protocol::Wss(path) => ("wss", path),
            Protocol::Ws(path) => ("ws", path),
            other => panic!("{way}: {other}"),
        };
        assert_eq!(format!("{scheme}://{name}:{port}{path}"), dialled);
        assert!(matches!(parts[3..], [Protocol::P2p(_)]), "{address}");
    }
    // Others are dialled as they are given.
    let way = "/dns4/a.example/tcp/443/tls/ws";
    assert_eq!(plain(way)[0].to_string(), format!("{way}/p2p/{PEER}"));
    assert_eq!(code(&options(&["/ip4/10.0.0.1/tcp/443/tls/sni/a.example"])), Code::Address);
}

#[test]
fn a_wrong_signer_checksum_is_refused() {
    let right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    for text in [right, &right.to_lowercase(), &right.to_uppercase().replace("0X", "0x")] {
        assert_eq!(signer_address(text).unwrap(), right.parse::<Address>().unwrap());
    }
    for wrong in [right.replace("aA", "Aa"), right.replace("BeA", "Bea"), right[..41].into()] {
        assert_eq!(signer_address(&wrong).expect_err(&wrong).code, Code::Signer);
    }
}

#[test]
fn gaps_are_filled_up_to_a_limit_or_skipped() {
    let good = options(&["/ip4/10.0.0.1/tcp/9223/ws"]);
    let most = |on_gap: Option<&str>, max_gap| {
        let on_gap = on_gap.map(Into::into);
        let plan = Options { on_gap, max_gap, ..good.clone() }.plan();
        plan.map(|plan| plan.max_gap).map_err(|refusal| refusal.code)
    };
    assert_eq!(most(None, None), Ok(512));
    assert_eq!(most(Some("fill"), Some(3.0)), Ok(3));
    assert_eq!(most(Some("skip"), Some(3.0)), Ok(0));
    for wrong in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e16] {
        assert_eq!(most(None, Some(wrong)), Err(Code::Option), "{wrong}");
    }
    assert_eq!(most(Some("drop"), None), Err(Code::Option));
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_network() {
    assert_eq!(chain("\u{feff} op-mainnet\n").unwrap().chain_id, 10);
    let message = chain("\u{feff}{}").unwrap_err().message;
    assert!(message.contains("genesis"), "{message}");
}

#[test]
fn options_are_read_as_the_script_writes_them() {
    let json = r#"{"network":"10","peers":[],"signer":null,"readsSigner":true,
        "fromGenesis":true,"rpc":["https://rpc.example"],"gapMemory":null,"gapPatience":3,
        "isSecurePage":false}"#;
    let read = Options::read(json).unwrap();
    assert!(read.reads_signer && read.from_genesis && read.gap_patience == Some(3.0));
    assert_eq!(read.rpc, ["https://rpc.example"]);
    for wrong in ["", "{}", r#"{"network":"10","peers":[],"typo":1}"#] {
        assert_eq!(Options::read(wrong).expect_err("wrong").code, Code::Option);
    }
}
