//! Gateways that obtain their certificates by ACME.
//!
//! Most tests need pebble, Let's Encrypt's test authority, and for nodes' own names p2p-forge, the
//! program behind `libp2p.direct`. `cargo all-tests -- certificates autotls` builds both from their
//! Go modules. A test is ignored if its programs are not in the folder that `OPP2P_INTEROP` names.
//! pebble resolves all names with the tests' DNS server: `dns.rs`, or p2p-forge.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod acme;
mod client;
mod dns;
mod own_name;
mod servers;
mod stored;
mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Timeout of a test, which covers a certificate of half a minute and its renewal.
const LIMIT: Duration = Duration::from_secs(240);

/// External programs that a test needs.
type Needs = &'static [&'static str];
type Run = Pin<Box<dyn Future<Output = ()>>>;

/// Returns the path of a program that the set-up has built.
fn program(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("OPP2P_INTEROP").map(PathBuf::from)?;
    Some(folder.join(name)).filter(|program| program.exists())
}

/// Creates a test with its own runtime.
fn trial(name: &str, needs: Needs, run: fn() -> Run) -> Trial {
    let lacks = needs.iter().any(|needed| program(needed).is_none());
    let limited = move || {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let ended = runtime.block_on(async { timeout(LIMIT, run()).await });
        ended.map_err(|_| Failed::from("it does not end in time"))
    };
    Trial::test(name, limited).with_ignored_flag(lacks)
}

/// Returns the listed tests, named `module::function`.
macro_rules! trials {
    ($($module:ident, $needs:expr, $($name:ident),+;)+) => {
        vec![$($(trial(
            concat!(stringify!($module), "::", stringify!($name)),
            $needs,
            || Box::pin($module::$name()),
        )),+),+]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests mostly wait.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let trials = trials! {
        stored, &[],
            a_certificate_of_an_earlier_run_is_served_and_its_name_announced,
            an_expired_certificate_stays_until_the_authority_answers,
            a_certificate_for_another_name_is_not_served,
            a_server_that_is_no_authority_is_reported,
            unusable_settings_for_certificates_are_refused;
        acme, &["pebble"],
            a_certificate_is_obtained_and_renewed_while_a_connection_stays,
            a_name_that_leads_elsewhere_is_reported_in_the_authoritys_words,
            a_name_that_the_authority_refuses_is_reported,
            a_damaged_account_is_replaced_by_a_new_one;
        own_name, &["pebble", "p2p-forge"],
            a_node_without_a_domain_is_reached_by_its_own_name,
            a_broker_that_cannot_reach_the_node_is_reported;
    };
    if program("pebble").is_none() {
        println!(
            "`cargo all-tests -- certificates` builds pebble, and runs those that count as \
             ignored.\n"
        );
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
