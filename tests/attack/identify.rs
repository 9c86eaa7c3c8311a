//! Attack: identify records of the maximum size, and larger ones.

use crate::peer::{Manner, Peer, field, framed};
use crate::scene::{Attack, AttackReport, SLACK, Target};
use crate::victim::Random;
use futures::prelude::*;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "identify",
        what: "40 peers at a time answer identify with the largest records and larger ones, and \
               leave",
        memory: 60,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(records(target)),
    },
    Attack {
        name: "identify-push",
        what: "20 peers push the largest records as fast as they can",
        memory: 60,
        descriptors: 64,
        slack: SLACK,
        run: |target| Box::pin(pushes(target)),
    },
];

/// Makes a record of about this many bytes, with addresses and protocols that no peer has.
fn record(key: &Keypair, bytes: usize, random: &mut Random) -> Vec<u8> {
    let mut record = [field(1, &key.public().encode_protobuf()), field(6, &[b'a'; 512])].concat();
    while record.len() < bytes.saturating_sub(40) {
        let number = random.number();
        let address: Multiaddr =
            format!("/ip4/10.{}.{}.1/tcp/{}", number as u8, (number >> 8) as u8, number as u16)
                .parse()
                .unwrap();
        record.extend(field(2, &address.to_vec()));
        record.extend(field(3, format!("/p/{:x}", number as u32).as_bytes()));
    }
    record
}

async fn records(target: Target) -> AttackReport {
    let attackers: Vec<_> = (0..40_u64)
        .map(|seed| {
            let target = target.clone();
            tokio::spawn(async move {
                let (mut random, mut done) = (Random::new(seed), 0_u64);
                while !target.is_over() {
                    let key = Keypair::generate_secp256k1();
                    let bytes = if done.is_multiple_of(4) { 200_000 } else { 4000 };
                    let answer: Arc<[u8]> = framed(&record(&key, bytes, &mut random)).into();
                    if let Ok(peer) =
                        Peer::connect_as(&key, &target.tcp, Manner::Identifies(answer)).await
                    {
                        let _gossip = peer.gossip().await;
                        done += 1;
                        sleep(Duration::from_millis(300)).await;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                done
            })
        })
        .collect();
    let mut all = 0;
    for attacker in attackers {
        all += attacker.await.expect("an attacker does not fail");
    }
    let wrong = (all == 0).then(|| "no peer was let in".to_owned());
    AttackReport { what: format!("{all} peers"), wrong, ..AttackReport::default() }
}

async fn pushes(target: Target) -> AttackReport {
    let attackers: Vec<_> = (0..20_u64)
        .map(|seed| {
            let target = target.clone();
            tokio::spawn(async move {
                let (mut random, mut done) = (Random::new(seed), 0_u64);
                let key = Keypair::generate_secp256k1();
                while !target.is_over() {
                    if let Ok(peer) = Peer::connect_as(&key, &target.tcp, Manner::Listens).await {
                        while !target.is_over() && !peer.is_gone() {
                            let Ok(mut stream) = peer.speak("/ipfs/id/push/1.0.0").await else {
                                break;
                            };
                            let record = framed(&record(&key, 4000, &mut random));
                            let pushed = async {
                                stream.write_all(&record).await?;
                                stream.close().await
                            };
                            let pushed = timeout(Duration::from_secs(1), pushed).await;
                            done += u64::from(matches!(pushed, Ok(Ok(()))));
                        }
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                done
            })
        })
        .collect();
    let mut all = 0;
    for attacker in attackers {
        all += attacker.await.expect("an attacker does not fail");
    }
    let wrong = (all == 0).then(|| "nothing could be pushed".to_owned());
    AttackReport { what: format!("{all} records were pushed"), wrong, ..AttackReport::default() }
}
