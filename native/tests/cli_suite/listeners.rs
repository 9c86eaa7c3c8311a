//! The addresses that a node listens on: which are accepted, and which are refused before anything
//! is created.

use crate::chain::{node_arguments, rollup_json};
use crate::support::{Daemon, PATIENCE, Place, free_port};
use opp2p_core::chain::Fork;
use std::net::TcpListener;
use std::process::Stdio;

#[track_caller]
fn refused(more: &[&str], parts: &[&str]) {
    let place = Place::new();
    let outcome = place.run(&node_arguments(&place, more));
    outcome.refused(parts);
    assert!(!outcome.stderr.contains(" started "), "{outcome:#?}");
    for made in ["data", "p2p.key"] {
        assert!(!place.path(made).exists(), "{made} was made for a node that did not start");
    }
}

#[test]
fn two_listeners_of_a_node_with_one_port_are_refused_by_name() {
    let port = free_port();
    let tcp = format!("--p2p.listen.tcp={port}");
    let rpc = format!("--rpc.port={port}");
    let ws = format!("--p2p.listen.ws={port}");
    let metrics = format!("--metrics.port={port}");
    let web = format!("--web.listen=127.0.0.1:{port}");
    let number = port.to_string();
    for (flags, names) in [
        (&[&tcp, &rpc][..], ["--p2p.listen.tcp", "--rpc.port"]),
        (&[&ws, &rpc], ["--p2p.listen.ws", "--rpc.port"]),
        // By default, metrics are on all addresses.
        (&[&rpc, &metrics], ["--rpc.port", "--metrics.port"]),
        (&[&tcp, &metrics], ["--p2p.listen.tcp", "--metrics.port"]),
        (&[&rpc, &web], ["--rpc.port", "--web.listen"]),
    ] {
        let mut flags: Vec<&str> = flags.iter().map(|flag| flag.as_str()).collect();
        flags.push("--metrics.enabled");
        refused(&flags, &[names[0], names[1], &number, "of its own"]);
    }
}

#[test]
fn a_page_on_a_used_port_is_refused_before_anything_starts() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let root = Place::new();
    let index = root.file("index.html", "<!doctype html>");
    let folder = index.strip_suffix("/index.html").unwrap();
    let listen = address.to_string();
    let port = address.port().to_string();
    refused(&["--web.listen", &listen, "--web.root", folder], &["--web.listen", &port, "in use"]);
}

#[test]
fn an_ipv4_mapped_address_is_listened_on_as_ipv4() {
    let place = Place::new();
    let flags = ["--p2p.listen.ip=::ffff:127.0.0.1", "--rpc.addr=localhost"];
    let node = Daemon::start(place.opp2p(&node_arguments(&place, &flags)), Stdio::null());
    let (line, _) = node.wait_for(0, PATIENCE, |line| line.contains(" started "));
    assert!(line.contains("address=/ip4/127.0.0.1/tcp/"), "{line}");
    let (line, _) = node.wait_for(0, PATIENCE, |line| line.contains("RPC server listening"));
    assert!(line.contains("address=127.0.0.1:"), "{line}");
    node.end("TERM");
}

#[test]
fn privileged_ports_for_rpc_and_browsers_are_left_to_the_system() {
    let place = Place::new();
    for flag in ["--rpc.port=443", "--rpc.port=80", "--p2p.listen.ws=443"] {
        let outcome = place.run(&[&["config", "--network", "base"][..], &[flag]].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(!outcome.stderr.contains("reserved"), "{outcome:#?}");
    }
}

#[test]
fn unknown_variables_of_op_node_and_of_ours_are_reported() {
    let place = Place::new();
    let mut command = place.opp2p(&node_arguments(&place, &[]));
    command.env("OP_NODE_RPC_PROT", "1").env("OPP2P_STORE_HUORS", "2");
    command.env("OP_NODE_L1_TRUST_RPC", "true").env("OP_NODE_P2P_AGENT", "");
    let node = Daemon::start(command, Stdio::null());
    node.wait_for(0, PATIENCE, |line| line.contains(" started "));
    let lines = node.end("TERM");
    let warned = |name: &str| {
        lines.iter().any(|line| line.contains("environment variable") && line.contains(name))
    };
    assert!(warned("OP_NODE_RPC_PROT") && warned("OPP2P_STORE_HUORS"), "{lines:#?}");
    assert!(!warned("OP_NODE_L1_TRUST_RPC") && !warned("OP_NODE_P2P_AGENT"), "{lines:#?}");
}

#[test]
fn a_misspelt_field_of_the_chain_configuration_is_reported() {
    let place = Place::new();
    let mut rollup = rollup_json(100, Some(Fork::Jovian));
    rollup["l1_system_config_adress"] = "0x1111111111111111111111111111111111111111".into();
    rollup["atlas_time"] = "0x5".into();
    let rollup = place.file("misspelt.json", rollup.to_string());
    let flag = format!("--rollup.config={rollup}");
    let node = Daemon::start(place.opp2p(&node_arguments(&place, &[&flag])), Stdio::null());
    node.wait_for(0, PATIENCE, |line| {
        line.contains("l1_system_config_adress")
            && line.contains("l1_system_config_address is meant")
    });
    node.wait_for(0, PATIENCE, |line| {
        line.contains("atlas_time is not a whole number") && line.contains("misspelt.json")
    });
    node.wait_for(0, PATIENCE, |line| line.contains(" started "));
    node.end("TERM");
}

#[test]
fn settings_without_effect_are_refused_by_name() {
    refused(&["--feed.from", "5"], &["--feed.from", "--feed or --feed.nats"]);
    refused(&["--feed.nats.stream", "A"], &["--feed.nats.stream", "--feed.nats"]);
    refused(&["--p2p.disable", "--p2p.listen.ws", "0"], &["--p2p.listen.ws", "--p2p.disable"]);
    refused(&["--rpc.enabled=false", "--rpc.enable-admin"], &["--rpc.enable-admin", "leave out"]);
    for host in ["http://x", "a b", "foo:30102"] {
        refused(&["--rpc.hosts", host], &["--rpc.hosts", host, "not a host name"]);
    }
    for origin in ["app.example", "https://app.example/", "null", "https://a.example,x"] {
        refused(&["--rpc.cors", origin], &["--rpc.cors", "not an origin", "without a path"]);
    }
    for (flag, wrong, range) in [
        ("--rpc.max-connections", "0", "1 to 65536"),
        ("--rpc.max-connections-per-ip", "65537", "1 to 65536"),
        ("--rpc.max-subscriptions", "1025", "0 to 1024"),
        ("--rpc.max-feeds", "-1", "0 to 65536"),
        ("--rpc.max-batch", "many", "1 to 100000"),
        ("--rpc.max-request-bytes", "1023", "1024 to 25165824"),
    ] {
        refused(&[&format!("{flag}={wrong}")], &[flag, range]);
    }
    refused(&["--store.blocks", "0"], &["--store.blocks", "1 or more"]);
    refused(&["--store.hours", "0.5"], &["--store.hours", "whole number"]);
    refused(&["--sync.max-age", "-1"], &["--sync.max-age", "seconds"]);
    for wrong in ["12x", "-5", ""] {
        refused(&["--sync.from", wrong], &["--sync.from", "number of a block", "12h"]);
    }
    refused(&["--sync.from", "3d"], &["--sync.from", "72 h", "--store.hours"]);
    refused(&["--p2p.scoring", "full"], &["--p2p.scoring", "light or none"]);
    refused(&["--metrics.enabled", "false"], &["=false"]);
}
