//! Proved reads of our node with op-geth as the endpoint: they equal op-geth's own answers, and no
//! false answer gets through.

use crate::chain::World;
use crate::geth::{Geth, number};
use crate::liar::Liar;
use crate::support::{Node, rich, transfer};
use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::Encodable2718;
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// Creates a contract that stores the block's number in the slot that its input names, and logs it
/// with the caller; without input it reverts.
const TOKEN: [u8; 32] = hex!("60178060095f395ff3366007575f5ffd5b435f3555435f523360dd60205fa200");
/// Creates a contract that destroys itself immediately.
const DESTROYED: [u8; 2] = hex!("33ff");

fn signed(hash: B256) -> Signature {
    Signature::from_raw(&rich().sign(&hash)).unwrap()
}

fn raw<T: SignableTransaction<Signature>>(transaction: T) -> String
where
    Signed<T>: Encodable2718,
{
    let signature = signed(transaction.signature_hash());
    hex::encode_prefixed(transaction.into_signed(signature).encoded_2718())
}

const GAS: u64 = 200_000;
const PRICE: u128 = 10_000_000_000;

fn create(chain_id: u64, nonce: u64, code: &'static [u8]) -> String {
    raw(TxLegacy {
        chain_id: Some(chain_id),
        nonce,
        gas_price: PRICE,
        gas_limit: GAS,
        to: TxKind::Create,
        input: Bytes::from_static(code),
        ..TxLegacy::default()
    })
}

/// Calls the token by a transaction of each type in turn; without input, every eighth time.
fn call(chain_id: u64, nonce: u64, token: Address) -> String {
    let slot = B256::with_last_byte((nonce % 5) as u8);
    let input = if nonce % 8 == 7 { Bytes::new() } else { slot.into() };
    let to = TxKind::Call(token);
    match nonce % 4 {
        0 => raw(TxLegacy {
            chain_id: Some(chain_id),
            nonce,
            gas_price: PRICE,
            gas_limit: GAS,
            to,
            input,
            ..TxLegacy::default()
        }),
        1 => raw(TxEip2930 {
            chain_id,
            nonce,
            gas_price: PRICE,
            gas_limit: GAS,
            to,
            input,
            ..TxEip2930::default()
        }),
        2 => {
            let authority = Authorization {
                chain_id: U256::from(chain_id),
                address: token,
                // The sender's nonce is one higher when the list is processed.
                nonce: nonce + 1,
            };
            let signature = signed(authority.signature_hash());
            raw(TxEip7702 {
                chain_id,
                nonce,
                max_fee_per_gas: PRICE,
                max_priority_fee_per_gas: 1,
                gas_limit: GAS,
                to: token,
                input,
                authorization_list: vec![authority.into_signed(signature)],
                ..TxEip7702::default()
            })
        }
        _ => raw(TxEip1559 {
            chain_id,
            nonce,
            max_fee_per_gas: PRICE,
            max_priority_fee_per_gas: 7,
            gas_limit: GAS,
            to,
            input,
            ..TxEip1559::default()
        }),
    }
}

/// A chain with transactions of every type in its blocks.
struct Traffic {
    world: World,
    token: Address,
    /// The last block with such transactions.
    last: u64,
}

impl Traffic {
    async fn start(blocks: u64) -> Self {
        let world = World::start().await;
        let id = world.genesis.chain_id;
        let send =
            async |raw: String| world.sequencing.call("eth_sendRawTransaction", json!([raw])).await;
        send(create(id, 0, &TOKEN)).await;
        send(create(id, 1, &DESTROYED)).await;
        let token = rich().address().create(0);
        let mut nonce = 2;
        let mut head = world.sequencing.head().await;
        let last = head + blocks;
        while head < last {
            // An account whose code delegates to a contract may have one transaction at a time.
            let mined = json!([rich().address(), "latest"]);
            if number(&world.sequencing.call("eth_getTransactionCount", mined).await) == nonce {
                let raw = match nonce % 9 {
                    8 => transfer(id, nonce, Address::repeat_byte(0x42), nonce),
                    _ => call(id, nonce, token),
                };
                send(raw).await;
                nonce = next_nonce(nonce);
            }
            sleep(Duration::from_millis(200)).await;
            head = world.sequencing.head().await;
        }
        Self { world, token, last }
    }

    /// Starts a node that proves the answers of these endpoints.
    async fn reader(&self, name: &str, endpoints: &str) -> Node {
        let static_peer = format!("--p2p.static={}", self.world.address);
        let endpoints = format!("--l2.proofs={endpoints}");
        let flags = [static_peer.as_str(), endpoints.as_str()];
        let mut node = Node::new(self.world.directory.path(), name, &self.world.rollup, &flags);
        node.start();
        let last = self.last;
        node.until("it follows", |status| status["head"]["number"].as_u64() >= Some(last)).await;
        node
    }

    fn geth(&self) -> &Geth {
        &self.world.sequencing
    }

    /// Returns the reads of a block.
    async fn reads(&self, height: u64) -> Vec<(&'static str, Value)> {
        let at = json!(format!("{height:#x}"));
        let block = self.geth().block(height).await;
        let slot = json!(B256::with_last_byte((height % 5) as u8));
        let destroyed = rich().address().create(1);
        let mut reads = vec![
            ("eth_getBlockReceipts", json!([at])),
            ("eth_getLogs", json!([{ "fromBlock": at, "toBlock": at }])),
            ("eth_getLogs", json!([{ "blockHash": block["hash"], "address": self.token }])),
            ("eth_getStorageAt", json!([self.token, slot, at])),
            ("eth_getProof", json!([self.token, [slot, "0x77"], at])),
            ("eth_getCode", json!([self.token, at])),
            ("eth_getCode", json!([rich().address(), { "blockHash": block["hash"] }])),
            ("eth_getBlockByHash", json!([block["hash"], false])),
        ];
        let call = json!({ "from": rich().address(), "to": self.token, "input": slot });
        let create = json!({ "from": rich().address(), "input": Bytes::from_static(&TOKEN) });
        for method in ["eth_call", "eth_estimateGas", "eth_createAccessList"] {
            reads.push((method, json!([call, at])));
            reads.push((method, json!([create, at])));
        }
        for address in [rich().address(), self.token, destroyed, Address::repeat_byte(0x42)] {
            reads.push(("eth_getBalance", json!([address, at])));
            reads.push(("eth_getTransactionCount", json!([address, at])));
            reads.push(("eth_getProof", json!([address, [], at])));
        }
        for (index, hash) in block["transactions"].as_array().unwrap().iter().enumerate() {
            reads.push(("eth_getTransactionReceipt", json!([hash])));
            // The first one is a deposit. Gossip does not carry its nonce.
            if index > 0 {
                reads.push(("eth_getTransactionByHash", json!([hash])));
            }
        }
        reads
    }
}

/// Returns the sender's nonce after a call. Its own authorization counts too.
const fn next_nonce(nonce: u64) -> u64 {
    if nonce % 9 != 8 && nonce % 4 == 2 { nonce + 2 } else { nonce + 1 }
}

pub(crate) async fn proved_reads_equal_the_endpoints_answers() {
    let traffic = Traffic::start(40).await;
    let endpoints = format!("{},http://127.0.0.1:9", traffic.geth().url());
    let mut node = traffic.reader("reader", &endpoints).await;
    let (mut count, mut kinds) = (0, std::collections::BTreeSet::new());
    for height in 1..=traffic.last {
        for (method, params) in traffic.reads(height).await {
            let ours = node.call(method, params.clone()).await;
            let ours = ours.unwrap_or_else(|error| panic!("{method} {params}: {error}"));
            let theirs = traffic.geth().call(method, params.clone()).await;
            if method == "eth_getBlockReceipts" {
                let receipts = ours.as_array().unwrap();
                kinds.extend(receipts.iter().map(|one| one["type"].to_string()));
                kinds.extend(receipts.iter().map(|one| one["status"].to_string() + " status"));
            }
            assert_eq!(ours, theirs, "{method} {params}");
            count += 1;
        }
    }
    assert_eq!(kinds.len(), 7, "every type, and both ends: {kinds:?}");
    // A whole range at once, and the newest state.
    let range = json!([{ "fromBlock": "0x0", "toBlock": format!("{:#x}", traffic.last) }]);
    let ours = node.call("eth_getLogs", range.clone()).await.unwrap();
    assert_eq!(ours, traffic.geth().call("eth_getLogs", range).await);
    node.call("eth_getBalance", json!([traffic.token, "latest"])).await.unwrap();
    // A block soon includes a transaction that is sent through the node.
    let nonce = node.call("eth_getTransactionCount", json!([rich().address(), "latest"])).await;
    let raw = transfer(901, number(&nonce.unwrap()), Address::repeat_byte(0x43), 5);
    let hash = node.call("eth_sendRawTransaction", json!([raw])).await.unwrap();
    for attempt in 0.. {
        let receipt = node.call("eth_getTransactionReceipt", json!([hash])).await.unwrap();
        if receipt["status"] == "0x1" {
            break;
        }
        assert!(attempt < 300, "it is in no block: {receipt}");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(node.status().await["problems"].as_array().unwrap().is_empty());
    println!("{count} reads of {} blocks are proved", traffic.last);
}

/// Changes the last digit of a text.
fn changed(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    let digit = last.chars().next().unwrap().to_digit(16).unwrap();
    format!("{rest}{:x}", digit ^ 1)
}

pub(crate) async fn no_lie_of_an_endpoint_gets_through() {
    let traffic = Traffic::start(12).await;
    let lies: [(&str, &str); 10] = [
        ("eth_getProof", "/balance"),
        ("eth_getProof", "/nonce"),
        ("eth_getProof", "/codeHash"),
        ("eth_getProof", "/storageHash"),
        ("eth_getProof", "/accountProof/0"),
        ("eth_getProof", "/storageProof/0/value"),
        ("eth_getCode", ""),
        ("eth_getBlockReceipts", "/0/status"),
        ("eth_getBlockReceipts", "/1/from"),
        ("eth_getBlockReceipts", "/1/gasUsed"),
    ];
    let mut liars = Vec::new();
    for (method, pointer) in lies {
        let alter = move |asked: &str, answer: &mut Value| {
            let part = answer.pointer_mut(pointer).filter(|_| asked == method);
            let text = part.and_then(|part| Some((changed(part.as_str()?), part)));
            text.map(|(text, part)| *part = text.into()).is_some()
        };
        liars.push(Liar::altering(traffic.geth(), alter).await);
    }
    let mut urls: Vec<&str> = liars.iter().map(Liar::url).collect();
    let honest = traffic.geth().url();
    urls.push(&honest);
    let mut node = traffic.reader("lied-to", &urls.join(",")).await;
    // A remaining liar is asked sooner or later.
    for round in 0..40 {
        let height = traffic.last - round % 6;
        for (method, params) in traffic.reads(height).await {
            let ours = node.call(method, params.clone()).await;
            let ours = ours.unwrap_or_else(|error| panic!("{method} {params}: {error}"));
            let theirs = traffic.geth().call(method, params.clone()).await;
            assert_eq!(ours, theirs, "{method} {params}");
        }
        if liars.iter().all(|liar| liar.lies() > 0) {
            break;
        }
    }
    let told = liars.iter().filter(|liar| liar.lies() > 0).count();
    assert!(told >= 5, "{told} endpoints lied");
    let is_known = |status: &Value| status["problems"].to_string().contains("replace the endpoint");
    let problems = node.until("the trouble is known", is_known).await["problems"].to_string();
    assert!(
        liars.iter().any(|liar| problems.contains(&liar.url()["http://".len()..])),
        "{problems}"
    );
    assert!(!problems.contains(&honest["http://".len()..]), "{problems}");
}
