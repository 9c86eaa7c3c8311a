//! A JSON-RPC server over WebSockets, with or without TLS: a stand-in for an execution client on
//! `ws://`.

use futures::{SinkExt, StreamExt};
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::fake_rpc::Answer;

/// A request for an upgrade: its path and its authorization.
pub(crate) type Upgrade = (String, Option<String>);
type Says = Arc<dyn Fn(&Value) -> Vec<Message> + Send + Sync>;

pub(crate) struct FakeWs {
    host: String,
    /// The requests for an upgrade so far.
    pub(crate) upgrades: Arc<Mutex<Vec<Upgrade>>>,
    /// The status with which it refuses to upgrade; 0 for none.
    pub(crate) refuses: Arc<Mutex<u16>>,
    /// The number of kicks so far: a connection that is busy must not miss one.
    kicks: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl FakeWs {
    /// Starts a server; `says` returns its messages for a request.
    pub(crate) async fn start(
        tls: Option<Arc<ServerConfig>>,
        says: impl Fn(&Value) -> Vec<Message> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (upgrades, refuses) = (Arc::default(), Arc::default());
        let (kicks, says): (_, Says) = (watch::Sender::new(0), Arc::new(says));
        let task = tokio::spawn({
            let (upgrades, refuses) = (Arc::clone(&upgrades), Arc::clone(&refuses));
            let kicks = kicks.subscribe();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (upgrades, refuses) = (Arc::clone(&upgrades), Arc::clone(&refuses));
                    let (mut kicks, says, tls) = (kicks.clone(), Arc::clone(&says), tls.clone());
                    kicks.mark_unchanged();
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, upgrades, refuses, kicks, says).await,
                            Some(tls) => {
                                if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                    serve(stream, upgrades, refuses, kicks, says).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        Self { host, upgrades, refuses, kicks, task }
    }

    /// Starts a server that answers each request.
    pub(crate) async fn answering(
        answers: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, move |question| {
            let said = answers(question["method"].as_str().unwrap(), &question["params"]);
            vec![answer(&question["id"], said)]
        })
        .await
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.host)
    }

    /// Ends all connections.
    pub(crate) fn kick(&self) {
        self.kicks.send_modify(|kicks| *kicks += 1);
    }

    pub(crate) fn upgrades(&self) -> Vec<Upgrade> {
        self.upgrades.lock().unwrap().clone()
    }
}

impl Drop for FakeWs {
    fn drop(&mut self) {
        self.task.abort();
        self.kick();
    }
}

/// Returns an answer with this id.
pub(crate) fn answer(id: &Value, said: Answer) -> Message {
    let text = match said {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    };
    Message::text(text.to_string())
}

#[allow(clippy::result_large_err, reason = "the library's own type")]
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    upgrades: Arc<Mutex<Vec<Upgrade>>>,
    refuses: Arc<Mutex<u16>>,
    mut kicks: watch::Receiver<u64>,
    says: Says,
) {
    let look = |request: &Request, response: Response| {
        let who = request.headers().get("authorization");
        let who = who.map(|who| who.to_str().unwrap().to_owned());
        upgrades.lock().unwrap().push((request.uri().to_string(), who));
        match *refuses.lock().unwrap() {
            0 => Ok(response),
            status => {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = status.try_into().unwrap();
                Err(refusal)
            }
        }
    };
    let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
    loop {
        let message = tokio::select! {
            biased;
            _ = kicks.changed() => return,
            message = socket.next() => message,
        };
        let Some(Ok(Message::Text(text))) = message else { return };
        for message in says(&serde_json::from_str(&text).unwrap()) {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }
}
