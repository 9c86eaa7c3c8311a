//! opp2p in the browser: a page joins a chain's gossip by itself.
//!
//! [`Node`] is the observer: the same core as the native node's, on the same wiring, over WebSockets. It runs in a
//! page or in a worker; the package's scripts (`js/`) make the interface that pages use of it. [`inspect_message`]
//! judges one message.

#[cfg(feature = "bench")]
pub mod bench;
mod clock;
mod driver;
mod options;
mod pending;
mod tell;
mod transport;

use driver::{Command, Driver};
use futures::channel::{mpsc, oneshot};
use js_sys::{Function, Reflect, Uint8Array};
use libp2p::identity::Keypair;
use opp2p::swarm::Bandwidth;
use opp2p_core::gossip::{Rules, Signers, TIMESTAMP_THRESHOLD, inspect};
use opp2p_core::payload::PayloadVersion;
use options::{Code, Options, Refusal};
use std::cell::RefCell;
use std::sync::Arc;
use tell::{About, Hex, NetworkTold, Told};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// A refusal as an error of JavaScript, with its `code`.
fn thrown(refusal: &Refusal) -> JsValue {
    let error = js_sys::Error::new(&refusal.message);
    let code = serde_json::to_value(refusal.code).ok();
    let code = code.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    // An error takes any property.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// An error of something that the options led to.
#[allow(clippy::needless_pass_by_value, reason = "it is given to `map_err`, which hands its error over")]
fn option(error: impl ToString) -> JsValue {
    thrown(&Refusal { code: Code::Option, message: error.to_string() })
}

/// A new identity, as [`Node::new`] takes it.
///
/// # Errors
/// If it can't be encoded, which can't happen.
#[wasm_bindgen(js_name = newIdentity)]
pub fn new_identity() -> Result<Vec<u8>, JsValue> {
    Keypair::generate_secp256k1().to_protobuf_encoding().map_err(option)
}

/// A running observer. What it has to say goes to the function that it was started with.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Node {
    commands: mpsc::UnboundedSender<Command>,
    about: String,
}

#[wasm_bindgen]
impl Node {
    /// Starts on the options, JSON as the package's scripts write it, and an identity; a fresh one if there is none.
    ///
    /// `tell` is called with the JSON of each `{kind, detail}`, and for a block with its payload's bytes.
    ///
    /// # Errors
    /// What is wrong with the options: an `Error` with a `code`.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str, identity: Option<Vec<u8>>, tell: Function) -> Result<Self, JsValue> {
        let plan =
            Options::read(options).and_then(|options| options.plan()).map_err(|refusal| thrown(&refusal))?;
        let keypair = match identity {
            Some(bytes) => Keypair::from_protobuf_encoding(&bytes)
                .map_err(|_| option("the stored identity is none: clear this site's data"))?,
            None => Keypair::generate_secp256k1(),
        };
        let about = About {
            peer_id: keypair.public().to_peer_id().to_string(),
            network: NetworkTold {
                name: plan.chain.name.to_string(),
                chain_id: plan.chain.chain_id,
                block_time: plan.chain.block_time,
                signer: Hex(plan.signer.to_vec()),
            },
        };
        let about = serde_json::to_string(&about).map_err(option)?;
        let bandwidth = Arc::new(Bandwidth::default());
        let transport = transport::transport(&keypair, Arc::clone(&bandwidth)).map_err(option)?;
        let tell = move |told: &Told, payload: Option<&[u8]>| {
            let Ok(json) = serde_json::to_string(told) else { return };
            let payload = payload.map_or(JsValue::UNDEFINED, |bytes| Uint8Array::from(bytes).into());
            // What the page's own code throws is not for us to handle, and the scripts throw nothing.
            let _ = tell.call2(&JsValue::NULL, &json.into(), &payload);
        };
        let driver = Driver::new(plan, &keypair, transport, bandwidth, Box::new(tell)).map_err(option)?;
        let (commands, queue) = mpsc::unbounded();
        wasm_bindgen_futures::spawn_local(driver.run(queue));
        Ok(Self { commands, about })
    }

    /// Who runs here and for which chain, as JSON.
    #[wasm_bindgen(getter)]
    pub fn about(&self) -> String {
        self.about.clone()
    }

    /// There may be a network again: peers that wait are dialled at once.
    #[wasm_bindgen(js_name = networkChanged)]
    pub fn network_changed(&self) {
        // A node that has stopped needs no network.
        let _ = self.commands.unbounded_send(Command::NetworkChanged);
    }

    /// Closes all connections and frees everything; done when this resolves.
    pub async fn stop(self) {
        let (stopped, done) = oneshot::channel();
        if self.commands.unbounded_send(Command::Stop(stopped)).is_ok() {
            let _ = done.await;
        }
    }
}

thread_local! {
    /// Who is told of a panic. A function of JavaScript's stays on its thread.
    static CRASH: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Has a panic told before the module is of no more use: as the JSON of `{kind: "crashed", detail: "…"}`.
#[wasm_bindgen(js_name = onCrash)]
pub fn on_crash(tell: Function) {
    CRASH.set(Some(tell));
    std::panic::set_hook(Box::new(|info| {
        let json = serde_json::json!({ "kind": "crashed", "detail": info.to_string() }).to_string();
        CRASH.with_borrow(|tell| {
            if let Some(tell) = tell {
                let _ = tell.call1(&JsValue::NULL, &json.into());
            }
        });
    }));
}

/// Judges one captured gossip message and answers what it is, as the JSON text that
/// `opp2p inspect --json` prints.
///
/// `chain` is a built-in network (name, slug or chain id) or the text of a `rollup.json`;
/// `topic` is 1 to 4; `now` counts in seconds since 1970, as `Date.now() / 1000` does; `signer`
/// takes the place of the chain's own where it is given.
///
/// # Errors
/// A chain, topic or signer that is none, in one sentence, with a `code`.
#[wasm_bindgen(js_name = inspectMessage)]
#[allow(clippy::needless_pass_by_value, reason = "JavaScript hands a string over")]
pub fn inspect_message(
    chain: &str,
    topic: u8,
    message: &[u8],
    now: f64,
    signer: Option<String>,
) -> Result<String, JsValue> {
    judge(chain, topic, message, now, signer.as_deref()).map_err(|refusal| thrown(&refusal))
}

fn judge(chain: &str, topic: u8, message: &[u8], now: f64, signer: Option<&str>) -> Result<String, Refusal> {
    let config = options::chain(chain)?;
    let refuse = |message| Refusal { code: Code::Option, message };
    let version = PayloadVersion::from_number(topic)
        .ok_or_else(|| refuse(format!("{topic} is no topic: use 1, 2, 3 or 4")))?;
    let signer = options::signer(&config, signer)?;
    // Casting saturates: what is no number or lies before 1970 is zero.
    let now = now as u64;
    let rules = Rules {
        chain_id: config.chain_id,
        forks: config.forks,
        signers: Signers { current: signer, previous: None },
        timestamp_threshold: TIMESTAMP_THRESHOLD,
    };
    serde_json::to_string(&inspect(&rules, version, message, now)).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::judge;
    use opp2p_core::fixtures;

    const CHAIN: &str = r#"{
        "genesis": { "l2": { "hash": "0x0100000000000000000000000000000000000000000000000000000000000000", "number": 0 }, "l2_time": 0 },
        "block_time": 2, "l1_chain_id": 1, "l2_chain_id": 100,
        "canyon_time": 0, "delta_time": 0, "ecotone_time": 0
    }"#;

    #[test]
    fn the_bundled_messages_are_accepted_as_on_the_command_line() {
        for message in fixtures::messages() {
            let signer = message.signer.to_string();
            let (version, now) = (message.version.number(), message.timestamp as f64 + 0.5);
            let report = judge(CHAIN, version, &message.data, now, Some(&signer)).unwrap();
            assert!(report.starts_with(r#"{"verdict":"accept","reason":null,"topic":"v"#), "{report}");
        }
    }

    #[test]
    fn a_message_without_a_known_signer_is_ignored_and_garbage_rejected() {
        let message = &fixtures::messages()[0];
        let report = judge(CHAIN, 1, &message.data, message.timestamp as f64, None).unwrap();
        assert!(report.starts_with(r#"{"verdict":"ignore","reason":"no_signer""#), "{report}");
        let report = judge("base-sepolia", 4, &[0xff; 9], f64::NAN, None).unwrap();
        assert!(report.starts_with(r#"{"verdict":"reject","reason":"snappy_header""#), "{report}");
    }

    #[test]
    fn what_makes_no_sense_is_told_in_a_sentence() {
        for (chain, topic, signer) in
            [("nowhere", 1, None), ("{}", 1, None), ("base", 5, None), ("base", 1, Some("x"))]
        {
            let sentence = judge(chain, topic, &[], 0.0, signer).unwrap_err().message;
            assert!(sentence.len() > 10, "{sentence}");
        }
    }
}
