use super::*;
use serde_json::Value;

const CONTRACT: Address = Address::repeat_byte(0xcc);
const SIGNER: Address = Address::repeat_byte(0x51);
const NEXT: Address = Address::repeat_byte(0x52);
const HASH: B256 = B256::repeat_byte(0xaa);

fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(seconds))
}

fn config() -> L1Config {
    let reload = Some(Duration::from_secs(600));
    L1Config { chain_id: 1, contract: CONTRACT, confirmations: 4, reload }
}

/// An L1 node with realistic answers.
struct Node {
    chain_id: u64,
    newest: u64,
    signer: Address,
    asked: Vec<Value>,
}

impl Node {
    fn new() -> Self {
        Self { chain_id: 1, newest: 100, signer: SIGNER, asked: Vec::new() }
    }

    fn answer(&mut self, body: &str) -> Vec<u8> {
        let request: Value = serde_json::from_str(body).expect("the request is JSON");
        let result = match request["method"].as_str() {
            Some("eth_chainId") => json!(U64::from(self.chain_id)),
            Some("eth_blockNumber") => json!(U64::from(self.newest)),
            Some("eth_getBlockByNumber") => {
                json!({ "number": request["params"][0], "hash": HASH,
                    "transactions": ["0x12"], "extra": {} })
            }
            Some("eth_getStorageAt") => json!(self.signer.into_word()),
            other => panic!("asked for {other:?}"),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
        self.asked.push(request);
        answer.to_string().into_bytes()
    }

    /// Answers all requests that the source makes at this moment; returns its reports.
    fn serve(&mut self, source: &mut SignerSource, now: Instant) -> Vec<L1Step> {
        let mut told = Vec::new();
        while let Some(step) = source.poll(now) {
            match step {
                L1Step::Ask { id, body } => source.answered(now, id, Ok(&self.answer(&body))),
                other => told.push(other),
            }
        }
        told
    }

    fn methods(&self) -> Vec<&str> {
        self.asked.iter().filter_map(|request| request["method"].as_str()).collect()
    }
}

/// Answers every request with this body; returns the source's reports.
fn always(source: &mut SignerSource, now: Instant, body: Result<&[u8], &str>) -> Vec<L1Step> {
    let mut told = Vec::new();
    while let Some(step) = source.poll(now) {
        match step {
            L1Step::Ask { id, .. } => source.answered(now, id, body.map_err(str::to_owned)),
            other => told.push(other),
        }
    }
    told
}

fn signer(signer: Address, block: u64) -> L1Step {
    L1Step::Signer { signer: Some(signer), block, timestamp: None }
}

#[test]
fn the_slot_is_the_hash_of_its_name() {
    assert_eq!(SIGNER_SLOT, alloy_primitives::keccak256("systemconfig.unsafeblocksigner"));
}

#[test]
fn a_load_reads_the_slot_at_the_hash_of_a_confirmed_block() {
    let (mut node, mut source) = (Node::new(), SignerSource::new(at(0), config()));
    assert_eq!(node.serve(&mut source, at(0)), [signer(SIGNER, 96)]);
    assert_eq!(
        node.methods(),
        ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber", "eth_getStorageAt"]
    );
    assert_eq!(node.asked[2]["params"], json!(["0x60", false]));
    let slot = json!([CONTRACT, SIGNER_SLOT, { "blockHash": HASH, "requireCanonical": false }]);
    assert_eq!(node.asked[3]["params"], slot);
    // The newest block is used if the chain has fewer blocks than confirmations.
    let (mut young, mut source) =
        (Node { newest: 3, ..Node::new() }, SignerSource::new(at(0), config()));
    assert_eq!(young.serve(&mut source, at(0)), [signer(SIGNER, 3)]);
}

#[test]
fn the_signer_is_reread_every_interval_and_follows_a_rotation() {
    let (mut node, mut source) = (Node::new(), SignerSource::new(at(0), config()));
    node.serve(&mut source, at(0));
    assert_eq!(source.next_wakeup(), Some(at(600)));
    assert_eq!(node.serve(&mut source, at(599)), []);
    (node.signer, node.newest) = (NEXT, 150);
    assert_eq!(node.serve(&mut source, at(600)), [signer(NEXT, 146)]);
    assert_eq!(node.methods().len(), 7, "the chain is asked for once");
    node.signer = Address::ZERO;
    assert_eq!(
        node.serve(&mut source, at(1200)),
        [L1Step::Signer { signer: None, block: 146, timestamp: None }]
    );
    let once = L1Config { reload: None, ..config() };
    let mut source = SignerSource::new(at(0), once);
    node.serve(&mut source, at(0));
    assert_eq!(source.next_wakeup(), None);
}

#[test]
fn the_first_load_gives_up_after_five_attempts_but_is_retried_later() {
    let mut source = SignerSource::new(at(0), config());
    for attempt in 0..4 {
        let told = always(&mut source, at(attempt * 10), Err("connection refused"));
        assert_eq!(told, [L1Step::Failed(L1Error::Transport("connection refused".into()))]);
        assert_eq!(source.next_wakeup(), Some(at((attempt + 1) * 10)));
    }
    let told = always(&mut source, at(40), Err("connection refused"));
    assert_eq!(told, [L1Step::GaveUp(L1Error::Transport("connection refused".into()))]);
    assert_eq!(Node::new().serve(&mut source, at(50)), [signer(SIGNER, 96)], "an outage ends");
}

#[test]
fn a_later_outage_is_retried_with_growing_pauses() {
    let (mut node, mut source) = (Node::new(), SignerSource::new(at(0), config()));
    node.serve(&mut source, at(0));
    let (mut now, mut waits) = (600, Vec::new());
    for _ in 0..9 {
        assert!(matches!(always(&mut source, at(now), Err("down"))[..], [L1Step::Failed(_)]));
        let next = source.next_wakeup().expect("it tries again").since(at(0)).as_secs();
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
    assert_eq!(node.serve(&mut source, at(now)), [signer(SIGNER, 96)]);
    assert_eq!(source.next_wakeup(), Some(at(now + 600)));
}

#[test]
fn no_answer_within_ten_seconds_is_a_failure_and_a_late_one_is_ignored() {
    let mut source = SignerSource::new(at(0), config());
    let Some(L1Step::Ask { id, .. }) = source.poll(at(0)) else { panic!("it asks") };
    assert_eq!((source.poll(at(9)), source.next_wakeup()), (None, Some(at(10))));
    assert_eq!(source.poll(at(10)), Some(L1Step::Failed(L1Error::Timeout)));
    source.answered(at(11), id, Ok(br#"{"result":"0x1"}"#));
    assert_eq!(source.next_wakeup(), Some(at(20)));
    assert_eq!(Node::new().serve(&mut source, at(20)), [signer(SIGNER, 96)]);
}

#[test]
fn a_node_of_another_chain_is_refused_by_name() {
    let mut source = SignerSource::new(at(0), config());
    let told = Node { chain_id: 11_155_111, ..Node::new() }.serve(&mut source, at(0));
    assert_eq!(told, [L1Step::GaveUp(L1Error::WrongChain { expected: 1, found: 11_155_111 })]);
    // After the node was on the right chain, a wrong one is an outage like any other.
    let mut node = Node::new();
    assert_eq!(node.serve(&mut source, at(10)), [signer(SIGNER, 96)]);
    assert_eq!(always(&mut source, at(610), Err("down")).len(), 1);
    node.chain_id = 5;
    let told = node.serve(&mut source, at(620));
    assert_eq!(told, [L1Step::Failed(L1Error::WrongChain { expected: 1, found: 5 })]);
}

#[test]
fn any_response_is_an_answer_or_a_one_line_error() {
    let long = format!("<html>{}", "x\n".repeat(5000));
    for body in [
        "",
        "null",
        "[]",
        "{}",
        long.as_str(),
        r#"{"result":null}"#,
        r#"{"result":"0x"}"#,
        r#"{"result":"0xfffffffffffffffff"}"#,
        r#"{"result":{"number":"0x60"}}"#,
        r#"{"error":{"code":-32000,"message":"header not\nfound"}}"#,
        r#"{"error":{"code":"x"}}"#,
        "\u{0}\u{ff}",
    ] {
        let mut source = SignerSource::new(at(0), config());
        let told = always(&mut source, at(0), Ok(body.as_bytes()));
        let [L1Step::Failed(error)] = &told[..] else { panic!("{body}: {told:?}") };
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 700, "{text}");
    }
    let refused = br#"{"error":{"code":-32602,"message":"no"}}"#;
    let told = always(&mut SignerSource::new(at(0), config()), at(0), Ok(refused));
    let expected = L1Error::Refused { method: "eth_chainId", code: -32602, message: "no".into() };
    assert_eq!(told, [L1Step::Failed(expected)]);
}

#[test]
fn a_missing_or_different_block_ends_the_load() {
    for (body, expected) in [
        (json!({ "result": null }), L1Error::NoBlock(96)),
        (
            json!({ "result": { "number": "0x61", "hash": HASH } }),
            L1Error::InvalidResponse {
                method: "eth_getBlockByNumber",
                found: json!({ "number": "0x61", "hash": HASH }).to_string(),
            },
        ),
    ] {
        let (mut node, mut source) = (Node::new(), SignerSource::new(at(0), config()));
        let mut told = Vec::new();
        while let Some(step) = source.poll(at(0)) {
            match step {
                L1Step::Ask { id, body: question } => {
                    let answer = node.answer(&question);
                    let is_block = question.contains("eth_getBlockByNumber");
                    let answer = if is_block { body.to_string().into_bytes() } else { answer };
                    source.answered(at(0), id, Ok(&answer));
                }
                other => told.push(other),
            }
        }
        assert_eq!(told, [L1Step::Failed(expected)]);
    }
}

#[test]
fn a_requested_load_starts_at_once_but_at_most_once_a_minute() {
    let (mut node, mut source) = (Node::new(), SignerSource::new(at(0), config()));
    node.serve(&mut source, at(0));
    node.signer = NEXT;
    source.expedite(at(100));
    assert_eq!(node.serve(&mut source, at(100)), [signer(NEXT, 96)]);
    for second in [101, 130, 159] {
        source.expedite(at(second));
        assert_eq!(node.serve(&mut source, at(second)), []);
    }
    source.expedite(at(160));
    assert_eq!(node.serve(&mut source, at(160)), [signer(NEXT, 96)]);
    assert_eq!(source.next_wakeup(), Some(at(760)));
}
