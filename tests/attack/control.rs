//! Attack: gossip control messages at line rate. None of them is forbidden, so no peer is banned,
//! and they must cost little.

use crate::peer::{Manner, Peer, TOPIC, control, field, send, subscription};
use crate::scene::{Attack, AttackReport, SLACK, Target};
use crate::victim::Random;
use std::time::Duration;
use tokio::time::sleep;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "ihave",
        what: "20 peers say that they have 700 messages, over and over",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, |_, random| control(1, &ids(random, 700, 20)))),
    },
    Attack {
        name: "ihave-long-ids",
        what: "20 peers say that they have messages whose ids have 1 MB",
        memory: 150,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, |_, random| control(1, &ids(random, 4, 1_000_000)))),
    },
    Attack {
        name: "iwant",
        what: "20 peers ask for every message of the last seconds, over and over, and read nothing",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood_as(target, Manner::Deaf, iwant)),
    },
    Attack {
        name: "idontwant",
        what: "20 peers do not want messages of random ids",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, |_, random| control(5, &ids(random, 700, 20)))),
    },
    Attack {
        name: "idontwant-long-ids",
        what: "20 peers do not want messages whose ids have 1 MB",
        memory: 150,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, |_, random| control(5, &ids(random, 4, 1_000_000)))),
    },
    Attack {
        name: "graft",
        what: "20 peers graft and prune by turns",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, |_, _| [control(3, &[]), control(4, &[])].concat())),
    },
    Attack {
        name: "subscriptions",
        what: "20 peers subscribe to 400 unknown topics at a time, and to the known ones and not",
        memory: 100,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, subscriptions)),
    },
    Attack {
        name: "frames",
        what: "20 peers send RPCs of 100,000 empty parts, and lengths beyond all bounds",
        memory: 200,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(flood(target, frames)),
    },
];

const PEERS: u64 = 20;

type Make = fn(&Target, &mut Random) -> Vec<u8>;

fn ids(random: &mut Random, count: usize, length: usize) -> Vec<Vec<u8>> {
    // One pattern with different beginnings: generating ids must not be slower than sending them.
    let pattern = vec![7; length];
    let id = |_| {
        let mut id = pattern.clone();
        id[..8].copy_from_slice(&random.number().to_le_bytes());
        id
    };
    (0..count).map(id).collect()
}

fn iwant(target: &Target, _: &mut Random) -> Vec<u8> {
    let known = target.ids.lock().unwrap();
    control(2, &known[known.len().saturating_sub(100)..])
}

fn subscriptions(_: &Target, random: &mut Random) -> Vec<u8> {
    let known = [subscription(random.number() & 1 == 0, TOPIC)];
    let unknown = (0..400).map(|_| subscription(true, &format!("/topic/{}", random.number())));
    unknown.chain(known).flatten().collect()
}

fn frames(_: &Target, random: &mut Random) -> Vec<u8> {
    // An empty field for each part of an RPC, and control messages without contents.
    let part = [field(1, &[]), field(3, &[]), field(3, &field(1 + random.number() % 5, &[]))];
    part[(random.number() % 3) as usize].repeat(100_000)
}

async fn flood(target: Target, make: Make) -> AttackReport {
    flood_as(target, Manner::Listens, make).await
}

async fn flood_as(target: Target, manner: Manner, make: Make) -> AttackReport {
    let attackers: Vec<_> = (0..PEERS)
        .map(|seed| {
            let (target, manner) = (target.clone(), manner.clone());
            tokio::spawn(async move {
                let (mut random, mut sent, mut met) = (Random::new(seed << 32), 0_u64, 0_u64);
                while !target.is_over() {
                    if let Ok(peer) = Peer::connect(&target.tcp, manner.clone()).await
                        && let Ok(mut stream) = peer.gossip().await
                    {
                        met += 1;
                        while !target.is_over() && !peer.is_gone() {
                            let rpc = make(&target, &mut random);
                            let sending = tokio::time::timeout(
                                Duration::from_secs(1),
                                send(&mut stream, &rpc),
                            );
                            match sending.await {
                                Ok(Ok(())) => sent += rpc.len() as u64,
                                // The node reads no more for now, or the stream is closed: this RPC
                                // can't be completed.
                                Ok(Err(_)) | Err(_) => break,
                            }
                        }
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                (sent, met)
            })
        })
        .collect();
    let (mut all, mut met) = (0, 0);
    for attacker in attackers {
        let (sent, connections) = attacker.await.expect("an attacker does not fail");
        all += sent;
        met += connections;
    }
    let wrong = (all == 0).then(|| "nothing could be sent".to_owned());
    let what = format!("{} MB went out on {met} connections", all / 1_000_000);
    AttackReport { what, wrong, ..AttackReport::default() }
}
