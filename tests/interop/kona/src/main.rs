//! Nodes of kona: its own p2p crate, driven as kona's node drives it.
//!
//! Commands arrive on standard input, one JSON object per line:
//! `{"id":7,"method":"connect","params":{...}}`. The answer to each call goes to standard output:
//! `{"id":7,"result":...}` or `{"id":7,"error":"..."}`. Between the answers there are events:
//! `{"event":"block",...}`. The program ends when standard input does. The nodes log to standard
//! error.

mod blocks;
mod node;

use node::{Node, Start};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, BufReader};

/// One line of standard input.
#[derive(Deserialize)]
struct Call {
    id: u64,
    method: String,
    #[serde(default)]
    params: Value,
}

/// The node of a call.
#[derive(Deserialize)]
struct Of {
    node: u64,
}

/// The running nodes, by number.
#[derive(Default)]
struct World {
    nodes: Mutex<(u64, HashMap<u64, Node>)>,
}

#[tokio::main]
async fn main() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OPP2P_INTEROP_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info,discv5=warn".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let world = Arc::new(World::default());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let call: Call = match serde_json::from_str(&line) {
            Ok(call) => call,
            Err(error) => {
                write(&json!({ "id": 0, "error": format!("the line can't be read: {error}") }));
                continue;
            }
        };
        let world = world.clone();
        // Calls may take long, and others must be answered meanwhile.
        tokio::spawn(async move {
            write(&match world.act(&call.method, call.params).await {
                Ok(result) => json!({ "id": call.id, "result": result }),
                Err(error) => json!({ "id": call.id, "error": error }),
            });
        });
    }
}

/// Writes one line to standard output.
fn write(value: &Value) {
    let mut out = std::io::stdout().lock();
    // A failure can't be reported to anyone; standard input ends then, too.
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

impl World {
    async fn act(&self, method: &str, params: Value) -> Result<Value, String> {
        match method {
            "start" => self.start(read(params)?).await,
            "stop" => {
                let Of { node } = read(params)?;
                self.nodes.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&node);
                Ok(Value::Bool(true))
            }
            "judge" => blocks::judge(&read(params)?),
            _ => {
                let Of { node } = read(params.clone())?;
                let node =
                    self.nodes.lock().unwrap_or_else(PoisonError::into_inner).1.get(&node).cloned();
                let node = node.ok_or("no such node runs")?;
                match method {
                    "connect" => node.connect(read(params)?).await,
                    "disconnect" => node.disconnect(read(params)?).await,
                    "connected" => node.connected(read(params)?).await,
                    "publish" => node.publish(read(params)?).await,
                    "peers" => node.peers().await,
                    "meshed" => node.meshed().await,
                    "table" => node.table().await,
                    _ => Err(format!("there is no method {method:?}")),
                }
            }
        }
    }

    async fn start(&self, start: Start) -> Result<Value, String> {
        let number = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.0 += 1;
            nodes.0
        };
        let (node, told) = Node::start(number, start).await?;
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).1.insert(number, node);
        Ok(told)
    }
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, String> {
    serde_json::from_value(params).map_err(|error| format!("the parameters can't be read: {error}"))
}
