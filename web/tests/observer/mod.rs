//! An observer without any gateway: it starts, keeps time, reports errors, and stops.

use futures_timer::Delay;
use js_sys::{Function, Reflect};
use opp2p_web::{Node, inspect_message, new_identity};
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use web_time::Instant;

/// Port 9 of loopback, on which nothing listens.
const NOBODY: &str =
    "/ip4/127.0.0.1/tcp/9/ws/p2p/16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY";

/// Returns a `post` function for observers that ask no endpoint.
fn no_post() -> Function {
    Function::new_no_args("throw new Error('an endpoint is asked')")
}

fn options(network: &str, peer: &str) -> String {
    serde_json::json!({ "network": network, "peers": [peer] }).to_string()
}

/// Reports of an observer.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<Value>>>);

impl Heard {
    fn listener(&self) -> Function {
        let heard = self.clone();
        let told = move |json: String, _: JsValue| {
            heard.0.borrow_mut().push(serde_json::from_str(&json).expect("it tells JSON"));
        };
        Closure::<dyn FnMut(String, JsValue)>::new(told).into_js_value().unchecked_into()
    }

    fn count(&self, kind: &str) -> usize {
        self.0.borrow().iter().filter(|told| told["kind"] == kind).count()
    }

    /// Waits for the next report of this kind. The test's own time limit ends a wait in vain.
    async fn until(&self, kind: &str) {
        let before = self.count(kind);
        while self.count(kind) == before {
            Delay::new(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a trouble of this kind began or ended, and returns its detail.
    async fn trouble(&self, event: &str, kind: &str) -> Value {
        loop {
            let told = self.0.borrow().clone();
            let is_it = |told: &&Value| told["kind"] == event && told["detail"]["kind"] == kind;
            if let Some(told) = told.iter().find(is_it) {
                return told["detail"].clone();
            }
            Delay::new(Duration::from_millis(20)).await;
        }
    }

    /// Returns the detail of the newest report of this kind.
    fn last(&self, kind: &str) -> Value {
        let told = self.0.borrow();
        let newest = told.iter().rev().find(|told| told["kind"] == kind);
        newest.map_or(Value::Null, |told| told["detail"].clone())
    }

    fn event_names(&self) -> Vec<String> {
        let told = self.0.borrow();
        let peers = told.iter().filter(|told| told["kind"] == "peer");
        peers.filter_map(|told| Some(told["detail"]["what"].as_str()?.to_owned())).collect()
    }
}

fn code(error: &JsValue) -> String {
    assert!(error.is_instance_of::<js_sys::Error>(), "{error:?}");
    let code = Reflect::get(error, &"code".into()).expect("errors have properties");
    code.as_string().expect("a code")
}

#[wasm_bindgen_test]
async fn an_observer_starts_dials_gives_up_redials_and_stops() {
    let heard = Heard::default();
    let node =
        Node::new(&options("op-mainnet", NOBODY), None, None, heard.listener(), no_post(), None)
            .expect("good options");
    let about: Value = serde_json::from_str(&node.about()).expect("JSON");
    assert_eq!(about["network"]["chainId"], 10);
    assert!(about["peerId"].as_str().is_some_and(|id| id.starts_with("16Uiu2")));
    Delay::new(Duration::from_millis(4000)).await;
    // The first wait is one second, the second is half as long again.
    let event_names = heard.event_names();
    let dialled = event_names.iter().filter(|what| *what == "dialling").count();
    let failed = event_names.iter().filter(|what| *what == "unreachable").count();
    assert!((2..=4).contains(&dialled) && failed >= dialled - 1, "{event_names:?}");
    let statuses = heard.count("status");
    assert!(statuses >= 3, "once a second and after news: {statuses}");
    node.stop().await;
    let told = heard.0.borrow().len();
    Delay::new(Duration::from_millis(1500)).await;
    assert_eq!(heard.0.borrow().len(), told, "it is silent from then on");
}

#[wasm_bindgen_test]
async fn waiting_peers_are_dialled_at_once_after_a_network_change() {
    let heard = Heard::default();
    let node = Node::new(&options("base", NOBODY), None, None, heard.listener(), no_post(), None)
        .expect("good options");
    while !heard.event_names().iter().any(|what| what == "unreachable") {
        Delay::new(Duration::from_millis(20)).await;
    }
    let before = heard.event_names().len();
    node.network_changed();
    let asked = Instant::now();
    while heard.event_names().len() == before {
        Delay::new(Duration::from_millis(5)).await;
    }
    assert_eq!(heard.event_names()[before], "dialling");
    assert!(asked.elapsed() < Duration::from_millis(700), "sooner than it would have been");
    node.stop().await;
}

#[wasm_bindgen_test]
async fn an_unknown_signer_is_asked_for_and_is_a_trouble_until_it_is_read() {
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
    let options = serde_json::json!({ "network": network, "peers": [NOBODY], "readsSigner": true });
    let heard = Heard::default();
    let node = Node::new(&options.to_string(), None, None, heard.listener(), no_post(), None)
        .expect("good");
    let about: Value = serde_json::from_str(&node.about()).expect("JSON");
    assert!(about["network"]["signer"].is_null());
    let has = |list: &Value| {
        list.as_array().is_some_and(|list| list.iter().any(|one| one["kind"] == "signer_unknown"))
    };
    let trouble = heard.trouble("trouble", "signer_unknown").await;
    assert!(heard.count("read-signer") >= 1);
    assert!(trouble["since"].as_u64() <= trouble["last"].as_u64());
    // The list is part of the status.
    heard.until("status").await;
    assert!(has(&heard.last("status")["troubles"]));
    assert_eq!(code(&node.signer_read(Some("0x12".into())).expect_err("no address")), "signer");
    node.signer_read(None).expect("the page does not know it either");
    let signer = format!("0x{}", "ab".repeat(20));
    node.signer_read(Some(signer.clone())).expect("an address");
    while heard.count("signer") == 0 {
        Delay::new(Duration::from_millis(20)).await;
    }
    assert_eq!(heard.last("signer")["signer"], signer);
    heard.trouble("trouble-ended", "signer_unknown").await;
    heard.until("status").await;
    assert!(!has(&heard.last("status")["troubles"]));
    node.stop().await;
}

#[wasm_bindgen_test]
async fn a_question_for_a_block_is_answered_or_ends_with_the_node() {
    let node = Node::new(
        &options("base", NOBODY),
        None,
        None,
        Heard::default().listener(),
        no_post(),
        None,
    )
    .unwrap();
    for wrong in ["", "latest", "-1", "0x12"] {
        assert_eq!(code(&node.block(wrong).expect_err("no block")), "option", "{wrong}");
    }
    let hash = format!("0x{}", "ab".repeat(32));
    for wanted in ["7", &hash] {
        let found = JsFuture::from(node.block(wanted).expect("a question")).await;
        assert_eq!(found, Ok(JsValue::NULL), "it holds no block yet");
    }
    // Whether it was answered before the node stops or not, the promise settles.
    let asked = node.block("7").expect("a question");
    node.stop().await;
    if let Err(error) = JsFuture::from(asked).await {
        assert_eq!(code(&error), "stopped");
    }
}

#[wasm_bindgen_test]
fn mistakes_are_javascript_errors_with_a_code() {
    let tell = || Heard::default().listener();
    let failed = |options: &str, identity| {
        code(&Node::new(options, identity, None, tell(), no_post(), None).expect_err("a mistake"))
    };
    assert_eq!(failed("{", None), "option");
    assert_eq!(failed(&options("nowhere", NOBODY), None), "network");
    assert_eq!(failed(&options("base", "/ip4/127.0.0.1/tcp/9"), None), "address");
    assert_eq!(failed(&options("base", NOBODY), Some(vec![1, 2, 3])), "option");
    assert_eq!(
        code(&inspect_message("base", 5.0, &[], 0.0, None).expect_err("no topic")),
        "option"
    );
    assert_eq!(
        code(&inspect_message("nowhere", 4.0, &[], 0.0, None).expect_err("no chain")),
        "network"
    );
}

#[wasm_bindgen_test]
async fn a_kept_identity_is_the_same_peer() {
    let identity = new_identity().expect("there is randomness");
    let start = |identity| {
        Node::new(
            &options("base", NOBODY),
            identity,
            None,
            Heard::default().listener(),
            no_post(),
            None,
        )
    };
    let one = start(Some(identity.clone())).expect("good options");
    let two = start(Some(identity)).expect("good options");
    let other = start(None).expect("good options");
    let peer =
        |node: &Node| serde_json::from_str::<Value>(&node.about()).expect("JSON")["peerId"].clone();
    assert_eq!(peer(&one), peer(&two));
    assert_ne!(peer(&one), peer(&other));
    for node in [one, two, other] {
        node.stop().await;
    }
}
