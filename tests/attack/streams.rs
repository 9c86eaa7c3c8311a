//! Attack: streams that are opened for nothing, and block requests whose answers are not read.

use crate::peer::{Manner, Peer};
use crate::scene::{Attack, AttackReport, SLACK, Target};
use futures::prelude::*;
use libp2p::core::muxing::SubstreamBox;
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "streams",
        what: "20 peers open streams as fast as they can, say nothing on them, and come again",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(each(target, |target, peer| Box::pin(open(target, peer)))),
    },
    Attack {
        name: "unread-streams",
        what: "20 peers fill the windows of 250 streams that are never read",
        memory: 150,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(each(target, |target, peer| Box::pin(fill(target, peer)))),
    },
    Attack {
        name: "requests-unfinished",
        what: "20 peers begin 150 requests each and do not end them",
        memory: 50,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(each(target, |target, peer| Box::pin(ask(target, peer, false)))),
    },
    Attack {
        name: "answers-unread",
        what: "20 peers ask for 150 blocks each and take none of the answers",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(each(target, |target, peer| Box::pin(ask(target, peer, true)))),
    },
];

const PEERS: usize = 20;
/// Number of streams of a connection whose protocol the node negotiates at the same time.
const NEGOTIATING: usize = 64;

type Act<'a> = std::pin::Pin<Box<dyn Future<Output = io::Result<usize>> + Send + 'a>>;

async fn each(target: Target, act: for<'a> fn(&'a Target, &'a Peer) -> Act<'a>) -> AttackReport {
    let attackers: Vec<_> = (0..PEERS)
        .map(|_| {
            let target = target.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while !target.is_over() {
                    if let Ok(peer) = Peer::connect(&target.tcp, Manner::Deaf).await {
                        // The node closes a stream or the connection, so this is repeated.
                        done += act(&target, &peer).await.unwrap_or(0);
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                done
            })
        })
        .collect();
    let mut all = 0;
    for attacker in attackers {
        all += attacker.await.expect("an attacker does not fail");
    }
    let wrong = (all == 0).then(|| "no stream could be opened".to_owned());
    AttackReport { what: format!("{all} streams"), wrong, ..AttackReport::default() }
}

async fn open(target: &Target, peer: &Peer) -> io::Result<usize> {
    let mut held = Vec::new();
    while !target.is_over() && !peer.is_gone() && held.len() < 2000 {
        match peer.stream().await {
            Ok(mut stream) => {
                // A stream on which nothing was sent does not exist for the other side.
                let _ = timeout(Duration::from_millis(100), stream.write_all(&[0x13])).await;
                held.push(stream);
            }
            Err(_) => break,
        }
    }
    Ok(held.len())
}

async fn fill(target: &Target, peer: &Peer) -> io::Result<usize> {
    let window = vec![0x13; 256 * 1024];
    let mut held: Vec<SubstreamBox> = Vec::new();
    while held.len() < 250 && !target.is_over() {
        let Ok(mut stream) = peer.stream().await else { break };
        // On the first streams the node waits for the rest of a line, and it accepts no other
        // streams until those are done.
        let contents = if held.len() < NEGOTIATING { &[0x13][..] } else { &window };
        let _ = timeout(Duration::from_millis(200), async {
            stream.write_all(contents).await?;
            stream.flush().await
        })
        .await;
        held.push(stream);
    }
    hold(target, peer).await;
    Ok(held.len())
}

async fn ask(target: &Target, peer: &Peer, whole: bool) -> io::Result<usize> {
    let mut held = Vec::new();
    while held.len() < 150 && !target.is_over() {
        let protocol = "/opstack/req/payload_by_number/901/0";
        let Ok(mut stream) = peer.speak(protocol).await else { break };
        let number = (held.len() as u64 % 20 + 1).to_le_bytes();
        let request = if whole { &number[..] } else { &number[..7] };
        if stream.write_all(request).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        held.push(stream);
    }
    hold(target, peer).await;
    Ok(held.len())
}

/// Waits for the end of the attack or of the connection.
async fn hold(target: &Target, peer: &Peer) {
    while !target.is_over() && !peer.is_gone() {
        sleep(Duration::from_millis(100)).await;
    }
}
