//! Attacks over real sockets on a node that runs as a process of its own, between an honest
//! sequencer and an honest observer. Each states its maximum cost; the README in this folder has
//! the table.
//!
//! `cargo test -p opp2p-tests --test attack [NAME]` runs short versions of them, `-- --report
//! [NAME]` longer ones that report figures.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod churn;
mod control;
mod gossip;
mod handshake;
mod honest;
mod identify;
#[path = "../kit/mod.rs"]
mod kit;
mod peer;
mod rpc;
mod scene;
mod streams;
mod victim;
mod ws;

use libtest_mimic::{Arguments, Trial};
use scene::{Attack, Size};
use std::process::ExitCode;

/// All attacks, in the order of the README.
const ATTACKS: &[&[Attack]] = &[
    gossip::ATTACKS,
    control::ATTACKS,
    handshake::ATTACKS,
    streams::ATTACKS,
    identify::ATTACKS,
    churn::ATTACKS,
    ws::ATTACKS,
    rpc::ATTACKS,
];

fn main() -> ExitCode {
    let own: Vec<String> = std::env::args().skip(1).collect();
    match own.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The attacked node runs this program as if it were the `opp2p` binary.
        ["node", ..] => return opp2p::cli::main(),
        ["--report"] => return scene::report(attacks(), ""),
        ["--report", word] => return scene::report(attacks(), word),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Delays are compared, so the attacks run one at a time.
    arguments.test_threads = Some(1);
    let trials = attacks().map(|attack| {
        Trial::test(attack.name, move || {
            let outcome = scene::run(attack, Size::SHORT);
            println!("{}: {}", attack.name, outcome.summary());
            outcome.check(attack)?;
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn attacks() -> impl Iterator<Item = &'static Attack> {
    ATTACKS.iter().copied().flatten()
}
