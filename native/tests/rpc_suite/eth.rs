//! The execution API's read methods, answered from gossip alone.

use crate::subscriptions::Socket;
use crate::support::{CHAIN_ID, Node, chain, looking, post, same_shape};
use alloy_primitives::{B256, Bytes, keccak256};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::rpc::RpcConfig;
use opp2p_core::chain::{BlockId, Labels};
use opp2p_core::payload::Envelope;
use opp2p_node::host::HostConfig;
use serde_json::{Value, json};
use tokio::sync::watch;

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

fn id(envelope: &Envelope) -> BlockId {
    BlockId::new(envelope.payload.block_number, envelope.payload.block_hash)
}

/// A sequencer and a follower, whose RPC is queried.
struct Pair {
    sequencer: Node,
    follower: Node,
}

impl Pair {
    async fn start(change: impl FnOnce(&mut HostConfig)) -> Self {
        Self::serving(looking(), change).await
    }

    async fn serving(rpc: RpcConfig, change: impl FnOnce(&mut HostConfig)) -> Self {
        let sequencer = Node::sequencer(looking()).await;
        let follower = Node::start_as(rpc, &[&sequencer], change).await;
        sequencer.until(|status| status.mesh == 1).await;
        Self { sequencer, follower }
    }

    /// Publishes blocks and waits until the last of them is the follower's head.
    async fn publish(&self, blocks: &[Envelope]) {
        for block in blocks {
            self.sequencer.host.publish(block.clone()).await.unwrap().unwrap();
        }
        let last = blocks.last().map(id);
        self.follower.until(|status| status.head == last).await;
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        self.follower.call(method, params).await
    }

    async fn stop(self) {
        self.follower.stop().await;
        self.sequencer.stop().await;
    }
}

fn make(maker: &mut BlockMaker, count: usize) -> Vec<Envelope> {
    (0..count).map(|_| maker.next(unix_seconds())).collect()
}

fn has_the_shape_of_a_block(full: &Value) {
    let (text, zero) = ("0x", json!([]));
    let mut shape = full.clone();
    shape["transactions"] = json!([]);
    let expected = json!({
        "hash": text, "parentHash": text, "sha3Uncles": text, "miner": text, "stateRoot": text,
        "transactionsRoot": text, "receiptsRoot": text, "logsBloom": text, "difficulty": text,
        "number": text, "gasLimit": text, "gasUsed": text, "timestamp": text, "extraData": text,
        "mixHash": text, "nonce": text, "baseFeePerGas": text, "withdrawalsRoot": text,
        "blobGasUsed": text, "excessBlobGas": text, "parentBeaconBlockRoot": text,
        "requestsHash": text, "size": text, "uncles": zero, "withdrawals": zero,
        "transactions": zero,
    });
    same_shape(&shape, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_the_chain_by_number_hash_and_tag() {
    let pair = Pair::start(|_| {}).await;
    let blocks = make(&mut BlockMaker::new(&chain(), 1), 5);
    pair.publish(&blocks).await;
    assert_eq!(pair.call("eth_chainId", json!([])).await, json!(hex(CHAIN_ID)));
    assert_eq!(pair.call("net_version", json!([])).await, json!("901"));
    assert_eq!(pair.call("net_peerCount", json!([])).await, json!("0x1"));
    assert_eq!(pair.call("net_listening", json!([])).await, json!(true));
    let version = pair.call("web3_clientVersion", json!([])).await;
    assert_eq!(version, json!(concat!("opp2p/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(pair.call("eth_blockNumber", json!([])).await, json!("0x5"));
    assert_eq!(pair.call("eth_syncing", json!([])).await, json!(false));

    for envelope in &blocks {
        let payload = &envelope.payload;
        let raws = &payload.transactions;
        let number = hex(payload.block_number);
        let full = pair.call("eth_getBlockByNumber", json!([number, true])).await;
        assert_eq!(pair.call("eth_getBlockByHash", json!([payload.block_hash, true])).await, full);
        has_the_shape_of_a_block(&full);
        assert_eq!((&full["hash"], &full["number"]), (&json!(payload.block_hash), &json!(number)));
        assert_eq!(full["parentHash"], json!(payload.parent_hash));
        assert_eq!(full["extraData"], json!(payload.extra_data));
        assert_eq!(full["timestamp"], json!(hex(payload.timestamp)));
        assert_eq!(
            (&full["difficulty"], &full["nonce"]),
            (&json!("0x0"), &json!("0x0000000000000000"))
        );

        // The same with hashes, which are those of the raw bytes.
        let hashes = pair.call("eth_getBlockByNumber", json!([number, false])).await;
        let expected: Vec<_> = raws.iter().map(keccak256).collect();
        assert_eq!(hashes["transactions"], json!(expected));
        assert_eq!(hashes["size"], full["size"]);

        let count = json!(hex(raws.len() as u64));
        assert_eq!(pair.call("eth_getBlockTransactionCountByNumber", json!([number])).await, count);
        assert_eq!(
            pair.call("eth_getBlockTransactionCountByHash", json!([payload.block_hash])).await,
            count
        );
        for place in [0, raws.len() - 1] {
            let transaction = &full["transactions"][place];
            let index = hex(place as u64);
            assert_eq!(transaction["transactionIndex"], json!(index));
            assert_eq!(transaction["blockHash"], json!(payload.block_hash));
            let by_number =
                pair.call("eth_getTransactionByBlockNumberAndIndex", json!([number, index])).await;
            assert_eq!(by_number, *transaction);
            let params = json!([payload.block_hash, index]);
            assert_eq!(
                pair.call("eth_getTransactionByBlockHashAndIndex", params).await,
                *transaction
            );
        }
        let beyond = json!([number, hex(raws.len() as u64)]);
        assert_eq!(pair.call("eth_getTransactionByBlockNumberAndIndex", beyond).await, Value::Null);
    }

    let head = pair.call("eth_getBlockByNumber", json!(["0x5", true])).await;
    for tag in ["latest", "pending"] {
        assert_eq!(pair.call("eth_getBlockByNumber", json!([tag, true])).await, head, "{tag}");
    }
    assert_eq!(
        pair.call("eth_getBlockByNumber", json!(["earliest", false])).await["number"],
        "0x1"
    );
    // By hash, a transaction that the devnet used twice is found at its newest place.
    for transaction in head["transactions"].as_array().unwrap() {
        let found = pair.call("eth_getTransactionByHash", json!([transaction["hash"]])).await;
        assert_eq!(found["hash"], transaction["hash"]);
        assert_eq!(found["blockNumber"], "0x5");
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_blocks_and_transactions_are_null() {
    let pair = Pair::start(|_| {}).await;
    pair.publish(&make(&mut BlockMaker::new(&chain(), 1), 2)).await;
    let nobodys = B256::repeat_byte(0xee);
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0x3", true])),
        // Only the hash of genesis is known.
        ("eth_getBlockByNumber", json!(["0x0", true])),
        ("eth_getBlockByNumber", json!(["0xffffffffffffffff", false])),
        ("eth_getBlockByHash", json!([nobodys, false])),
        ("eth_getBlockByHash", json!([chain().genesis.hash, false])),
        ("eth_getBlockTransactionCountByNumber", json!(["0x3"])),
        ("eth_getBlockTransactionCountByHash", json!([nobodys])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x3", "0x0"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["latest", "0xffffffffffffffff"])),
        ("eth_getTransactionByBlockHashAndIndex", json!([nobodys, "0x0"])),
        ("eth_getTransactionByHash", json!([nobodys])),
    ] {
        assert_eq!(pair.call(method, params.clone()).await, Value::Null, "{method} {params}");
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_block_reading_the_head_is_an_error() {
    let node = Node::start_as(looking(), &[], |config| config.from_genesis = false).await;
    for method in ["eth_blockNumber", "eth_syncing"] {
        let (code, text) = node.fails(method, json!([])).await;
        assert!(code == -32000 && text.contains("no block yet"), "{code} {text}");
    }
    for tag in ["latest", "pending", "earliest"] {
        assert_eq!(
            node.call("eth_getBlockByNumber", json!([tag, false])).await,
            Value::Null,
            "{tag}"
        );
    }
    assert_eq!(node.call("eth_getTransactionByHash", json!([B256::ZERO])).await, Value::Null);
    assert_eq!(node.call("eth_chainId", json!([])).await, json!(hex(CHAIN_ID)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_missing_blocks_is_syncing() {
    let sequencer = Node::sequencer(looking()).await;
    // A first peer takes the block that the second misses and does not fetch.
    let first = Node::start(looking(), &[&sequencer]).await;
    sequencer.until(|status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    sequencer.publish(&mut maker, 1).await;
    first.until(|status| status.stored.is_some_and(|stored| stored.number == 1)).await;
    assert_eq!(first.call("eth_syncing", json!([])).await, json!(false));
    let second = Node::start_as(looking(), &[&sequencer], |config| config.sync = None).await;
    sequencer.until(|status| status.mesh == 2).await;
    second.until(|status| status.mesh == 1).await;
    let block = maker.next(unix_seconds());
    sequencer.host.publish(block.clone()).await.unwrap().unwrap();
    second.until(|status| status.highest.is_some_and(|highest| highest.number == 2)).await;
    let expected = json!({"startingBlock": "0x0", "currentBlock": "0x0", "highestBlock": "0x2"});
    assert_eq!(second.call("eth_syncing", json!([])).await, expected);
    assert_eq!(second.call("eth_blockNumber", json!([])).await, json!("0x0"));
    // A block that waits for its ancestors is held, but has no place in the chain.
    let waiting = json!([block.payload.block_hash, false]);
    assert_eq!(second.call("eth_getBlockByHash", waiting).await["number"], "0x2");
    assert_eq!(second.call("eth_getBlockByNumber", json!(["0x2", false])).await, Value::Null);
    for node in [second, first, sequencer] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_an_error_until_it_is_set() {
    let (set, labels) = watch::channel(Labels::default());
    let pair = Pair::serving(RpcConfig { labels: Some(labels), ..looking() }, |_| {}).await;
    let blocks = make(&mut BlockMaker::new(&chain(), 1), 3);
    pair.publish(&blocks).await;
    for tag in ["safe", "finalized"] {
        let (code, text) = pair.follower.fails("eth_getBlockByNumber", json!([tag, false])).await;
        assert!(code == -32000 && text.contains(tag) && text.contains("L1"), "{code} {text}");
        // The sequencer's RPC never had labels.
        assert_eq!(
            pair.sequencer.fails("eth_getBlockByNumber", json!([tag, false])).await,
            (code, text)
        );
        let (code, _) =
            pair.follower.fails("eth_getBlockTransactionCountByNumber", json!([tag])).await;
        assert_eq!(code, -32000);
    }
    set.send_replace(Labels { safe: Some(id(&blocks[1])), finalized: None });
    let safe = pair.call("eth_getBlockByNumber", json!(["safe", false])).await;
    assert_eq!(safe["hash"], json!(blocks[1].payload.block_hash));
    assert_eq!(
        pair.follower.fails("eth_getBlockByNumber", json!(["finalized", false])).await.0,
        -32000
    );
    let elsewhere = BlockId::new(1, B256::repeat_byte(0xee));
    set.send_replace(Labels { safe: Some(elsewhere), finalized: Some(id(&blocks[0])) });
    assert_eq!(pair.call("eth_getBlockByNumber", json!(["safe", false])).await, Value::Null);
    assert_eq!(
        pair.call("eth_getBlockByNumber", json!(["finalized", false])).await["number"],
        "0x1"
    );
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_in_one_sentence() {
    let pair = Pair::start(|_| {}).await;
    pair.publish(&make(&mut BlockMaker::new(&chain(), 1), 1)).await;
    let long = "0x".to_owned() + &"1".repeat(100_000);
    for (method, params, text) in [
        ("eth_getBlockByNumber", json!([]), "missing value for required argument 0"),
        ("eth_getBlockByNumber", json!(["latest"]), "missing value for required argument 1"),
        (
            "eth_getBlockByNumber",
            json!(["latest", "yes"]),
            "invalid argument 1: true or false is expected",
        ),
        ("eth_getBlockByNumber", json!(["latest", true, 1]), "too many arguments, want at most 2"),
        ("eth_getBlockByNumber", json!({"number": 1}), "non-array args"),
        ("eth_getBlockByNumber", json!(["newest", true]), "invalid argument 0: a block's number"),
        ("eth_getBlockByNumber", json!([1, true]), "invalid argument 0: a block's number"),
        ("eth_getBlockByNumber", json!(["0x01", true]), "invalid argument 0: a block's number"),
        ("eth_getBlockByNumber", json!([long, true]), "invalid argument 0: a block's number"),
        ("eth_getBlockByNumber", json!([null, true]), "invalid argument 0: a block's number"),
        ("eth_getBlockByHash", json!(["0x1", true]), "invalid argument 0: a hash"),
        ("eth_getBlockByHash", json!(["latest", true]), "invalid argument 0: a hash"),
        ("eth_getBlockByHash", json!([long, true]), "invalid argument 0: a hash"),
        (
            "eth_getBlockTransactionCountByNumber",
            json!(["0x"]),
            "invalid argument 0: a block's number",
        ),
        ("eth_getBlockTransactionCountByHash", json!([[]]), "invalid argument 0: a hash"),
        ("eth_getTransactionByHash", json!([]), "missing value for required argument 0"),
        ("eth_getTransactionByHash", json!([{"hash": "0x"}]), "invalid argument 0: a hash"),
        (
            "eth_getTransactionByBlockNumberAndIndex",
            json!(["latest", 0]),
            "invalid argument 1: a number",
        ),
        (
            "eth_getTransactionByBlockNumberAndIndex",
            json!(["latest", "0x-1"]),
            "invalid argument 1: a number",
        ),
        ("eth_getTransactionByBlockHashAndIndex", json!([B256::ZERO]), "missing value"),
        ("eth_chainId", json!([1]), "too many arguments, want at most 0"),
    ] {
        let (code, found) = pair.follower.fails(method, params.clone()).await;
        assert!(code == -32602 && found.contains(text), "{method} {params:.80}: {code} {found}");
        assert!(found.len() < 200, "{found}");
    }
    let (code, text) = pair.follower.fails("eth_getBalance", json!([])).await;
    assert!(code == -32601 && text.contains("eth_getBalance"), "{code} {text}");
    assert_eq!(pair.call("eth_blockNumber", json!(null)).await, json!("0x1"));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_transaction_spoils_nothing() {
    let pair = Pair::start(|_| {}).await;
    let mut block = BlockMaker::new(&chain(), 1).next(unix_seconds());
    let (strange, count) = ([0x7d_u8, 0xff, 1, 2], block.payload.transactions.len());
    block.payload.transactions.push(Bytes::copy_from_slice(&strange));
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    pair.publish(std::slice::from_ref(&block)).await;
    let hash = keccak256(strange);
    let full = pair.call("eth_getBlockByNumber", json!(["latest", true])).await;
    let expected = json!({
        "hash": hash, "type": "0x7d", "input": "0x7dff0102", "blockHash": block.payload.block_hash,
        "blockNumber": "0x1", "transactionIndex": hex(count as u64),
        "blockTimestamp": hex(block.payload.timestamp),
    });
    assert_eq!(full["transactions"][count], expected);
    assert!(full["transactions"][count - 1]["from"].is_string());
    assert_eq!(pair.call("eth_getTransactionByHash", json!([hash])).await, expected);
    let by_place = json!(["latest", hex(count as u64)]);
    assert_eq!(pair.call("eth_getTransactionByBlockNumberAndIndex", by_place).await, expected);
    let hashes = pair.call("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(hashes["transactions"][count], json!(hash));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_left_memory_are_read_from_the_store() {
    let small = |config: &mut HostConfig| {
        config.view.max_blocks = 4;
        config.view.keep_depth = 1;
    };
    let pair = Pair::start(small).await;
    let blocks = make(&mut BlockMaker::new(&chain(), 4), 12);
    // Not faster than it can take them, with so little room.
    for block in &blocks {
        pair.publish(std::slice::from_ref(block)).await;
    }
    pair.follower.until(|status| status.stored.map(|stored| stored.number) == Some(12)).await;
    let held = pair.follower.host.core(|node, _| node.view().blocks());
    assert!(held <= 4, "{held}");
    for block in &blocks {
        let (number, hash) = (hex(block.payload.block_number), block.payload.block_hash);
        let by_number = pair.call("eth_getBlockByNumber", json!([number, true])).await;
        assert_eq!(by_number["hash"], json!(hash));
        assert_eq!(pair.call("eth_getBlockByHash", json!([hash, true])).await, by_number);
        let last = by_number["transactions"].as_array().unwrap().last().unwrap().clone();
        let found = pair.call("eth_getTransactionByHash", json!([last["hash"]])).await;
        assert_eq!(found["hash"], last["hash"]);
    }
    assert_eq!(
        pair.call("eth_getBlockByNumber", json!(["earliest", false])).await["number"],
        "0x1"
    );
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blocks_are_answered_within_bounds_without_blocking_others() {
    let pair = Pair::start(|_| {}).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    let mut block = maker.next(unix_seconds());
    // A megabyte of real transactions.
    let real: Vec<_> = make(&mut BlockMaker::new(&chain(), 2), 40);
    let real: Vec<Bytes> = real.into_iter().flat_map(|block| block.payload.transactions).collect();
    let mut size = 0;
    for raw in real.iter().cycle().take_while(|raw| {
        size += raw.len();
        size < 1_000_000
    }) {
        block.payload.transactions.push(raw.clone());
    }
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    pair.publish(std::slice::from_ref(&block)).await;
    let many = (0..12).map(|_| pair.call("eth_getBlockByNumber", json!(["latest", true])));
    let small = pair.call("eth_chainId", json!([]));
    let (answers, small) = futures::join!(futures::future::join_all(many), small);
    assert_eq!(small, json!(hex(CHAIN_ID)));
    for answer in answers {
        let transactions = answer["transactions"].as_array().unwrap();
        assert_eq!(transactions.len(), block.payload.transactions.len());
        assert!(transactions.iter().all(|transaction| transaction["from"].is_string()));
    }

    // Enough transactions to exceed an answer's limit as JSON.
    maker.resume(id(&block), block.payload.timestamp);
    let mut block = maker.next(unix_seconds());
    block.payload.transactions = vec![Bytes::from_static(&[5]); 200_000];
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    pair.publish(std::slice::from_ref(&block)).await;
    for is_full in [true, false] {
        let (code, text) =
            pair.follower.fails("eth_getBlockByNumber", json!(["latest", is_full])).await;
        assert!(code == -32008 && text.contains("one transaction at a time"), "{code} {text}");
    }
    let count = pair.call("eth_getBlockTransactionCountByNumber", json!(["latest"])).await;
    assert_eq!(count, json!(hex(200_000)));
    let one = pair.call("eth_getTransactionByBlockNumberAndIndex", json!(["latest", "0x7"])).await;
    assert_eq!(one["input"], "0x05");
    assert_eq!(
        pair.call("eth_getTransactionByHash", json!([keccak256([5])])).await["blockNumber"],
        "0x2"
    );
    pair.stop().await;
}

/// Returns the next head that a subscriber receives.
async fn next_head(socket: &mut Socket, subscription: &Value) -> Value {
    let mut news = socket.next().await.unwrap();
    assert_eq!(
        (&news["jsonrpc"], &news["method"]),
        (&json!("2.0"), &json!("eth_subscription")),
        "{news}"
    );
    assert_eq!(news["params"]["subscription"], *subscription);
    news["params"]["result"].take()
}

fn ask(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_delivered_once_in_order_and_over_a_reorg() {
    let pair = Pair::start(|_| {}).await;
    let mut socket = Socket::open(pair.follower.rpc.address()).await;
    let answer = socket.ask(&ask("eth_subscribe", &json!(["newHeads"]))).await;
    let subscription = answer["result"].clone();
    assert!(subscription.as_str().is_some_and(|id| id.starts_with("0x")), "{answer}");

    let mut maker = BlockMaker::new(&chain(), 1);
    let first = make(&mut maker, 3);
    pair.publish(&first).await;
    let mut other = BlockMaker::new(&chain(), 2);
    other.resume(id(&first[0]), first[0].payload.timestamp);
    let branch = make(&mut other, 3);
    pair.publish(&branch).await;
    for block in first.iter().chain(&branch) {
        let head = next_head(&mut socket, &subscription).await;
        assert_eq!(head["hash"], json!(block.payload.block_hash));
        // A header without further fields.
        let mut whole = pair.call("eth_getBlockByHash", json!([head["hash"], false])).await;
        for more in ["size", "uncles", "withdrawals", "transactions"] {
            assert!(whole.as_object_mut().unwrap().remove(more).is_some(), "{more}");
        }
        assert_eq!(head, whole);
    }

    // A number returns the canonical block; a hash also returns an abandoned one.
    for block in &branch {
        let number = hex(block.payload.block_number);
        let found = pair.call("eth_getBlockByNumber", json!([number, false])).await;
        assert_eq!(found["hash"], json!(block.payload.block_hash));
    }
    for block in &first {
        let found = pair.call("eth_getBlockByHash", json!([block.payload.block_hash, false])).await;
        assert_eq!(found["number"], json!(hex(block.payload.block_number)));
    }

    let answer = socket.ask(&ask("eth_unsubscribe", &json!([subscription]))).await;
    assert_eq!(answer["result"], json!(true));
    let again = socket.ask(&ask("eth_unsubscribe", &json!([subscription]))).await;
    let expected = json!({"code": -32000, "message": "subscription not found"});
    assert_eq!(again["error"], expected, "{again}");
    pair.publish(&make(&mut other, 1)).await;
    // The next message is an answer, not the head.
    assert_eq!(socket.ask(&ask("eth_blockNumber", &json!([]))).await["result"], json!("0x5"));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_heads_can_be_subscribed_to_and_only_over_a_websocket() {
    let node = Node::start(looking(), &[]).await;
    for method in ["eth_subscribe", "eth_unsubscribe"] {
        let answer = post(node.rpc.address(), &[], &ask(method, &json!(["newHeads"]))).await.json();
        assert_eq!(answer["error"]["code"], json!(-32001), "{answer}");
    }
    let mut socket = Socket::open(node.rpc.address()).await;
    for wrong in [
        json!([]),
        json!(["logs"]),
        json!(["newHeads", {}]),
        json!(["newPendingTransactions"]),
        json!([7]),
    ] {
        let answer = socket.ask(&ask("eth_subscribe", &wrong)).await;
        assert_eq!(answer["error"]["code"], json!(-32602), "{answer}");
    }
    // It ends with the node, and says so.
    let id = socket.ask(&ask("eth_subscribe", &json!(["newHeads"]))).await["result"].clone();
    let Node { host, rpc, .. } = node;
    host.stop().await;
    let last = socket.next().await.unwrap();
    assert_eq!(last["params"], json!({"subscription": id, "error": "the node has stopped"}));
    rpc.stop().await;
}
