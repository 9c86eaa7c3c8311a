//! Attack: messages that are not blocks, at line rate from twenty identities.

use crate::honest::{PATIENCE, message};
use crate::peer::{Manner, Peer, publication, send};
use crate::scene::{Attack, AttackReport, SLACK, Target};
use crate::victim::Random;
use libp2p::identity::Keypair;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::payload::snappy;
use opp2p_core::sequencer::LocalSigner;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "garbage",
        what: "20 identities send random messages of 60 kB",
        memory: 150,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, garbage)),
    },
    Attack {
        name: "bombs",
        what: "20 identities send 490 kB that decompress to 10 MB",
        memory: 350,
        descriptors: 64,
        // Each message takes a core for a twentieth of a second, and the attackers share the cores.
        // On an arbitrary machine, a test can only require that blocks arrive at all, within half a
        // minute.
        slack: SLACK * 30.0,
        run: |target| Box::pin(flood(target, bomb)),
    },
    Attack {
        name: "bombs-too-large",
        what: "20 identities send messages that claim to decompress to 4 GB",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, claim)),
    },
    Attack {
        name: "forged",
        what: "20 identities send blocks of a foreign signer",
        memory: 150,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, forged)),
    },
];

const IDENTITIES: u64 = 20;

/// Makes a message from a number that is unique to the message.
type Make = fn(u64) -> Vec<u8>;

fn garbage(number: u64) -> Vec<u8> {
    Random::new(number).bytes(60_000)
}

fn bomb(number: u64) -> Vec<u8> {
    let mut zeros = vec![0; 10_000_000];
    zeros[..8].copy_from_slice(&number.to_le_bytes());
    snappy::compress(&zeros)
}

fn claim(number: u64) -> Vec<u8> {
    [&[0xff, 0xff, 0xff, 0xff, 0x0f], &Random::new(number).bytes(1000)[..]].concat()
}

fn forged(number: u64) -> Vec<u8> {
    let foreign = LocalSigner::from_bytes(&[8; 32]).unwrap();
    let mut maker = BlockMaker::new(&crate::honest::chain(), number);
    message(&foreign, &maker.next(unix_seconds()))
}

async fn flood(target: Target, make: Make) -> AttackReport {
    let over = Arc::new(AtomicBool::new(false));
    let keys: Vec<_> = (0..IDENTITIES).map(|_| Keypair::generate_secp256k1()).collect();
    let banned: Vec<String> =
        keys.iter().map(|key| key.public().to_peer_id().to_string()).collect();
    let attackers: Vec<_> = keys
        .into_iter()
        .zip(0_u64..)
        .map(|(key, identity)| {
            let (target, over) = (target.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut sent = 0_u64;
                // An attacker that was banned or disconnected connects again.
                while !over.load(Ordering::Relaxed) {
                    if let Ok(peer) = Peer::connect_as(&key, &target.tcp, Manner::Listens).await
                        && let Ok(mut stream) = peer.gossip().await
                    {
                        // No message is sent twice: repeating a judged message is not penalised
                        // again.
                        loop {
                            let message = publication(&make(identity << 32 | sent));
                            if over.load(Ordering::Relaxed)
                                || peer.is_gone()
                                || send(&mut stream, &message).await.is_err()
                            {
                                break;
                            }
                            sent += 1;
                        }
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                sent
            })
        })
        .collect();
    // An attacker that the node has not served yet, because of the others, continues until it does.
    while !target.is_over() {
        sleep(Duration::from_millis(50)).await;
    }
    while target.until.elapsed() < PATIENCE {
        let known = target.victim.banned().await;
        if banned.iter().all(|id| known.contains(id)) {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for attacker in attackers {
        sent += attacker.await.expect("an attacker does not fail");
    }
    AttackReport { banned, what: format!("{sent} messages went out"), ..AttackReport::default() }
}
