//! Calls that the node executes over state which a simulated endpoint proves.

use crate::proofs::proving;
use crate::support::{Node, chain, looking};
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::BlockId;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The only account of the state.
const CONTRACT: Address = Address::repeat_byte(0xc0);
/// Returns the sum of slot 7 and the input's first word. Without input it reverts with the word 42.
const CODE: [u8; 30] = hex!("36600e57602a60005260206000fd5b6007546000350160005260206000f3");
const SLOT: B256 = B256::with_last_byte(7);
const VALUE: u64 = 40;

/// Returns the only node of a trie with one value, and its root.
fn leaf(key: &[u8], value: Vec<u8>) -> (Bytes, B256) {
    let path = [&[0x20_u8][..], keccak256(key).as_slice()].concat();
    let node = alloy_rlp::encode(vec![Bytes::from(path), Bytes::from(value)]);
    let root = keccak256(&node);
    (node.into(), root)
}

/// A state with one contract, and an endpoint that proves it.
struct State {
    account: Bytes,
    slot: Bytes,
    storage_root: B256,
    root: B256,
    /// What the endpoint says about the slot.
    claim: u64,
}

impl State {
    fn new(claim: u64) -> Self {
        let (slot, storage_root) = leaf(SLOT.as_slice(), alloy_rlp::encode(U256::from(VALUE)));
        let fields: [Bytes; 4] = [
            Bytes::from_static(&[1]),
            Bytes::new(),
            storage_root.0.into(),
            keccak256(CODE).0.into(),
        ];
        let (account, root) = leaf(CONTRACT.as_slice(), alloy_rlp::encode(fields.to_vec()));
        Self { account, slot, storage_root, root, claim }
    }

    /// Serves the state, and returns the URL.
    async fn serve(self: Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(respond(stream, self.clone()));
            }
        });
        url
    }

    fn answer(&self, method: &str, params: &Value) -> Value {
        match method {
            "eth_getProof" => json!({ "result": self.proof(params) }),
            "eth_getCode" => json!({ "result": Bytes::from_static(&CODE) }),
            "eth_blockNumber" => json!({ "result": "0xffffff" }),
            _ => json!({ "error": { "code": -32601, "message": "the method does not exist" } }),
        }
    }

    fn proof(&self, params: &Value) -> Value {
        let is_contract = params[0] == json!(CONTRACT);
        let slots = params[1].as_array().unwrap().iter().map(|slot| {
            assert!(is_contract && *slot == json!(SLOT), "{params}");
            json!({ "key": slot, "value": format!("{:#x}", self.claim), "proof": [self.slot] })
        });
        let (hash, root, nonce) = match is_contract {
            true => (keccak256(CODE), self.storage_root, "0x1"),
            false => (B256::ZERO, B256::ZERO, "0x0"),
        };
        json!({
            "address": params[0],
            "accountProof": [self.account],
            "balance": "0x0",
            "codeHash": hash,
            "nonce": nonce,
            "storageHash": root,
            "storageProof": slots.collect::<Vec<_>>(),
        })
    }
}

/// Answers one request.
///
/// # Errors
/// If the client has given up.
async fn respond(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut request = Vec::new();
    let question = loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str::<Value>(body));
        if let Some(Ok(question)) = body {
            break question;
        }
    };
    let mut answer = state.answer(question["method"].as_str().unwrap(), &question["params"]);
    answer["jsonrpc"] = json!("2.0");
    answer["id"] = question["id"].clone();
    let body = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await
}

/// A node that reads from an endpoint, and another one that hears its blocks.
struct Nodes {
    node: Node,
    hearer: Node,
}

impl Nodes {
    /// Starts the nodes, and publishes two blocks with the endpoint's state.
    async fn start(state: State) -> Self {
        let (root, state) = (state.root, Arc::new(state));
        let node = Node::sequencer(proving(&[state.serve().await])).await;
        let hearer = Node::start(looking(), &[&node]).await;
        node.until(|status| status.mesh == 1).await;
        let mut maker = BlockMaker::new(&chain(), 1);
        for number in 1..=2 {
            let mut envelope = maker.next(unix_seconds());
            let beacon_root = envelope.parent_beacon_block_root;
            envelope.payload.state_root = root;
            let hash = envelope.payload.seal(beacon_root).unwrap();
            maker.resume(BlockId::new(number, hash), envelope.payload.timestamp);
            node.host.publish(envelope).await.unwrap().unwrap();
        }
        node.until(|status| status.head.is_some_and(|head| head.number == 2)).await;
        Self { node, hearer }
    }

    async fn stop(self) {
        self.node.stop().await;
        self.hearer.stop().await;
    }
}

fn number(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).unwrap();
    u64::from_str_radix(digits, 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_executed_over_proved_state() {
    let nodes = Nodes::start(State::new(VALUE)).await;
    let node = &nodes.node;
    let call = json!({ "to": CONTRACT, "data": B256::with_last_byte(2) });
    let block = node.call("eth_getBlockByNumber", json!(["latest", false])).await;
    let places = [
        json!("latest"),
        json!("pending"),
        json!("0x2"),
        json!({ "blockHash": block["hash"] }),
        json!(null),
    ];
    for place in places {
        let result = node.call("eth_call", json!([call, place])).await;
        assert_eq!(result, json!(B256::with_last_byte(42)), "{place}");
    }
    assert_eq!(node.call("eth_call", json!([call])).await, json!(B256::with_last_byte(42)));
    let gas = number(&node.call("eth_estimateGas", json!([call])).await);
    assert!((23_000..25_000).contains(&gas), "{gas}");
    let list = node.call("eth_createAccessList", json!([call])).await;
    assert_eq!(list["accessList"], json!([{ "address": CONTRACT, "storageKeys": [SLOT] }]));
    // The list costs more than it saves here.
    let used = number(&list["gasUsed"]);
    assert!((gas..gas + 4300).contains(&used) && list.get("error").is_none(), "{list}");
    // An account without code returns nothing.
    let empty = json!([{ "from": CONTRACT, "to": Address::ZERO }]);
    assert_eq!(node.call("eth_call", empty).await, "0x");
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_has_geths_error() {
    let nodes = Nodes::start(State::new(VALUE)).await;
    let node = &nodes.node;
    for method in ["eth_call", "eth_estimateGas"] {
        let answer = node.answer(method, json!([{ "to": CONTRACT }])).await;
        let data = B256::with_last_byte(42);
        let expected = json!({ "code": 3, "message": "execution reverted", "data": data });
        assert_eq!(answer["error"], expected, "{method}");
    }
    let list = node.call("eth_createAccessList", json!([{ "to": CONTRACT }])).await;
    assert_eq!(list["error"], "execution reverted");
    let poor = json!([{ "to": CONTRACT, "value": "0x1" }]);
    let (code, text) = node.fails("eth_call", poor).await;
    assert!(code == -32000 && text.starts_with("insufficient funds"), "{text}");
    let low = json!([{ "to": CONTRACT, "gas": "0x5207" }]);
    let (code, text) = node.fails("eth_call", low).await;
    assert!(code == -32000 && text.starts_with("intrinsic gas too low"), "{text}");
    for (params, code, part) in [
        (json!([]), -32602, "a call is expected"),
        (json!([{ "to": "0x12" }]), -32602, "an address"),
        (json!([{}, "newest"]), -32602, "a block is expected"),
        (json!([{}, "latest", { CONTRACT.to_string(): {} }]), -32602, "overrides are refused"),
        (json!([{}, "0x99"]), -32000, "unknown block"),
    ] {
        let (given, text) = node.fails("eth_call", params.clone()).await;
        assert!(given == code && text.contains(part), "{params}: {given} {text}");
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_a_slot_leads_to_no_answer() {
    let nodes = Nodes::start(State::new(VALUE + 1)).await;
    let call = json!([{ "to": CONTRACT, "data": B256::with_last_byte(2) }]);
    let (code, text) = nodes.node.fails("eth_call", call).await;
    assert!(code == -32603 && text.contains("false answer"), "{text}");
    nodes.stop().await;
}
