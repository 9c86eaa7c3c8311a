//! Time from passing a block to a sequencer to its acceptance by a follower, for two ways of
//! passing it: a line of hexadecimal (`--publish.stdin`), and a call of `opp2p_publishPayload`.

use crate::world::{accepted, at, chain, config, signer, sized, until};
use alloy_primitives::hex;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::json::EnvelopeJson;
use opp2p::rpc::{RpcConfig, RpcServer};
use opp2p_core::payload::{Envelope, PayloadVersion};
use opp2p_node::host::{Host, HostConfig};
use opp2p_tests::report::Row;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Number of blocks for each way; the ways alternate.
const BLOCKS: usize = 20;

/// Measures both ways for blocks of 1 MB.
pub(crate) async fn rows() -> Vec<Row> {
    let (directory, chain) = (tempfile::tempdir().unwrap(), chain(Duration::ZERO));
    let sequencer = Some(signer().into());
    let sequencer = HostConfig { sequencer, ..config(directory.path(), &chain) };
    let sequencer = Host::start(sequencer).await.unwrap();
    let static_peers = vec![sequencer.address()];
    let follower = HostConfig { static_peers, ..config(directory.path(), &chain) };
    let follower = Host::start(follower).await.unwrap();
    until(&sequencer, |status| status.mesh == 1).await;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let open = RpcConfig { enable_admin: true, ..RpcConfig::new(listen) };
    let rpc = RpcServer::start(open, sequencer.handle()).await.unwrap();
    let mut events = follower.events();
    let mut maker = BlockMaker::new(&chain, 5);
    let mut took = [Vec::new(), Vec::new()];
    for number in 0..2 * BLOCKS {
        let block = sized(&mut maker, unix_seconds(), 1_000_000);
        let is_call = number % 2 == 1;
        // The text is made before the time starts.
        let (line, call) = (line(&block), call(&block));
        let start = Instant::now();
        if is_call {
            post(rpc.address(), &call).await;
        } else {
            let body = hex::decode(line).unwrap();
            let block = Envelope::decode(PayloadVersion::V4, &body).unwrap();
            sequencer.publish(block).await.unwrap().unwrap();
        }
        let (_, at) = accepted(&mut events).await;
        took[usize::from(is_call)].push((at - start).as_secs_f64() * 1e3);
    }
    rpc.stop().await;
    for host in [follower, sequencer] {
        host.stop().await;
    }
    let mut medians = Vec::new();
    let mut rows = Vec::new();
    for (way, values) in
        ["a line of hexadecimal", "opp2p_publishPayload"].into_iter().zip(&mut took)
    {
        values.sort_by(f64::total_cmp);
        let [median, most] = [0.5, 1.0].map(|part| at(values, part));
        medians.push(median);
        rows.push(Row::new(
            format!("1 MB to a follower, handed over by {way}: p50 / most"),
            format!("{median:.1} / {most:.1} ms"),
        ));
    }
    let times = medians[1] / medians[0];
    let row = Row::new("Median by opp2p_publishPayload, to that by a line", format!("{times:.2}"));
    rows.push(row.held_to("2", times <= 2.0));
    rows
}

fn line(block: &Envelope) -> String {
    let mut body = Vec::new();
    assert_eq!(block.encode(&mut body), Ok(PayloadVersion::V4));
    hex::encode(body)
}

fn call(block: &Envelope) -> String {
    let block = EnvelopeJson::try_from(block).unwrap();
    json!({"jsonrpc": "2.0", "id": 1, "method": "opp2p_publishPayload", "params": [block]})
        .to_string()
}

async fn post(address: SocketAddr, body: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n\
         ",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"result\":\"0x"), "{answer}");
}
