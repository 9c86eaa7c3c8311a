//! Attack on the RPC and the metrics: bodies that are huge, deeply nested, slow or numerous.

use crate::scene::{Attack, AttackReport, SLACK, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "rpc-bodies",
        what: "20 sockets send bodies without an end, 100,000 nested arrays, batches of 10,000, \
               and pipelines, by turns",
        memory: 100,
        descriptors: 140,
        slack: SLACK,
        run: |target| Box::pin(bodies(target)),
    },
    Attack {
        name: "rpc-slow",
        what: "300 sockets at the RPC and at the metrics send a request, a byte a second",
        memory: 40,
        descriptors: 420,
        slack: SLACK,
        run: |target| Box::pin(slow(target)),
    },
];

const HEAD: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

fn post(body: &[u8]) -> Vec<u8> {
    [format!("{HEAD}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn bad(number: usize) -> Vec<u8> {
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"opp2p_self"}"#;
    match number % 6 {
        // Huge bodies: by their announced length, or in endless chunks.
        0 => format!("{HEAD}Content-Length: 1000000000000\r\n\r\n").into_bytes(),
        1 => {
            let chunk = [b"10000\r\n", &vec![b' '; 0x10000][..], b"\r\n"].concat();
            [format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes(), &chunk.repeat(200)]
                .concat()
        }
        2 => post(&b"[".repeat(100_000)),
        3 => {
            let deep = [&b"[".repeat(100_000)[..], &b"]".repeat(100_000)].concat();
            post(
                &[
                    br#"{"jsonrpc":"2.0","id":1,"method":"opp2p_blockAddr","params":"#,
                    &deep[..],
                    b"}",
                ]
                .concat(),
            )
        }
        4 => post(&[b"[", &[&call[..], b","].concat().repeat(4000)[..], call, b"]"].concat()),
        _ => post(call).repeat(2000),
    }
}

async fn bodies(target: Target) -> AttackReport {
    let all: Arc<[Vec<u8>]> = (0..6).map(bad).collect();
    let attackers: Vec<_> = (0..20)
        .map(|first| {
            let (target, all) = (target.clone(), Arc::clone(&all));
            tokio::spawn(async move {
                let mut done = 0;
                while !target.is_over() {
                    let request = &all[(first + done) % all.len()];
                    let _ = timeout(Duration::from_secs(2), one(&target, request)).await;
                    done += 1;
                    sleep(Duration::from_millis(10)).await;
                }
                done
            })
        })
        .collect();
    let mut count = 0;
    for attacker in attackers {
        count += attacker.await.expect("an attacker does not fail");
    }
    AttackReport { what: format!("{count} connections"), ..AttackReport::default() }
}

async fn one(target: &Target, request: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(target.rpc).await?;
    stream.write_all(request).await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn slow(target: Target) -> AttackReport {
    let mut attackers = Vec::new();
    for address in [target.rpc, target.metrics] {
        for _ in 0..300 {
            let target = target.clone();
            attackers.push(tokio::spawn(async move {
                let mut opened = 0_u64;
                while !target.is_over() {
                    let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                    opened += 1;
                    for byte in HEAD.bytes() {
                        if target.is_over() || stream.write_all(&[byte]).await.is_err() {
                            break;
                        }
                        sleep(Duration::from_secs(1)).await;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                opened
            }));
        }
    }
    let mut opened = 0;
    for attacker in attackers {
        opened += attacker.await.expect("an attacker does not fail");
    }
    AttackReport { what: format!("{opened} connections"), ..AttackReport::default() }
}
