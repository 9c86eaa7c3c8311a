//! opp2p in the browser: a page joins a chain's gossip by itself.
//!
//! [`Node`] is the observer: the same core and wiring as the native node's, over WebSockets. It
//! runs in a page or in a worker. Pages use it through the package's scripts (`js/`).
//! [`inspect_message`] judges one message.

#[cfg(feature = "bench")]
pub mod bench;
mod clock;
mod driver;
mod endpoints;
mod faults;
mod kept;
mod options;
mod pending;
mod settings;
mod tell;
mod transport;
mod trouble;

use alloy_primitives::B256;
use driver::{Command, Driver, Execute, Question, Wanted};
use futures::channel::{mpsc, oneshot};
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use libp2p::identity::Keypair;
use opp2p_core::gossip::{Rules, Signers, inspect};
use opp2p_core::payload::{Block, PayloadVersion, shown};
use opp2p_wire::Bandwidth;
use options::{Code, Options, Refusal};
use std::cell::RefCell;
use std::sync::Arc;
use tell::{About, Hex, NetworkJs, Told};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

/// Returns a refusal as a JavaScript error with its `code`.
fn thrown(refusal: &Refusal) -> JsValue {
    let error = js_sys::Error::new(&refusal.message);
    let code = serde_json::to_value(refusal.code).ok();
    let code = code.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    // Setting a property on an `Error` can't fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// Returns `true` if the library's transport works here. It panics where there is neither a window
/// nor a worker's scope.
fn can_dial() -> bool {
    let global = js_sys::global();
    let named =
        |name: &str| Reflect::get(&global, &name.into()).ok().filter(|value| !value.is_undefined());
    let is_window = || {
        let prototype = Reflect::get(&named("Window")?, &"prototype".into()).ok()?;
        Some(prototype.dyn_into::<Object>().ok()?.is_prototype_of(&global))
    };
    let has_scope = is_window() == Some(true) || named("WorkerGlobalScope").is_some();
    has_scope && named("WebSocket").is_some()
}

/// Returns an error that the options caused as a JavaScript error with the code `option`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it is given to `map_err`, which hands its error over"
)]
fn option(error: impl ToString) -> JsValue {
    thrown(&Refusal { code: Code::Option, message: error.to_string() })
}

/// Returns the error of a question to a stopped node.
fn ended() -> JsValue {
    thrown(&Refusal { code: Code::Stopped, message: "the observer has ended".into() })
}

/// Creates a new identity in the form that [`Node::new`] takes.
///
/// # Errors
/// If the identity can't be encoded, which can't happen.
#[wasm_bindgen(js_name = newIdentity)]
pub fn new_identity() -> Result<Vec<u8>, JsValue> {
    Keypair::generate_secp256k1().to_protobuf_encoding().map_err(option)
}

/// A running observer. It reports everything to the function it was started with.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Node {
    commands: mpsc::UnboundedSender<Command>,
    about: String,
}

#[wasm_bindgen]
impl Node {
    /// Starts an observer with `options`, the JSON that the package's scripts write, and an
    /// identity. A new identity is created if none is given. `kept` is the newest block of an
    /// earlier visit: a byte with its version, its signature, and the signed contents. It is
    /// ignored if it breaks a rule.
    ///
    /// `tell` is called with the JSON of each `{kind, detail}`, and for a block also with the bytes
    /// of its payload. `post` sends requests to JSON-RPC endpoints: it is called with a URL, the
    /// body of a request and the maximum number of bytes of the answer, and returns a promise as
    /// `js/rpc.js` describes it. `execute` runs a call: it takes the JSON of a job and returns a
    /// promise of the report's JSON. Without it, calls fail.
    ///
    /// # Errors
    /// An `Error` with a `code` that says what is wrong with the options.
    #[wasm_bindgen(constructor)]
    pub fn new(
        options: &str,
        identity: Option<Vec<u8>>,
        kept: Option<Vec<u8>>,
        tell: Function,
        post: Function,
        execute: Option<Function>,
    ) -> Result<Self, JsValue> {
        let mut plan = Options::read(options)
            .and_then(|options| options.plan())
            .map_err(|refusal| thrown(&refusal))?;
        plan.kept = kept.and_then(|bytes| {
            let signers = Signers { current: plan.signer, previous: None };
            kept::read(&Rules::new(&plan.chain, signers), &bytes)
        });
        let keypair = match identity {
            Some(bytes) => Keypair::from_protobuf_encoding(&bytes)
                .map_err(|_| option("the stored identity is invalid: clear this site's data"))?,
            None => Keypair::generate_secp256k1(),
        };
        if !can_dial() {
            return Err(thrown(&Refusal {
                code: Code::Environment,
                message:
                    "this environment has no WebSocket for pages or workers: its global scope \
                          is neither a Window nor a WorkerGlobalScope"
                        .into(),
            }));
        }
        let interval = plan.chain.interval_at(clock::Clock::start().now().unix);
        let about = About {
            peer_id: keypair.public().to_peer_id().to_string(),
            network: NetworkJs {
                name: plan.chain.name.to_string(),
                chain_id: plan.chain.chain_id,
                block_time: interval.as_secs_f64(),
                signer: plan.signer.map(|signer| Hex(signer.to_vec())),
                signer_source: match plan.signer {
                    Some(_) if plan.signer == plan.chain.unsafe_block_signer => "network",
                    Some(_) => "option",
                    None => "reader",
                },
            },
        };
        let about = serde_json::to_string(&about).map_err(option)?;
        let bandwidth = Arc::new(Bandwidth::default());
        let senders = transport::Senders::default();
        let transport = transport::transport(&keypair, Arc::clone(&bandwidth), senders.clone())
            .map_err(option)?;
        let tell = move |told: &Told, payload: Option<&[u8]>| {
            let Ok(json) = serde_json::to_string(told) else { return };
            let payload =
                payload.map_or(JsValue::UNDEFINED, |bytes| Uint8Array::from(bytes).into());
            // An exception of the page's own code is not ours to handle, and the scripts throw
            // none.
            let _ = tell.call2(&JsValue::NULL, &json.into(), &payload);
        };
        let scripts = (endpoints::by_script(post), executor(execute));
        let driver =
            Driver::new(plan, &keypair, (transport, bandwidth, senders), Box::new(tell), scripts)
                .map_err(option)?;
        let (commands, queue) = mpsc::unbounded();
        wasm_bindgen_futures::spawn_local(driver.run(queue));
        Ok(Self { commands, about })
    }

    /// Returns this node's peer id and its network, as JSON.
    #[wasm_bindgen(getter)]
    pub fn about(&self) -> String {
        self.about.clone()
    }

    /// Reports that there may be a network again: peers that wait for a redial are dialled at once.
    #[wasm_bindgen(js_name = networkChanged)]
    pub fn network_changed(&self) {
        // A node that has stopped needs no network.
        let _ = self.commands.unbounded_send(Command::NetworkChanged);
    }

    /// Reports the signer that the page read, after the report `read-signer` asked for it. None
    /// stands for the network's own.
    ///
    /// # Errors
    /// An `Error` with the code `signer` if it is not an address.
    #[wasm_bindgen(js_name = signerRead)]
    #[allow(clippy::needless_pass_by_value, reason = "JavaScript hands a string over")]
    pub fn signer_read(&self, signer: Option<String>) -> Result<(), JsValue> {
        let signer = signer.as_deref().map(options::signer_address).transpose();
        let signer = signer.map_err(|refusal| thrown(&refusal))?;
        // A node that has stopped needs no signer.
        let _ = self.commands.unbounded_send(Command::SignerRead(signer));
        Ok(())
    }

    /// Returns a promise of a block that the node holds: the newest ones of the chain, and the
    /// head; by its hash also one of another branch. `wanted` is a number, or a hash with `0x` in
    /// front. It resolves to the JSON of the `block` report and the bytes of its payload, as a
    /// list, or to `null`; and rejects with the code `stopped` if the node stops before.
    ///
    /// # Errors
    /// An `Error` with the code `option` if `wanted` is neither.
    pub fn block(&self, wanted: &str) -> Result<Promise, JsValue> {
        let wanted = Wanted::read(wanted).ok_or_else(|| {
            option(format!("{wanted:?} is neither the number nor the hash of a block"))
        })?;
        let (answer, answered) = oneshot::channel();
        // A node that has stopped drops the command, and so the sender.
        let _ = self.commands.unbounded_send(Command::Block(wanted, answer));
        Ok(wasm_bindgen_futures::future_to_promise(async {
            let Ok(found) = answered.await else { return Err(ended()) };
            let Some(found) = found else { return Ok(JsValue::NULL) };
            let json = serde_json::to_string(&found.told).map_err(option)?;
            let payload = Uint8Array::from(&found.payload[..]);
            Ok(Array::of2(&json.into(), &payload).into())
        }))
    }

    /// Starts a wallet's JSON-RPC read. `params` is JSON, and `ticket` is unique.
    ///
    /// The promise resolves to the JSON of `{ result, block, verified }` or of
    /// `{ error: { code, message, data } }`. It rejects with the code `stopped` if the node stops
    /// first, or if [`Self::cancel_read`] cancels the ticket.
    pub fn read(&self, ticket: u32, method: String, params: &str) -> Promise {
        let (answer, answered) = oneshot::channel();
        let params = serde_json::from_str(params).unwrap_or_default();
        let question = Question { ticket, method, params };
        // A node that has stopped drops the command, and so the sender.
        let _ = self.commands.unbounded_send(Command::Read(question, answer));
        wasm_bindgen_futures::future_to_promise(async {
            answered.await.map(Into::into).map_err(|_| ended())
        })
    }

    /// Cancels the read with this ticket, if it is pending.
    #[wasm_bindgen(js_name = cancelRead)]
    pub fn cancel_read(&self, ticket: u32) {
        let _ = self.commands.unbounded_send(Command::CancelRead(ticket));
    }

    /// Closes all connections and frees everything. Resolves when that is done.
    pub async fn stop(self) {
        let (stopped, done) = oneshot::channel();
        if self.commands.unbounded_send(Command::Stop(stopped)).is_ok() {
            let _ = done.await;
        }
    }
}

/// Returns the executor that the package's script gives: `js/evm.js`.
fn executor(execute: Option<Function>) -> Execute {
    Box::new(move |job| {
        let promise = match &execute {
            Some(execute) => execute.call1(&JsValue::NULL, &job.into()),
            None => Err("no executor is given".into()),
        };
        Box::pin(async move {
            // A rejection is an `Error`.
            let words = |error: JsValue| match error.dyn_ref::<js_sys::Error>() {
                Some(error) => String::from(error.message()),
                None => error.as_string().unwrap_or_else(|| "the executor failed".into()),
            };
            let promise = Promise::resolve(&promise.map_err(words)?);
            let report = wasm_bindgen_futures::JsFuture::from(promise).await.map_err(words)?;
            report.as_string().ok_or_else(|| "the executor returned no text".into())
        })
    })
}

thread_local! {
    /// Function to call on a panic. JavaScript functions stay on their thread.
    static CRASH: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Sets the function to call on a panic, after which the module is unusable. It is called with the
/// JSON of `{kind: "crashed", detail: "…"}`.
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

/// Judges one captured gossip message and returns the JSON text that `opp2p inspect --json` prints.
///
/// `chain` is a built-in network (name, slug or chain id) or the text of a `rollup.json`. `topic`
/// is 1 to 4. `now` is in seconds since 1970, as `Date.now() / 1000` is. `signer`, if given,
/// replaces the chain's own.
///
/// # Errors
/// If the chain, topic, time or signer is invalid: one sentence, with a `code`.
#[wasm_bindgen(js_name = inspectMessage)]
#[allow(clippy::needless_pass_by_value, reason = "JavaScript hands a string over")]
pub fn inspect_message(
    chain: &str,
    topic: f64,
    message: &[u8],
    now: f64,
    signer: Option<String>,
) -> Result<String, JsValue> {
    judge(chain, topic, message, now, signer.as_deref()).map_err(|refusal| thrown(&refusal))
}

/// Returns the JSON text of a block with its whole transactions, as `eth_getBlockByHash` answers
/// it.
/// `payload` is the SSZ payload of `version` (1 to 4), and `beacon_root` the parent beacon block
/// root, which versions 3 and 4 have. The bytes are not verified.
///
/// # Errors
/// If the bytes are not a payload of that version: one sentence, with the code `option`.
#[wasm_bindgen(js_name = decodeBlock)]
#[allow(clippy::needless_pass_by_value, reason = "JavaScript hands a string over")]
pub fn decode_block(
    version: f64,
    payload: &[u8],
    beacon_root: Option<String>,
) -> Result<String, JsValue> {
    shown_block(version, payload, beacon_root.as_deref()).map_err(|refusal| thrown(&refusal))
}

fn shown_block(version: f64, payload: &[u8], beacon_root: Option<&str>) -> Result<String, Refusal> {
    let refuse = |message| Refusal { code: Code::Option, message };
    let version = version_of(version)
        .ok_or_else(|| refuse(format!("`version` is {version}: give 1, 2, 3 or 4")))?;
    let mut body = Vec::with_capacity(payload.len() + 32);
    if version.has_beacon_root() {
        let root = beacon_root.and_then(|root| root.parse::<B256>().ok()).ok_or_else(|| {
            refuse("`parentBeaconBlockRoot` is not a hash, and versions 3 and 4 need it".into())
        })?;
        body.extend(root);
    }
    body.extend(payload);
    let block = Block::decode(version, None, body.into())
        .map_err(|error| refuse(format!("the bytes are not a payload: {error}")))?;
    shown::block(&block, shown::Transactions::Whole, usize::MAX)
        .map_err(|error| refuse(error.to_string()))
}

/// Returns the version of this number. A cast saturates, so what is not whole and small differs
/// from its cast.
fn version_of(number: f64) -> Option<PayloadVersion> {
    let whole = Some(number as u8).filter(|whole| f64::from(*whole) == number);
    whole.and_then(PayloadVersion::from_number)
}

fn judge(
    chain: &str,
    topic: f64,
    message: &[u8],
    now: f64,
    signer: Option<&str>,
) -> Result<String, Refusal> {
    let config = options::chain(chain)?;
    let refuse = |message| Refusal { code: Code::Option, message };
    let version = version_of(topic)
        .ok_or_else(|| refuse(format!("`topic` is {topic}: give 1, 2, 3 or 4")))?;
    if !(now.is_finite() && now >= 0.0) {
        return Err(refuse("`now` is not a time: give milliseconds since 1970".into()));
    }
    let signer = options::signer(&config, signer)?;
    let now = now as u64;
    let rules = Rules::new(&config, Signers { current: signer, previous: None });
    serde_json::to_string(&inspect(&rules, version, message, now))
        .map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::judge;
    use opp2p_core::fixtures;

    const CHAIN: &str = r#"{
        "genesis": {
            "l2": {
                "hash": "0x0100000000000000000000000000000000000000000000000000000000000000",
                "number": 0
            },
            "l2_time": 0
        },
        "block_time": 2, "l1_chain_id": 1, "l2_chain_id": 100,
        "canyon_time": 0, "delta_time": 0, "ecotone_time": 0
    }"#;

    #[test]
    fn the_bundled_messages_are_accepted_as_on_the_command_line() {
        for message in fixtures::messages() {
            let signer = message.signer.to_string();
            let version = f64::from(message.version.number());
            let now = message.timestamp as f64 + 0.5;
            let report = judge(CHAIN, version, &message.data, now, Some(&signer)).unwrap();
            assert!(
                report.starts_with(r#"{"verdict":"accept","reason":null,"topic":"v"#),
                "{report}"
            );
        }
    }

    #[test]
    fn a_message_without_a_known_signer_is_ignored_and_garbage_rejected() {
        let message = &fixtures::messages()[0];
        let report = judge(CHAIN, 1.0, &message.data, message.timestamp as f64, None).unwrap();
        assert!(report.starts_with(r#"{"verdict":"ignore","reason":"no_signer""#), "{report}");
        let report = judge("base-sepolia", 4.0, &[0xff; 9], 1.75e9, None).unwrap();
        assert!(report.starts_with(r#"{"verdict":"reject","reason":"snappy_header""#), "{report}");
    }

    #[test]
    fn invalid_arguments_are_explained_in_a_sentence() {
        for (chain, topic, now, signer, part) in [
            ("nowhere", 1.0, 0.0, None, "nowhere"),
            ("{}", 1.0, 0.0, None, "genesis"),
            ("base", 5.0, 0.0, None, "`topic` is 5"),
            ("base", 259.0, 0.0, None, "`topic` is 259"),
            ("base", 3.5, 0.0, None, "`topic` is 3.5"),
            ("base", f64::NAN, 0.0, None, "`topic` is NaN"),
            ("base", 1.0, f64::NAN, None, "`now`"),
            ("base", 1.0, -1.0, None, "`now`"),
            ("base", 1.0, 0.0, Some("x"), "x"),
        ] {
            let sentence = judge(chain, topic, &[], now, signer).unwrap_err().message;
            assert!(sentence.len() > 10 && sentence.contains(part), "{sentence}");
        }
    }
}
