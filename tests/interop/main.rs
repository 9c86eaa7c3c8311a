//! Our nodes beside foreign ones: the reference itself, and other implementations of what it is made of.
//!
//! The foreign peers are small programs around other people's code, in the folders beside this file; their own view
//! of us is what these tests look at. `cargo all-tests -- interop` builds them and runs this with the folder of the
//! built programs in `OPP2P_INTEROP`; without it nothing runs here, and this says so.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod bytes;
mod discovery;
mod foreign;
mod go_stranger;
mod gossip;
mod js;
mod kona;
mod op_node;
mod ours;
mod peers;
mod report;
mod rpc;
mod soak;
mod stranger;
mod sync;
mod verdicts;
mod web3;

use libtest_mimic::{Arguments, Trial};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;

/// What bounds a test: the slowest waits out a ban.
const LIMIT: Duration = Duration::from_secs(150);

/// A test under its own name, in a runtime of its own.
macro_rules! trials {
    ($($module:ident: $($name:ident),+;)+) => {
        vec![$($(trial(
            concat!(stringify!($module), "::", stringify!($name)),
            || Box::pin($module::$name()),
        )),+),+]
    };
}

fn main() -> ExitCode {
    let own: Vec<String> = std::env::args().skip(1).collect();
    match own.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--report"] => return report::print(),
        ["--soak"] => return soak::run(30),
        ["--soak", minutes] if let Ok(minutes) = minutes.parse() => return soak::run(minutes),
        [report::LONE_NODE] => return report::lone_node(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    if foreign::programs().is_none() {
        println!(
            "Left out: the tests beside foreign peers need programs that `cargo all-tests -- interop` builds; it \
             then runs them.\n"
        );
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    }
    let mut trials = trials! {
        bytes:
            they_read_what_we_encode, we_read_what_they_encode, damaged_encodings_are_refused_alike,
            validators_agree_on_every_rule, validators_agree_on_who_may_sign,
            validators_agree_on_changed_messages, validators_agree_on_real_blocks;
        gossip:
            every_version_of_ours_is_taken, every_version_of_theirs_is_taken,
            a_block_that_we_missed_is_asked_for, a_block_that_they_missed_is_asked_for,
            large_blocks_that_are_here_are_not_wanted_again,
            in_a_mixed_mesh_every_block_reaches_all;
        verdicts:
            they_refuse_what_we_refuse, we_refuse_what_they_refuse,
            what_is_too_long_for_the_wire_ends_nothing_but_its_stream;
        peers: whom_they_ban_is_let_in_again_when_that_is_over, whom_we_ban_is_let_in_again_when_that_is_over,
            whom_either_side_blocks_is_refused_until_that_is_lifted, a_node_of_theirs_beyond_our_limit_is_refused,
            a_static_peer_of_theirs_that_starts_again_is_dialled_by_them,
            a_static_peer_of_ours_that_starts_again_is_dialled_by_us,
            each_knows_who_the_other_is_and_what_it_speaks, pings_come_back_both_ways,
            who_has_no_security_or_multiplexer_of_ours_is_refused_in_plain_words,
            who_has_a_security_or_multiplexer_of_ours_is_let_in_whoever_dials,
            who_forges_a_block_is_banned_by_ours_over_a_restart_and_borne_by_theirs;
        sync: our_client_fetches_all_versions_of_their_server, their_client_fetches_all_versions_of_our_server,
            a_block_that_they_lack_is_asked_for_again_and_costs_them_nothing, a_block_that_we_lack_is_not_held_against_us,
            what_no_chain_has_is_an_invalid_request_on_both_sides, both_servers_give_a_stranger_the_same_answers,
            a_branch_that_is_not_the_chains_is_refused_and_costs_who_served_it,
            a_block_with_a_false_hash_is_refused_and_costs_who_served_it,
            a_branch_of_ours_that_was_left_costs_us_what_their_rules_say,
            our_server_holds_a_greedy_client_back_as_theirs_does,
            the_rest_of_a_range_comes_from_another_server_when_one_is_gone;
        discovery: theirs_finds_ours_by_its_record, ours_finds_theirs_by_its_record,
            ours_introduces_ours_and_theirs_and_nobody_connects_to_another_chain,
            theirs_introduces_ours_and_theirs_and_nobody_connects_to_another_chain,
            records_have_the_same_entries_and_are_read_alike,
            records_of_loopback_and_of_ipv6_are_read_too;
        rpc: nodes_tell_the_same_of_the_same_peers, changes_are_made_and_refused_alike,
            what_is_no_single_call_is_answered_alike, the_references_client_reads_all_that_ours_says;
    };
    if kona::program().is_some() {
        trials.extend(trials! {
            kona:
                every_version_of_ours_is_taken, every_version_of_theirs_is_taken,
                each_says_who_it_is_and_answers_pings, each_refuses_what_a_stranger_signed,
                they_refuse_what_we_refuse, its_validator_and_ours_agree,
                its_validator_differs_from_the_references_as_is_known, its_message_ids_lack_the_topic,
                it_takes_what_it_hears_of_and_holds_our_ids_against_us,
                we_take_what_we_hear_of_and_hold_its_ids_against_it, the_reference_holds_its_ids_against_it_too,
                in_a_mesh_of_three_implementations_every_block_reaches_all, each_finds_the_other_by_discovery,
                that_it_serves_no_blocks_is_not_held_against_it;
        });
    } else {
        println!(
            "Left out: the tests beside kona, which `cargo all-tests -- interop` builds; it then runs them.\n"
        );
    }
    if js::is_built() {
        trials.extend(trials! {
            js:
                every_version_of_ours_is_taken_by_tcp, every_version_of_ours_is_taken_by_websocket,
                what_it_publishes_is_judged_as_anybodys, blocks_go_from_go_through_ours_to_javascript_and_back,
                it_asks_for_what_it_hears_of, it_knows_who_we_are_and_pings_come_back;
        });
    } else {
        println!(
            "Left out: the tests beside js-libp2p, which `cargo all-tests -- interop` installs where Node.js is; it \
             then runs them.\n"
        );
    }
    if web3::is_built() {
        trials.extend(trials! {
            web3:
                blocks_are_read_by_number_hash_and_word, transactions_are_read_whole_with_their_senders,
                a_transaction_that_nobody_can_read_spoils_no_block,
                they_find_the_hash_of_every_block_in_its_header, heads_are_watched_by_polling_and_by_subscription,
                after_a_reorg_they_read_the_adopted_blocks;
        });
    } else {
        println!(
            "Left out: the tests beside viem and ethers, which `cargo all-tests -- interop` installs where Node.js is; \
             it then runs them.\n"
        );
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Run = fn() -> Pin<Box<dyn Future<Output = ()>>>;

fn trial(name: &'static str, run: Run) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime
            .block_on(async { timeout(LIMIT, run()).await })
            .map_err(|_| format!("it does not end within {} s", LIMIT.as_secs()).into())
    })
}
