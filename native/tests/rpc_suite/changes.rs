//! An operator's actions on peers.

use crate::support::{Node, open};
use serde_json::{Value, json};

const ID: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_and_the_dump_show_their_entries() {
    let node = Node::start(open(), &[]).await;
    let subnet = json!({"IP": "1.2.0.0", "Mask": "//8AAA=="});
    let wide = json!({"IP": "2001:db8::", "Mask": "/////wAAAAAAAAAAAAAAAA=="});
    for (block, unblock, list, entries) in [
        ("opp2p_blockPeer", "opp2p_unblockPeer", "opp2p_listBlockedPeers", vec![json!(ID)]),
        (
            "opp2p_blockAddr",
            "opp2p_unblockAddr",
            "opp2p_listBlockedAddrs",
            vec![json!("1.2.3.4"), json!("2001:db8::1")],
        ),
        (
            "opp2p_blockSubnet",
            "opp2p_unblockSubnet",
            "opp2p_listBlockedSubnets",
            vec![subnet, wide],
        ),
    ] {
        assert_eq!(node.call(list, json!([])).await, json!([]), "{list}");
        for entry in &entries {
            assert_eq!(node.call(block, json!([entry])).await, Value::Null, "{block}");
            // A repeated call has no further effect.
            node.call(block, json!([entry])).await;
        }
        assert_eq!(node.call(list, json!([])).await, json!(entries), "{list}");
        let dump = node.call("opp2p_peers", json!([true])).await;
        let field = match list {
            "opp2p_listBlockedPeers" => "bannedPeers",
            "opp2p_listBlockedAddrs" => "bannedIPS",
            _ => "bannedSubnets",
        };
        assert_eq!(dump[field], json!(entries));
        let banned = node.call("opp2p_peerStats", json!([])).await["banned"].clone();
        assert_eq!(banned, json!(i32::from(field == "bannedPeers")));
        for entry in &entries {
            assert_eq!(node.call(unblock, json!([entry])).await, Value::Null, "{unblock}");
        }
        assert_eq!(node.call(list, json!([])).await, json!([]), "{list}");
        node.call(unblock, json!([entries[0]])).await;
    }
    // In people's notation, and as 4 bytes in 16.
    node.call("opp2p_blockSubnet", json!(["10.1.2.3/8"])).await;
    node.call("opp2p_blockAddr", json!(["::ffff:1.2.3.4"])).await;
    let subnets = node.call("opp2p_listBlockedSubnets", json!([])).await;
    assert_eq!(subnets, json!([{"IP": "10.0.0.0", "Mask": "/wAAAA=="}]));
    assert_eq!(node.call("opp2p_listBlockedAddrs", json!([])).await, json!(["1.2.3.4"]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_reference_texts() {
    let node = Node::start(open(), &[]).await;
    let invalid = (-32000, "invalid request".to_owned());
    // An empty id is refused earlier.
    let no_peer = (-32602, "invalid argument 0: failed to parse peer ID: it is empty".to_owned());
    for method in [
        "opp2p_blockPeer",
        "opp2p_unblockPeer",
        "opp2p_protectPeer",
        "opp2p_unprotectPeer",
        "opp2p_disconnectPeer",
        "opp2p_blockAddr",
        "opp2p_unblockAddr",
        "opp2p_unbanPeer",
        "opp2p_unbanAddr",
    ] {
        let empty = if method.ends_with("Peer") { &no_peer } else { &invalid };
        assert_eq!(node.fails(method, json!([""])).await, *empty, "{method}");
        assert_eq!(node.fails(method, json!([null])).await, *empty, "{method}");
        let missing = (-32602, "missing value for required argument 0".to_owned());
        assert_eq!(node.fails(method, json!([])).await, missing, "{method}");
        let (code, text) = node.fails(method, json!(["no such thing"])).await;
        assert!(
            code == -32602 && text.starts_with("invalid argument 0: "),
            "{method}: {code} {text}"
        );
        let many = (-32602, "too many arguments, want at most 1".to_owned());
        assert_eq!(node.fails(method, json!([ID, ID])).await, many, "{method}");
        let named = (-32602, "non-array args".to_owned());
        assert_eq!(node.fails(method, json!({"id": ID})).await, named, "{method}");
    }
    for method in ["opp2p_blockSubnet", "opp2p_unblockSubnet"] {
        for nothing in
            [json!(null), json!({}), json!({"IP": "1.2.0.0"}), json!({"Mask": "//8AAA=="})]
        {
            assert_eq!(node.fails(method, json!([nothing])).await, invalid, "{method} {nothing}");
        }
        assert_eq!(node.fails(method, json!([])).await, invalid, "{method}");
    }
    let (code, text) = node.fails("opp2p_connectPeer", json!(["nowhere"])).await;
    assert!(code == -32000 && text.starts_with("bad peer address: "), "{code} {text}");
    let (code, text) = node.fails("opp2p_connectPeer", json!(["/ip4/127.0.0.1/tcp/9"])).await;
    assert!(
        code == -32000 && text.starts_with("bad peer address: ") && text.contains("/p2p/"),
        "{code} {text}"
    );
    for nothing in [json!([""]), json!([null])] {
        let (code, text) = node.fails("opp2p_connectPeer", nothing).await;
        assert!(code == -32000 && text.starts_with("bad peer address: "), "{code} {text}");
    }
    let unknown = (-32601, "the method opp2p_nothing does not exist/is not available".to_owned());
    assert_eq!(node.fails("opp2p_nothing", json!([])).await, unknown);
    let (code, text) =
        node.fails("opp2p_connectPeer", json!([format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}")])).await;
    assert!(code == -32000 && text.contains("refused"), "{code} {text}");
    assert_eq!(node.fails("opp2p_banPeer", json!([ID])).await.0, -32602);
    assert_eq!(node.fails("opp2p_banPeer", json!([ID, -1])).await.0, -32602);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_connected_disconnected_and_blocked() {
    let first = Node::start(open(), &[]).await;
    let second = Node::start(open(), &[]).await;
    let (id, address) = (json!([second.id()]), json!([second.host.address().to_string()]));
    assert_eq!(first.call("opp2p_connectPeer", address.clone()).await, Value::Null);
    first.until(|status| status.peers == 1).await;
    // Connecting again succeeds.
    first.call("opp2p_connectPeer", address.clone()).await;

    // Once the call is answered, the peer is gone, so that the next call makes a new connection.
    for _ in 0..3 {
        assert_eq!(first.call("opp2p_disconnectPeer", id.clone()).await, Value::Null);
        assert_eq!(first.call("opp2p_peers", json!([true])).await["totalConnected"], 0);
        first.call("opp2p_connectPeer", address.clone()).await;
        assert_eq!(first.call("opp2p_peers", json!([true])).await["totalConnected"], 1);
    }
    // The node that the other one disconnects knows its address, and needs no more than its id.
    let path = format!("/peers/{}/addresses", second.id());
    let located = |dump: &Value| dump.pointer(&path).is_some_and(Value::is_array);
    first.until_answer("opp2p_peers", json!([true]), located).await;
    second.call("opp2p_disconnectPeer", json!([first.id()])).await;
    first.until(|status| status.peers == 0).await;
    first.call("opp2p_connectPeer", json!([format!("/p2p/{}", second.id())])).await;
    assert_eq!(first.call("opp2p_peers", json!([true])).await["totalConnected"], 1);

    first.call("opp2p_blockPeer", id.clone()).await;
    first.until(|status| status.peers == 0).await;
    let (code, text) = first.fails("opp2p_connectPeer", address.clone()).await;
    assert!(code == -32000 && text.contains("blocked"), "{code} {text}");
    first.call("opp2p_unblockPeer", id).await;
    first.call("opp2p_connectPeer", address).await;
    first.until(|status| status.peers == 1).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_have_an_end_and_can_be_lifted() {
    let first = Node::start(open(), &[]).await;
    let second = Node::start(open(), &[&first]).await;
    first.until(|status| status.peers == 1).await;
    let before = opp2p::devnet::unix_seconds();
    first.call("opp2p_banPeer", json!([second.id(), 3600])).await;
    first.until(|status| status.peers == 0).await;
    first.call("opp2p_banAddr", json!(["192.0.2.7", 60])).await;
    let bans = first.call("opp2p_bans", json!([])).await;
    let expiry = bans["peers"][0]["expiry"].as_u64().unwrap();
    assert!((before + 3600..before + 3700).contains(&expiry), "{expiry}");
    assert_eq!(bans["peers"][0]["peerID"], json!(second.id()));
    assert!(bans["peers"][0]["score"].is_f64());
    assert_eq!(bans["addresses"][0]["IP"], json!("192.0.2.7"));
    // Bans are not entries of a block list.
    assert_eq!(first.call("opp2p_listBlockedPeers", json!([])).await, json!([]));
    first.call("opp2p_unbanAddr", json!(["192.0.2.7"])).await;

    // A block outlives the end of the ban.
    first.call("opp2p_blockPeer", json!([second.id()])).await;
    first.call("opp2p_unbanPeer", json!([second.id()])).await;
    assert_eq!(first.call("opp2p_bans", json!([])).await, json!({"peers": [], "addresses": []}));
    assert_eq!(first.call("opp2p_listBlockedPeers", json!([])).await, json!([second.id()]));

    // Unblocking lifts a ban too, as in the reference.
    first.call("opp2p_banPeer", json!([second.id(), 3600])).await;
    first.call("opp2p_unblockPeer", json!([second.id()])).await;
    assert_eq!(first.call("opp2p_bans", json!([])).await["peers"], json!([]));
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_peer_is_shown_as_such() {
    let node = Node::start(open(), &[]).await;
    // No mesh exempts it: it joins no topic.
    let other = Node::start_as(open(), &[&node], |config| {
        config.chain = opp2p_core::chain::ChainConfig { chain_id: 902, ..config.chain.clone() };
        config.store = config.store.with_extension("902");
    })
    .await;
    node.until(|status| status.peers == 1).await;
    let id = other.id();
    let known = |dump: &Value| dump["peers"][&id].is_object();
    let protected = async || {
        let dump = node.until_answer("opp2p_peers", json!([true]), known).await;
        dump["peers"][&id]["protected"].clone()
    };
    assert_eq!(protected().await, json!(false));
    node.call("opp2p_protectPeer", json!([id])).await;
    assert_eq!(protected().await, json!(true));
    node.call("opp2p_unprotectPeer", json!([id])).await;
    assert_eq!(protected().await, json!(false));
    other.stop().await;
    node.stop().await;
}
