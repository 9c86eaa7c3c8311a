//! Runs the devnet by the alias that the README names, and checks its output.

use std::time::Duration;

use serde_json::Value;

use crate::shell::{self, Shell};
use crate::up;

const FOLLOWERS: usize = 5;
const BLOCKS: u64 = 30;

/// Thirty blocks take 15 s; the rest is for start, connecting and a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs `cargo devnet` and checks the object that it prints. The build has no time limit.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    up::build(shell)?;
    let (followers, blocks) = (FOLLOWERS.to_string(), BLOCKS.to_string());
    let mut command = shell.cargo_command();
    command.args([
        "devnet",
        "--followers",
        &followers,
        "--blocks",
        &blocks,
        "--block-time",
        "0.5",
        "--json",
    ]);
    let (success, output) = shell::run_for_output(&mut command, LIMIT)?;
    print!("{output}");
    let verdict = judge(&output);
    match (success, verdict) {
        (true, verdict) => verdict,
        (false, Ok(_)) => {
            Err("the devnet printed a good summary, but its exit code says failure".to_owned())
        }
        (false, Err(reason)) => Err(format!("the devnet failed: {reason}")),
    }
}

/// Returns the latencies of a good summary in a few words, or what is wrong with it.
fn judge(output: &str) -> Result<String, String> {
    let summary: Value = serde_json::from_str(output)
        .map_err(|error| format!("its standard output is not one JSON object: {error}"))?;
    if summary.get("ok") != Some(&Value::Bool(true)) {
        return Err("its summary does not say \"ok\":true".to_owned());
    }
    let blocks = summary.get("blocks").and_then(Value::as_u64);
    if blocks != Some(BLOCKS) {
        return Err(format!("it was to make {BLOCKS} blocks, its summary says {blocks:?}"));
    }
    let followers =
        summary.get("followers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if followers.len() != FOLLOWERS {
        return Err(format!(
            "it was to run {FOLLOWERS} followers, its summary has {}",
            followers.len()
        ));
    }
    let mut worst: f64 = 0.0;
    for (at, follower) in followers.iter().enumerate() {
        if follower.get("in_order") != Some(&Value::Bool(true)) {
            return Err(format!("follower {at} did not get the blocks in order"));
        }
        let received = follower.get("received").and_then(Value::as_u64);
        if received.is_none_or(|received| received < BLOCKS) {
            return Err(format!("follower {at} received {received:?} of {BLOCKS} blocks"));
        }
        let p99 = follower.pointer("/latency_ms/p99").and_then(Value::as_f64);
        worst = worst.max(p99.ok_or_else(|| format!("follower {at} has no p99 of its latency"))?);
    }
    Ok(format!("p99 from publishing to acceptance, at the slowest follower: {worst:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        let follower = json!({
            "peer_id": "16Uiu2", "head": 30, "received": 30, "in_order": true,
            "latency_ms": {"p50": 1.5, "p99": 4.25, "max": 6},
        });
        json!({"ok": true, "blocks": 30, "followers": vec![follower; 5]})
    }

    /// Returns the verdict on the good summary with one value replaced.
    fn with(pointer: &str, value: Value) -> Result<String, String> {
        let mut summary = good();
        *summary.pointer_mut(pointer).expect("the value is there") = value;
        judge(&summary.to_string())
    }

    #[test]
    fn a_good_summary_passes_with_the_slowest_p99() {
        assert!(judge(&format!("{}\n", good())).expect("it is good").ends_with("4.2 ms"));
        assert!(
            with("/followers/3/latency_ms/p99", json!(9)).expect("it is good").ends_with("9.0 ms")
        );
    }

    #[test]
    fn each_fault_is_named() {
        for (verdict, says) in [
            (judge(""), "not one JSON object"),
            (judge("block 1\n{\"ok\":true}"), "not one JSON object"),
            (judge(&format!("{0}\n{0}", good())), "not one JSON object"),
            (judge("[]"), "\"ok\":true"),
            (with("/ok", json!(false)), "\"ok\":true"),
            (with("/blocks", json!(29)), "30 blocks"),
            (with("/followers", json!([])), "5 followers"),
            (with("/followers/4/in_order", json!(false)), "follower 4 did not get"),
            (with("/followers/2/received", json!(29)), "follower 2 received"),
            (with("/followers/0/received", json!(null)), "follower 0 received"),
            (with("/followers/1/latency_ms", json!({})), "follower 1 has no p99"),
        ] {
            let reason = verdict.expect_err(says);
            assert!(reason.contains(says), "{reason}");
        }
    }
}
