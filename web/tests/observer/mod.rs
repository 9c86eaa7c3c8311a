//! What an observer does without any gateway: it starts, keeps time, tells errors, and stops.

use futures_timer::Delay;
use js_sys::{Function, Reflect};
use opp2p_web::{Node, inspect_message, new_identity};
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;
use web_time::Instant;

/// Port 9 of loopback, where nobody listens.
const NOBODY: &str = "/ip4/127.0.0.1/tcp/9/ws/p2p/16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY";

fn options(network: &str, peer: &str) -> String {
    serde_json::json!({ "network": network, "peers": [peer] }).to_string()
}

/// What an observer told.
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

    fn whats(&self) -> Vec<String> {
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
async fn it_starts_dials_gives_up_dials_again_and_stops() {
    let heard = Heard::default();
    let node = Node::new(&options("op-mainnet", NOBODY), None, heard.listener()).expect("good options");
    let about: Value = serde_json::from_str(&node.about()).expect("JSON");
    assert_eq!(about["network"]["chainId"], 10);
    assert!(about["peerId"].as_str().is_some_and(|id| id.starts_with("16Uiu2")));
    Delay::new(Duration::from_millis(4000)).await;
    // The first wait is one second, the next half as long again.
    let whats = heard.whats();
    let dialled = whats.iter().filter(|what| *what == "dialling").count();
    let failed = whats.iter().filter(|what| *what == "unreachable").count();
    assert!((2..=4).contains(&dialled) && failed >= dialled - 1, "{whats:?}");
    let statuses = heard.count("status");
    assert!(statuses >= 3, "once a second and after news: {statuses}");
    node.stop().await;
    let told = heard.0.borrow().len();
    Delay::new(Duration::from_millis(1500)).await;
    assert_eq!(heard.0.borrow().len(), told, "it is silent from then on");
}

#[wasm_bindgen_test]
async fn who_waits_is_dialled_at_once_when_the_network_changes() {
    let heard = Heard::default();
    let node = Node::new(&options("base", NOBODY), None, heard.listener()).expect("good options");
    while !heard.whats().iter().any(|what| what == "unreachable") {
        Delay::new(Duration::from_millis(20)).await;
    }
    let before = heard.whats().len();
    node.network_changed();
    let asked = Instant::now();
    while heard.whats().len() == before {
        Delay::new(Duration::from_millis(5)).await;
    }
    assert_eq!(heard.whats()[before], "dialling");
    assert!(asked.elapsed() < Duration::from_millis(700), "sooner than it would have been");
    node.stop().await;
}

#[wasm_bindgen_test]
fn mistakes_are_errors_of_javascript_with_a_code() {
    let tell = || Heard::default().listener();
    let failed =
        |options: &str, identity| code(&Node::new(options, identity, tell()).expect_err("a mistake"));
    assert_eq!(failed("{", None), "option");
    assert_eq!(failed(&options("nowhere", NOBODY), None), "network");
    assert_eq!(failed(&options("base", "/ip4/127.0.0.1/tcp/9"), None), "address");
    assert_eq!(failed(&options("base", NOBODY), Some(vec![1, 2, 3])), "option");
    assert_eq!(code(&inspect_message("base", 5, &[], 0.0, None).expect_err("no topic")), "option");
    assert_eq!(code(&inspect_message("nowhere", 4, &[], 0.0, None).expect_err("no chain")), "network");
}

#[wasm_bindgen_test]
async fn an_identity_that_was_kept_is_the_same_peer() {
    let identity = new_identity().expect("there is randomness");
    let start = |identity| Node::new(&options("base", NOBODY), identity, Heard::default().listener());
    let one = start(Some(identity.clone())).expect("good options");
    let two = start(Some(identity)).expect("good options");
    let other = start(None).expect("good options");
    let peer = |node: &Node| serde_json::from_str::<Value>(&node.about()).expect("JSON")["peerId"].clone();
    assert_eq!(peer(&one), peer(&two));
    assert_ne!(peer(&one), peer(&other));
    for node in [one, two, other] {
        node.stop().await;
    }
}
