//! Attack: thousands of identities, each of which connects once and leaves.

use crate::peer::{Manner, Peer};
use crate::scene::{Attack, AttackReport, SLACK, Target};
use libp2p::identity::Keypair;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::sleep;

pub(crate) const ATTACKS: &[Attack] = &[Attack {
    name: "churn",
    what: "identities (Ed25519 and secp256k1) connect, subscribe and leave, 16 at a time",
    memory: 60,
    descriptors: 64,
    slack: SLACK,
    run: |target| Box::pin(churn(target)),
}];

/// Maximum number of entries in the score book.
const BOOK: usize = 4096;
/// Maximum growth of memory in MB from the third tenth to the end. Memory must stay flat, except
/// for what the allocator keeps.
const FLAT: u64 = 8;

async fn churn(target: Target) -> AttackReport {
    let all: u64 = if target.is_long { 10_000 } else { 1_000 };
    let (next, came) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let attackers: Vec<_> = (0..16)
        .map(|_| {
            let (target, next, came) = (target.clone(), Arc::clone(&next), Arc::clone(&came));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= all {
                        return;
                    }
                    let key = if number & 1 == 0 {
                        Keypair::generate_ed25519()
                    } else {
                        Keypair::generate_secp256k1()
                    };
                    // All slots may be in use for a moment.
                    for _ in 0..100 {
                        if let Ok(peer) = Peer::connect_as(&key, &target.tcp, Manner::Listens).await
                            && peer.gossip().await.is_ok()
                        {
                            came.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    while came.load(Ordering::Relaxed) < all * 3 / 10 && next.load(Ordering::Relaxed) < all {
        sleep(Duration::from_millis(20)).await;
    }
    let third = target.victim.usage().memory;
    for attacker in attackers {
        attacker.await.expect("an attacker does not fail");
    }
    let grown = target.victim.usage().memory.saturating_sub(third) / 1024;
    let (came, book) = (came.load(Ordering::Relaxed), target.victim.remembered().await);
    let wrong = if came < all {
        Some(format!("only {came} of {all} came in"))
    } else if book > BOOK {
        Some(format!("{book} entries in the score book"))
    } else if grown > FLAT {
        Some(format!("{grown} MB more from the {}th identity to the last", all * 3 / 10))
    } else {
        None
    };
    let what = format!(
        "{came} identities; +{grown} MB from the {}th to the last; {book} entries in the score \
         book",
        all * 3 / 10
    );
    AttackReport { what, wrong, ..AttackReport::default() }
}
