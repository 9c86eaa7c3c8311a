//! The reference page of all methods, `native/RPC.md`, written from the tables that the server
//! uses.

use super::context::{BLOCKS_WAITING, LARGE_AT_ONCE, LARGE_WAITING};
use super::error::{
    ANSWER_TOO_LONG, BATCH_ANSWER_TOO_LONG, BATCH_TOO_LONG, BUSY, FAILED, INVALID_PARAMS,
    INVALID_REQUEST, NEEDS_SOCKET, NOT_FOUND, PARSE, REQUEST_TOO_LONG, REVERTED, TIMEOUT,
    TOO_MANY_SUBSCRIPTIONS, UNPROVED,
};
use super::limits::{
    ANSWER_TIME, BLOCK_REQUESTS, CONNECTIONS, CONNECTIONS_PER_ADDRESS, FEEDS, HEADER_TIME,
    MAX_ANSWER, MAX_BATCH, MAX_BLOCK_REQUEST, MAX_REQUEST, REQUEST_TIME, RpcLimits, SPARE,
    SUBSCRIPTIONS as PER_CONNECTION,
};
use super::method::{Limit, Method, Parameter, Subscription, Work};
use super::methods::all;
use super::proofs::PROOF_TIME;
use super::socket;
use super::subscribe::SUBSCRIPTIONS;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Errors that any call can get: code and meaning.
const ERRORS: [(i32, &str); 15] = [
    (PARSE, "the request is not JSON"),
    (INVALID_REQUEST, "the JSON is not a call"),
    (NOT_FOUND, "the method does not exist"),
    (INVALID_PARAMS, "a parameter is missing or wrong, or there are too many"),
    (
        FAILED,
        "the method can't do what it is asked; also, the caller may not change anything, or there \
         is no such subscription",
    ),
    (NEEDS_SOCKET, "subscriptions need a WebSocket"),
    (TIMEOUT, "the call took longer than its time limit"),
    (BUSY, "too many such calls, or feeds, at once: try again"),
    (UNPROVED, "no endpoint gave a provable answer"),
    (REVERTED, "a contract reverted the call; the error has `data`"),
    (TOO_MANY_SUBSCRIPTIONS, "the connection has too many subscriptions"),
    (REQUEST_TOO_LONG, "a WebSocket message is too long; the connection is closed"),
    (ANSWER_TOO_LONG, "the answer is too long"),
    (BATCH_TOO_LONG, "the batch has too many calls; none is carried out"),
    (
        BATCH_ANSWER_TOO_LONG,
        "the batch's answers are too long in all; the calls up to there are carried out",
    ),
];

/// Returns the text of `native/RPC.md`.
pub fn reference() -> String {
    let mut page = String::new();
    // Writing to a text does not fail.
    let _ = write(&mut page);
    page
}

fn write(page: &mut String) -> std::fmt::Result {
    page.push_str(INTRODUCTION);
    limits(page)?;
    page.push_str("\n## Errors\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in ERRORS {
        writeln!(page, "| {code} | {meaning} |")?;
    }
    page.push_str(
        "\nHTTP's own errors have a JSON body, `{\"error\": TEXT}`: 400 and 408 for an incomplete \
         request, 401 for a\nwrong token, 403 for a web page or host name that is not permitted, \
         404 for another path, 405 and 415 for\nwhat is not a call, 413 for too long a request, \
         429 and 503 if too much is asked at once.\n",
    );
    let mut namespace = "";
    for method in all() {
        let own = method.name.split_once('_').map_or(method.name, |(own, _)| own);
        // Methods of other namespaces can be in a table, so a heading may be there already.
        if own != namespace && !page.contains(&format!("\n## `{own}`\n")) {
            namespace = own;
            writeln!(page, "\n## `{namespace}`")?;
            let same = all().filter(|other| {
                other.name.strip_prefix(own).is_some_and(|rest| rest.starts_with('_'))
            });
            for method in same {
                describe(page, method)?;
            }
        }
    }
    page.push_str("\n## Subscriptions\n\n");
    page.push_str(
        "Over WebSocket only. The result is the subscription's id, a text. A subscriber that takes \
         nothing for 10 s\nloses its subscription; one that falls behind by more than 1024 events \
         gets an error as its last\nnotification, and has to subscribe again. A feed does not \
         fall behind: it waits in the store.\n",
    );
    SUBSCRIPTIONS.iter().try_for_each(|kind| subscription(page, kind))
}

const INTRODUCTION: &str = "\
# RPC methods

JSON-RPC 2.0 over HTTP (`POST`) and WebSocket, on one port (`--rpc.addr`, `--rpc.port`), at `/` and
`/ws`. The program writes this page from its own tables. A test compares the two; write the page
again with `OPP2P_WRITE_PAGES=1 cargo test --workspace --test rpc_suite reference`.

* Parameters are positional.
* An id is a string, a number of any size, or `null`, and is answered as it was written. A call
  without an id is a notification: it is carried out, and not answered; over HTTP the answer's body
  is empty.
* Methods that **change** something need permission: `--rpc.enable-admin` gives it to every caller,
  and `--rpc.token.path` to those who send the token (`Authorization: Bearer TOKEN`).
* Web pages are refused, except those of the origins in `--rpc.cors`.
* `GET /healthz` and `GET /readyz` answer even if all connections are taken.
* Times are in unix seconds, unless a field's name ends in `Ms`.

";

fn limits(page: &mut String) -> std::fmt::Result {
    page.push_str("## Limits\n\n| limit | default | flag | accepts |\n|---|---|---|---|\n");
    let mut row = |what: &str, value: u32, flag: &str, range: RangeInclusive<u32>| {
        let (least, most) = range.into_inner();
        writeln!(page, "| {what} | {value} | `--rpc.{flag}` | {least} to {most} |")
    };
    row("connections", CONNECTIONS, "max-connections", RpcLimits::CONNECTIONS)?;
    row(
        "connections from one address other than loopback",
        CONNECTIONS_PER_ADDRESS,
        "max-connections-per-ip",
        RpcLimits::CONNECTIONS,
    )?;
    row(
        "subscriptions per connection",
        PER_CONNECTION,
        "max-subscriptions",
        RpcLimits::SUBSCRIPTIONS,
    )?;
    row("feeds in all", FEEDS, "max-feeds", RpcLimits::FEEDS)?;
    row("calls in a batch", MAX_BATCH, "max-batch", RpcLimits::BATCH)?;
    row("bytes of a request", MAX_REQUEST, "max-request-bytes", RpcLimits::REQUEST)?;
    let fixed = [
        (
            "bytes of a request over HTTP from a caller who may change something".to_owned(),
            format!("{MAX_BLOCK_REQUEST}, {BLOCK_REQUESTS} such requests at once"),
        ),
        ("bytes of an answer, a batch's answers in all".into(), MAX_ANSWER.to_string()),
        ("further connections, for health checks".into(), SPARE.to_string()),
        ("unanswered calls of a WebSocket".into(), socket::CALLS.to_string()),
        ("time for a request's headers".into(), format!("{} s", HEADER_TIME.as_secs())),
        ("time for a request's body".into(), format!("{} s", REQUEST_TIME.as_secs())),
        (
            "time for the answer over HTTP, also to a batch".into(),
            format!("{} s, or longer if a block can be accepted for longer", ANSWER_TIME.as_secs()),
        ),
        (
            "time without any message, even a pong, from a WebSocket".into(),
            format!("{} s", socket::SILENCE.as_secs()),
        ),
    ];
    for (what, value) in fixed {
        writeln!(page, "| {what} | {value} | | |")?;
    }
    Ok(())
}

fn parameters(page: &mut String, parameters: &[Parameter]) -> std::fmt::Result {
    if parameters.is_empty() {
        return writeln!(page, "* Parameters: none.");
    }
    writeln!(page, "* Parameters:")?;
    for (at, Parameter { name, form, is_optional }) in parameters.iter().enumerate() {
        let optional = if *is_optional { " (optional)" } else { "" };
        writeln!(page, "  {}. `{name}`{optional}: {form}", at + 1)?;
    }
    Ok(())
}

fn errors(page: &mut String, errors: &[(i32, &str)]) -> std::fmt::Result {
    errors.iter().try_for_each(|(code, meaning)| writeln!(page, "* Error {code}: {meaning}."))
}

fn describe(page: &mut String, method: &Method) -> std::fmt::Result {
    writeln!(page, "\n### `{}`\n\n{}\n", method.name, method.does)?;
    parameters(page, method.parameters)?;
    writeln!(page, "* Result: {}.", method.result)?;
    errors(page, method.errors)?;
    match method.work {
        Work::Look(_) => {}
        Work::Large(_) => writeln!(
            page,
            "* Limit: {LARGE_AT_ONCE} calls of this kind at once, and {LARGE_WAITING} that wait."
        )?,
        Work::Block(_) => writeln!(
            page,
            "* Limit: {LARGE_AT_ONCE} calls that read blocks at once, and {BLOCKS_WAITING} that \
             wait."
        )?,
        Work::Ask(_) | Work::Change(_) | Work::Prove => match method.limit {
            Limit::Fixed(limit) => writeln!(page, "* Limit: {} s.", limit.as_secs())?,
            Limit::Block => writeln!(
                page,
                "* Limit: longer than the network accepts the block (60 s, \
                 `--p2p.gossip.timestamp.threshold`)."
            )?,
        },
    }
    if matches!(method.work, Work::Prove) {
        writeln!(page, "* It exists only with `--l2.proofs`.")?;
    }
    if method.is_proved {
        writeln!(
            page,
            "* With `--l2.proofs`, data that the node lacks is fetched and proved, within {} s. \
             Error {UNPROVED}:\n  no endpoint gave an answer that could be proved.",
            PROOF_TIME.as_secs()
        )?;
    }
    if matches!(method.work, Work::Change(_)) {
        writeln!(page, "* It **changes** something, and needs permission.")?;
    }
    Ok(())
}

fn subscription(page: &mut String, kind: &Subscription) -> std::fmt::Result {
    let Subscription { subscribe, unsubscribe, notification, does, .. } = kind;
    writeln!(page, "\n### `{subscribe}`, `{unsubscribe}`\n\n{does}\n")?;
    parameters(page, kind.parameters)?;
    writeln!(
        page,
        "* Notifications: `{notification}`, with `{{\"subscription\": ID, \"result\": …}}`; at the \
         end perhaps with\n  `error` in place of `result`."
    )?;
    writeln!(page, "* `{unsubscribe}` takes the id, and returns `true`.")?;
    errors(page, kind.errors)?;
    writeln!(page, "* Error {FAILED} of `{unsubscribe}`: `subscription not found`.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::CALL_TIME;

    #[test]
    fn every_method_has_one_complete_entry() {
        let page = reference();
        for method in all() {
            assert_eq!(page.matches(&format!("\n### `{}`\n", method.name)).count(), 1);
            assert!(method.does.ends_with('.') && !method.result.ends_with('.'), "{}", method.name);
            let known = |code| ERRORS.iter().any(|(known, _)| *known == code);
            let texts = method.errors.iter().map(|(_, text)| *text);
            let texts = texts.chain(method.parameters.iter().map(|parameter| parameter.form));
            assert!(texts.into_iter().all(|text| !text.is_empty() && !text.ends_with('.')));
            assert!(method.errors.iter().all(|(code, _)| known(*code)), "{}", method.name);
            // A parameter that can be left out has none after it that can't.
            let optional = method.parameters.iter().map(|parameter| parameter.is_optional);
            assert!(optional.is_sorted(), "{}", method.name);
            let limit_is_the_block_s = method.limit == Limit::Block;
            assert_eq!(limit_is_the_block_s, method.name == "opp2p_publishPayload");
            let is_proved = matches!(method.work, Work::Prove);
            let fixed = if is_proved { PROOF_TIME } else { CALL_TIME };
            assert!(limit_is_the_block_s || method.limit == Limit::Fixed(fixed));
        }
    }
}
