//! Our nodes beside foreign ones: those of the reference itself, and other implementations of its
//! parts.
//!
//! The foreign peers are small programs around code of other projects, in the folders beside this
//! file; these tests check the foreign programs' own view of us. `cargo all-tests -- interop`
//! builds them, and runs this program with the folder of the built programs in `OPP2P_INTEROP`.
//! Without a program, the tests that need it count as ignored.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

mod bytes;
mod discovery;
mod foreign;
mod go_stranger;
mod gossip;
mod js;
#[path = "../kit/mod.rs"]
mod kit;
mod kona;
mod kona_node;
mod kona_validator;
mod op_node;
mod ours;
mod peers;
mod pubsub;
mod report;
mod rpc;
mod rpc_changes;
mod soak;
mod stranger;
mod sync;
mod verdicts;
mod web3;

use kit::{Run, trials};
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::time::Duration;

/// Maximum time of a test: the slowest waits for the end of a ban.
const LIMIT: Duration = Duration::from_secs(150);

/// The reference's program that most tests use.
const OP_NODE: &str = "op-node";
/// The same program of a newer release.
const NEWEST: &str = "op-node-newest";
/// Bare go-libp2p hosts.
const BARE: &str = "pubsub";

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
    // The tests wait most of the time.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let trials = beside_the_reference().into_iter().chain(beside_others()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns the tests beside the reference in the version that the workspace pins.
fn beside_the_reference() -> Vec<Trial> {
    let trials = trials! {
        bytes:
            they_decode_our_encodings, we_decode_their_encodings,
            damaged_encodings_are_refused_by_both,
            validators_agree_on_every_rule, validators_agree_on_the_allowed_signers,
            validators_agree_on_changed_messages, validators_agree_on_real_blocks;
        gossip:
            every_version_of_our_blocks_is_accepted, every_version_of_their_blocks_is_accepted,
            a_block_that_we_missed_is_requested, a_block_that_they_missed_is_requested,
            large_blocks_already_here_are_not_requested_again,
            in_a_mixed_mesh_every_block_reaches_all;
        verdicts:
            they_refuse_the_messages_that_we_refuse, we_refuse_the_messages_that_they_refuse,
            an_oversized_message_ends_only_its_stream;
        peers:
            a_peer_banned_by_them_is_admitted_after_the_ban,
            a_peer_banned_by_us_is_admitted_after_the_ban,
            a_peer_blocked_by_either_side_is_refused_until_unblocked,
            a_node_of_theirs_beyond_our_limit_is_refused,
            they_redial_their_static_peer_after_its_restart,
            we_redial_our_static_peer_after_its_restart,
            each_identifies_the_other_and_its_protocols, pings_are_answered_both_ways,
            a_peer_without_our_security_or_multiplexers_is_refused_in_plain_words,
            a_peer_with_our_security_and_multiplexer_is_admitted_in_either_direction,
            a_forger_is_banned_by_us_across_restarts_and_tolerated_by_them;
        sync:
            our_client_fetches_all_versions_of_their_server,
            their_client_fetches_all_versions_of_our_server,
            a_block_that_they_lack_is_requested_again_without_blame,
            a_block_that_we_lack_is_not_blamed_on_us,
            an_impossible_block_is_an_invalid_request_on_both_sides,
            both_servers_give_a_stranger_the_same_answers,
            a_branch_off_the_chain_is_refused_and_the_right_one_is_accepted,
            a_block_with_a_false_hash_is_refused_and_costs_its_server,
            serving_an_abandoned_branch_costs_us_as_their_rules_say,
            our_server_limits_a_greedy_client_as_theirs_does,
            the_rest_of_a_range_comes_from_another_server_if_one_leaves;
        discovery:
            their_node_finds_ours_by_its_record, our_node_finds_theirs_by_its_record,
            our_bootnode_introduces_both_and_no_node_connects_to_another_chain,
            their_bootnode_introduces_both_and_no_node_connects_to_another_chain,
            records_have_the_same_entries_and_are_read_the_same_way,
            records_of_loopback_and_ipv6_are_read_too;
        rpc:
            nodes_report_the_same_about_the_same_peers,
            malformed_and_batched_calls_are_answered_in_the_same_way,
            the_reference_client_reads_all_our_answers;
        rpc_changes: changes_are_made_and_refused_in_the_same_way;
    };
    let is_built = foreign::programs().is_some();
    beside(OP_NODE, trials, "op-node", "builds", is_built)
}

/// Returns the tests beside all other programs.
fn beside_others() -> Vec<Trial> {
    let kona = trials! {
        kona:
            every_version_of_our_blocks_is_accepted, every_version_of_their_blocks_is_accepted,
            each_identifies_itself_and_answers_pings,
            each_refuses_blocks_that_a_stranger_signed,
            they_refuse_the_messages_that_we_refuse, its_message_ids_lack_the_topic,
            it_fetches_announced_blocks_and_penalises_our_ids,
            we_fetch_announced_blocks_and_forgive_its_ids,
            the_reference_also_penalises_its_ids,
            in_a_mesh_of_three_implementations_every_block_reaches_all,
            each_finds_the_other_by_discovery,
            it_is_not_blamed_for_serving_no_blocks;
        kona_validator:
            its_validator_and_ours_agree, its_validator_differs_from_the_reference_as_known;
    };
    let js = trials! {
        js:
            every_version_of_our_blocks_is_accepted_over_tcp,
            every_version_of_our_blocks_is_accepted_over_websocket,
            its_messages_are_judged_like_any_others,
            blocks_travel_from_go_through_us_to_javascript_and_back,
            it_fetches_announced_blocks, it_identifies_us_and_pings_are_answered;
    };
    let web3 = trials! {
        web3:
            blocks_are_read_by_number_hash_and_tag,
            transactions_are_read_whole_with_their_senders,
            an_unreadable_transaction_spoils_no_block,
            they_compute_the_hash_of_every_block_from_its_header,
            heads_are_watched_by_polling_and_by_subscription,
            after_a_reorg_they_read_the_adopted_blocks;
    };
    let is_kona_built = kona_node::program().is_some();
    let mut all = with_the_newest();
    all.extend(with_bare_hosts());
    all.extend(beside(OP_NODE, kona, "kona", "builds", is_kona_built));
    all.extend(beside(OP_NODE, js, "js-libp2p", "installs where Node.js is", js::is_built()));
    let clients = "viem and ethers";
    all.extend(beside(OP_NODE, web3, clients, "installs where Node.js is", web3::is_built()));
    all
}

/// Returns the tests that do not need a sync client on the other side.
fn with_the_newest() -> Vec<Trial> {
    let trials = trials! {
        bytes:
            they_decode_our_encodings, we_decode_their_encodings, validators_agree_on_every_rule,
            validators_agree_on_the_allowed_signers, validators_agree_on_real_blocks;
        gossip:
            every_version_of_our_blocks_is_accepted, every_version_of_their_blocks_is_accepted,
            a_block_that_we_missed_is_requested, a_block_that_they_missed_is_requested,
            large_blocks_already_here_are_not_requested_again,
            in_a_mixed_mesh_every_block_reaches_all, they_are_not_blamed_for_serving_no_blocks;
        verdicts:
            they_refuse_the_messages_that_we_refuse, we_refuse_the_messages_that_they_refuse,
            an_oversized_message_ends_only_its_stream;
        peers:
            a_peer_banned_by_them_is_admitted_after_the_ban,
            a_peer_banned_by_us_is_admitted_after_the_ban,
            a_peer_blocked_by_either_side_is_refused_until_unblocked,
            each_identifies_the_other_and_its_protocols, pings_are_answered_both_ways,
            a_peer_with_our_security_and_multiplexer_is_admitted_in_either_direction,
            a_forger_is_banned_by_us_across_restarts_and_tolerated_by_them;
        sync:
            our_client_fetches_all_versions_of_their_server,
            both_servers_give_a_stranger_the_same_answers;
        discovery:
            their_node_finds_ours_by_its_record, our_node_finds_theirs_by_its_record,
            records_have_the_same_entries_and_are_read_the_same_way;
        rpc:
            nodes_report_the_same_about_the_same_peers,
            the_reference_client_reads_all_our_answers;
        rpc_changes: changes_are_made_and_refused_in_the_same_way;
    };
    beside(NEWEST, trials, "a newer op-node", "builds where Go 1.26 is", foreign::is_built(NEWEST))
}

/// Returns the gossip tests with only the library, in the version that op-node 1.20 uses.
fn with_bare_hosts() -> Vec<Trial> {
    let trials = trials! {
        gossip:
            every_version_of_our_blocks_is_accepted, every_version_of_their_blocks_is_accepted,
            a_block_that_we_missed_is_requested, a_block_that_they_missed_is_requested,
            large_blocks_already_here_are_not_requested_again,
            in_a_mixed_mesh_every_block_reaches_all, they_are_not_blamed_for_serving_no_blocks;
        pubsub:
            a_peer_on_the_last_topic_only_is_a_full_peer,
            a_peer_on_the_first_topic_only_gets_no_block_of_the_last,
            no_peer_loses_score_in_a_full_mesh_on_the_last_topic;
    };
    beside(BARE, trials, "bare go-libp2p hosts", "builds where Go 1.26 is", foreign::is_built(BARE))
}

/// Makes the tests with this program as the reference. If the `programs` beside which they run are
/// not built, reports what `cargo all-tests -- interop` does for them, and the tests count as
/// ignored.
fn beside(
    reference: &'static str,
    trials: Vec<(&'static str, Run)>,
    programs: &str,
    remedy: &str,
    is_built: bool,
) -> Vec<Trial> {
    if !is_built {
        println!(
            "Ignored: the tests beside {programs}, which `cargo all-tests -- interop` {remedy}; it \
             then runs them."
        );
    }
    let make = |(name, run): (&str, Run)| {
        let name = match reference {
            OP_NODE => name.to_owned(),
            _ => format!("{reference}::{name}"),
        };
        let run = move || op_node::with_reference(reference, run());
        kit::trial(name, LIMIT, run).with_ignored_flag(!is_built)
    };
    trials.into_iter().map(make).collect()
}
