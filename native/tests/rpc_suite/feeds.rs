//! Many feeds, and clients that do not read theirs.

use crate::subscriptions::Socket;
use crate::support::{Node, chain, get, looking};
use alloy_primitives::B256;
use opp2p::devnet::BlockMaker;
use opp2p::rpc::{FEED_READS, FEEDS, SUBSCRIPTIONS};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpSocket;
use tokio_tungstenite::{MaybeTlsStream, client_async};

const BLOCKS: u64 = 40;

pub(crate) fn subscribe(from: u64) -> String {
    let params = json!(["feed", {"from": from}]);
    json!({"jsonrpc": "2.0", "id": 1, "method": "opp2p_subscribe", "params": params}).to_string()
}

/// Opens a WebSocket whose system buffer is small, so that the server notices when nothing is read.
pub(crate) async fn narrow(address: SocketAddr) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = MaybeTlsStream::Plain(socket.connect(address).await.unwrap());
    Socket::new(client_async(format!("ws://{address}"), stream).await.unwrap().0)
}

/// Reads the first `count` blocks.
pub(crate) async fn read_all(socket: &mut Socket, count: u64) {
    let mut parent = Value::Null;
    for number in 1..=count {
        let news = socket.next().await.unwrap();
        let line = &news["params"]["result"];
        assert_eq!((&line["event"], &line["number"]), (&json!("block"), &json!(number)));
        assert!(parent.is_null() || line["parentHash"] == parent);
        parent = line["hash"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_feeds_block_no_others_and_lose_nothing() {
    let node = Node::sequencer(looking()).await;
    let other = Node::start(looking(), &[&node]).await;
    node.until(|status| status.mesh == 1).await;
    node.publish(&mut BlockMaker::new(&chain(), 1), BLOCKS as usize).await;
    other.until(|status| status.stored.is_some_and(|stored| stored.number == BLOCKS)).await;
    let mut idle = Vec::new();
    for _ in 0..FEED_READS + 4 {
        let mut socket = narrow(other.rpc.address()).await;
        let answer = socket.ask(&subscribe(1)).await;
        assert!(answer.get("error").is_none(), "{answer}");
        idle.push(socket);
    }
    let mut socket = Socket::open(other.rpc.address()).await;
    let answer = socket.ask(&subscribe(1)).await;
    assert!(answer.get("error").is_none(), "{answer}");
    read_all(&mut socket, BLOCKS).await;
    for socket in &mut idle {
        read_all(socket, BLOCKS).await;
    }
    other.stop().await;
    node.stop().await;
}

/// Stores other bytes for a block, as a failing disk could.
fn damage(store: &Path, hash: B256) {
    use redb::{Database, TableDefinition};

    let blocks: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("blocks");
    let transaction = Database::open(store).unwrap();
    let transaction = transaction.begin_write().unwrap();
    transaction.open_table(blocks).unwrap().insert(hash.0, b"damaged".as_slice()).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_skips_a_damaged_block_and_health_reports_it() {
    let first = Node::sequencer(looking()).await;
    let other = Node::start(looking(), &[&first]).await;
    first.until(|status| status.mesh == 1).await;
    first.publish(&mut BlockMaker::new(&chain(), 1), 6).await;
    first.until(|status| status.stored.is_some_and(|stored| stored.number == 6)).await;
    let bad = first.host.canonical_block(3).unwrap().unwrap().hash();
    let Node { host, rpc, _directory: directory } = first;
    rpc.stop().await;
    host.stop().await;
    other.stop().await;
    let store = directory.path().join("blocks");
    damage(&store, bad);
    let node = Node::start_as(looking(), &[], |config| config.store = store).await;
    let mut socket = Socket::open(node.rpc.address()).await;
    let answer = socket.ask(&subscribe(1)).await;
    assert!(answer.get("error").is_none(), "{answer}");
    let mut told = Vec::new();
    while told.len() < 6 {
        let line = socket.next().await.unwrap()["params"]["result"].take();
        told.push((line["event"].clone(), line["number"].as_u64()));
    }
    let expected = [Some(1), Some(2), None, Some(4), Some(5), Some(6)]
        .map(|number| (json!(if number.is_some() { "block" } else { "skipped" }), number));
    assert_eq!(told, expected);
    let health = get(node.rpc.address(), "/healthz").await.json();
    let problem = health["problems"][0].as_str().unwrap();
    assert!(problem.contains("damaged") && problem.contains(&bad.to_string()), "{problem}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_number_of_feeds_is_limited() {
    let node = Node::start(looking(), &[]).await;
    let address = node.rpc.address();
    assert_eq!(FEEDS % SUBSCRIPTIONS, 0);
    let mut sockets = Vec::new();
    for _ in 0..FEEDS / SUBSCRIPTIONS {
        let mut socket = Socket::open(address).await;
        for _ in 0..SUBSCRIPTIONS {
            let answer = socket.ask(&subscribe(1)).await;
            assert!(answer.get("error").is_none(), "{answer}");
        }
        sockets.push(socket);
    }
    let mut socket = Socket::open(address).await;
    let answer = socket.ask(&subscribe(1)).await;
    assert_eq!(answer["error"]["code"], json!(-32005), "{answer}");
    // Other subscriptions have their own limits.
    let heads = subscribe(1).replace(r#""feed",{"from":1}"#, r#""heads""#);
    let answer = socket.ask(&heads).await;
    assert!(answer.get("error").is_none(), "{answer}");
    sockets.pop();
    let freed = async {
        while socket.ask(&subscribe(1)).await.get("error").is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, freed).await.unwrap();
    node.stop().await;
}
