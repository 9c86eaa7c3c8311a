//! The configuration files that the package ships: each starts a node of its role.

use crate::chain::SEQUENCER_KEY;
use crate::support::{Daemon, PATIENCE, Place};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A static peer that does not answer, in place of one in another network.
const NO_PEER: &str =
    "/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/roles")
}

/// Starts a node with the role's file. Only paths and ports differ from what an operator runs.
/// Returns it once it has started.
fn start(place: &Place, role: &str, more: &[&str]) -> Daemon {
    let file = folder().join(role).with_extension("toml");
    let data = place.name("data");
    let common = [
        "node",
        "--config",
        file.to_str().unwrap(),
        "--data-dir",
        &data,
        "--p2p.listen.ip",
        "127.0.0.1",
        "--p2p.listen.tcp",
        "0",
        "--metrics.port",
        "0",
    ];
    let node = Daemon::start(place.opp2p(&[&common, more].concat()), Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains(" started chain=\"OP Mainnet\""));
    node
}

/// Returns a path with a file that only this user can read.
fn secret(place: &Place, name: &str, contents: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = place.file(name, contents);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[track_caller]
fn says(node: &Daemon, part: &str) {
    node.wait_for(0, PATIENCE, |line| line.contains(part));
}

#[test]
fn a_follower_starts() {
    let node = start(&Place::new(), "follower", &[]);
    says(&node, "serving metrics");
}

#[test]
fn a_node_with_an_execution_client_starts_and_misses_the_client() {
    let place = Place::new();
    let jwt = secret(&place, "jwt.hex", &"11".repeat(32));
    // Nothing listens on port 1.
    let l2 = ["--l2.jwt-secret", &jwt, "--l2", "http://127.0.0.1:1"];
    says(&start(&place, "engine", &l2), "the execution client of --l2 does not answer yet");
}

#[test]
fn a_sequencer_starts_and_publishes_with_its_key() {
    let place = Place::new();
    let key = secret(&place, "sequencer.key", SEQUENCER_KEY);
    let token = secret(&place, "rpc.token", &"t".repeat(32));
    let signer = crate::chain::signer().to_string();
    let flags = [
        "--p2p.sequencer.key.path",
        &key,
        "--rpc.token.path",
        &token,
        "--p2p.static",
        NO_PEER,
        "--signer",
        &signer,
    ];
    let node = start(&place, "sequencer", &flags);
    says(&node, &format!("unsafe-block signer signer={signer}"));
}

#[test]
fn a_sentry_starts_and_dials_its_sequencer() {
    let node = start(&Place::new(), "sentry", &["--p2p.static", NO_PEER]);
    says(&node, "could not connect peer=");
}

#[test]
fn a_gateway_starts_and_serves_browsers_and_the_page() {
    let place = Place::new();
    place.file("page/index.html", "<!doctype html><title>opp2p</title>");
    let page = place.name("page");
    let flags = ["--web.root", &page, "--web.listen", "127.0.0.1:0", "--p2p.listen.ws", "0"];
    let node = start(&place, "gateway", &flags);
    says(&node, "browsers can connect address=/dns4/gateway.example.org/tcp/443/wss/p2p/");
    says(&node, "serving the observer page");
}

#[test]
fn each_role_has_a_test() {
    let files = std::fs::read_dir(folder()).unwrap();
    let roles: BTreeSet<_> = files.map(|file| file.unwrap().file_name()).collect();
    let tested = ["engine.toml", "follower.toml", "gateway.toml", "sentry.toml", "sequencer.toml"];
    assert_eq!(roles, tested.map(Into::into).into_iter().collect());
}
