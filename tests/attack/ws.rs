//! Attack on the WebSocket listener: invalid or odd WebSocket traffic, and browsers that never
//! read.

use crate::peer::{Manner, Peer};
use crate::scene::{Attack, AttackReport, SLACK, Target};
use crate::victim::{Random, Victim};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "websocket-oddities",
        what: "30 sockets send wrong paths, no upgrades, half requests, endless headers, texts, \
               fragments, huge, unmasked and control frames, by turns",
        memory: 60,
        descriptors: 100,
        slack: SLACK,
        run: |target| Box::pin(oddities(target)),
    },
    Attack {
        name: "browsers-that-never-read",
        what: "browsers subscribe and read nothing, 100 at once in short, all 512 places at length",
        memory: 490,
        descriptors: 560,
        slack: SLACK,
        run: |target| Box::pin(deaf(target)),
    },
];

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: \
    websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Returns bytes to send, and whether to send them after a WebSocket handshake.
fn odd_request(number: u64) -> (bool, Vec<u8>) {
    let mut random = Random::new(number);
    match number % 14 {
        0 => (false, b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        1 => (
            false,
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        ),
        2 => (false, UPGRADE.as_bytes()[..60].to_vec()),
        3 => (
            false,
            [b"GET / HTTP/1.1\r\n", &b"X-Long: aaaaaaaaaaaaaaaa\r\n".repeat(40_000)[..]].concat(),
        ),
        4 => (false, random.bytes(100_000)),
        // Text frames, which libp2p does not use.
        5 => (true, frame(0x81, &[b'x'; 100], 0).repeat(1000)),
        // Endless fragments.
        6 => (true, [frame(0x02, b"a", 0), frame(0x00, b"a", 0).repeat(100_000)].concat()),
        // A frame whose length is more than what follows.
        7 => (true, [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4], &[0; 100_000]].concat()),
        8 => (
            true,
            [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4], &[0; 100_000]].concat(),
        ),
        // Pings whose answers are not read.
        9 => (true, frame(0x89, &[7; 125], 0).repeat(10_000)),
        // A ping that is too long, and fragmented pings.
        10 => (true, [&[0x89, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &[0; 65_535]].concat()),
        11 => (true, frame(0x09, b"a", 0).repeat(10)),
        // A frame without a mask, which a client must use.
        12 => (true, [&[0x82, 0x05][..], b"hello"].concat()),
        // Reserved bits and opcodes.
        _ => (true, frame(0xf7, &random.bytes(50), 9)),
    }
}

/// Encodes a masked frame with up to 125 bytes.
fn frame(first: u8, payload: &[u8], mask: u8) -> Vec<u8> {
    let masked: Vec<u8> = payload.iter().map(|byte| byte ^ mask).collect();
    [&[first, 0x80 | payload.len() as u8, mask, mask, mask, mask][..], &masked].concat()
}

async fn oddities(target: Target) -> AttackReport {
    let attackers: Vec<_> = (0..30_u64)
        .map(|first| {
            let target = target.clone();
            tokio::spawn(async move {
                let mut done = 0_u64;
                while !target.is_over() {
                    let _ = timeout(Duration::from_secs(2), one(&target, first + done)).await;
                    done += 1;
                    sleep(Duration::from_millis(10)).await;
                }
                done
            })
        })
        .collect();
    let mut all = 0;
    for attacker in attackers {
        all += attacker.await.expect("an attacker does not fail");
    }
    AttackReport { what: format!("{all} connections"), ..AttackReport::default() }
}

async fn one(target: &Target, number: u64) -> std::io::Result<()> {
    let (upgrades, bytes) = odd_request(number);
    let mut stream = TcpStream::connect(Victim::socket(&target.ws)).await?;
    if upgrades {
        stream.write_all(UPGRADE.as_bytes()).await?;
        stream.read_exact(&mut [0; 12]).await?;
    }
    stream.write_all(&bytes).await?;
    // Wait until the node closes it.
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn deaf(target: Target) -> AttackReport {
    let most = if target.is_long { 512 } else { 100 };
    let attackers: Vec<_> = (0..most)
        .map(|_| {
            let target = target.clone();
            tokio::spawn(async move {
                // If all connected at the same time, they would take all half-open slots.
                for _ in 0..200 {
                    if target.is_over() {
                        break;
                    }
                    if let Ok(peer) = Peer::connect(&target.ws, Manner::Deaf).await
                        && let Ok(_stream) = peer.gossip().await
                    {
                        while !target.is_over() && !peer.is_gone() {
                            sleep(Duration::from_millis(100)).await;
                        }
                        return 1;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
                0
            })
        })
        .collect();
    let mut all = 0;
    for attacker in attackers {
        all += attacker.await.expect("an attacker does not fail");
    }
    let wrong = (all < most / 2).then(|| format!("only {all} of {most} came in"));
    AttackReport { what: format!("{all} browsers"), wrong, ..AttackReport::default() }
}
