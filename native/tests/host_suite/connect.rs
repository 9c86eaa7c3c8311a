//! Connection setup: security protocols, multiplexers and time limits; and a node without a
//! network.

use super::support::*;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::peers::{BlockEntry, PeerCommand};
use opp2p_node::host::{ConnectError, Host, Muxer, Peerstore, Security};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Starts a node that offers these protocols.
async fn with(directory: &Path, name: &str, security: &[Security], mux: &[Muxer]) -> Host {
    let mut config = config(directory, name, &[]);
    (config.security, config.mux) = (security.to_vec(), mux.to_vec());
    if name.starts_with("sequencer") {
        config.sequencer = Some(signer().into());
    }
    Host::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_flow_with_any_security_and_multiplexer() {
    use Muxer::{Mplex, Yamux};
    use Security::{Noise, Plaintext, Tls};
    type Offer = (&'static [Security], &'static [Muxer]);
    let directory = tempfile::tempdir().unwrap();
    let cases: [(Offer, Offer); 6] = [
        ((&[Noise], &[Yamux]), (&[Noise], &[Yamux])),
        ((&[Tls], &[Yamux]), (&[Tls], &[Yamux])),
        ((&[Noise], &[Mplex]), (&[Noise], &[Mplex])),
        ((&[Plaintext], &[Yamux]), (&[Plaintext], &[Yamux])),
        // A preference of one side wins if both support it.
        ((&[Noise, Tls], &[Mplex, Yamux]), (&[Tls], &[Yamux])),
        ((&[Tls, Noise], &[Yamux, Mplex]), (&[Noise], &[Mplex, Yamux])),
    ];
    for (at, ((security, mux), (other_security, other_mux))) in cases.into_iter().enumerate() {
        let first = with(directory.path(), &format!("sequencer-{at}"), security, mux).await;
        let second =
            with(directory.path(), &format!("follower-{at}"), other_security, other_mux).await;
        assert_eq!(second.connect(first.address()).await, Ok(Ok(())), "case {at}");
        until(&first, |status| status.mesh == 1).await;
        let mut maker = BlockMaker::new(&chain(), 5);
        for number in 1..=3 {
            first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
            until(&second, |status| status.accepted == number).await;
        }
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_with_nothing_in_common_are_not_connected() {
    let directory = tempfile::tempdir().unwrap();
    let plain = with(directory.path(), "plain", &[Security::Plaintext], &[Muxer::Yamux]).await;
    let noise = with(directory.path(), "noise", &[Security::Noise], &[Muxer::Yamux]).await;
    let mplex = with(directory.path(), "mplex", &[Security::Noise], &[Muxer::Mplex]).await;
    for (one, other) in [(&plain, &noise), (&noise, &plain)] {
        let result = one.connect(other.address()).await;
        assert!(matches!(result, Ok(Err(ConnectError::Failed(_)))), "{result:?}");
    }
    for (one, other) in [(&noise, &mplex), (&mplex, &noise)] {
        // A side that proposes a single protocol does not wait for the answer, and is connected
        // until it comes.
        let _ = one.connect(other.address()).await.unwrap();
        until(one, |status| status.peers == 0).await;
    }
    for host in [plain, noise, mplex] {
        until(&host, |status| status.peers == 0).await;
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_cut_off_after_its_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(200);
    let long = Duration::from_secs(60);
    for (name, accept, negotiation) in [("accept", short, long), ("negotiation", long, short)] {
        let mut config = config(directory.path(), name, &[]);
        (config.accept_timeout, config.negotiation_timeout) = (accept, negotiation);
        let host = Host::start(config).await.unwrap();
        let port = host.address().to_string().split('/').nth(4).unwrap().to_owned();
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
        if name == "negotiation" {
            // The protocol is agreed on at once, and then nothing follows.
            let hello = [&b"\x13/multistream/1.0.0\n"[..], &b"\x07/noise\n"[..]].concat();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await.unwrap();
        }
        let began = Instant::now();
        let closed = async {
            let mut buffer = [0; 256];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        };
        timeout(Duration::from_secs(20), closed).await.expect("it is cut off");
        assert!(began.elapsed() >= Duration::from_millis(100), "not before its time");
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_network_neither_listens_nor_dials() {
    let directory = tempfile::tempdir().unwrap();
    let other = follower(directory.path(), "other", &[]).await;
    let mut config = config(directory.path(), "offline", &[&other]);
    config.offline = true;
    let host = Host::start(config).await.unwrap();
    assert_eq!(host.address().to_string(), format!("/p2p/{}", host.peer_id()));
    let result = host.connect(other.address()).await.unwrap();
    assert!(
        matches!(&result, Err(ConnectError::Failed(why)) if why.contains("offline")),
        "{result:?}"
    );
    // A node that has a network, and starts later, is connected by now.
    let online = follower(directory.path(), "online", &[&other]).await;
    until(&online, |status| status.peers == 1).await;
    until(&other, |status| status.peers > 0).await;
    assert_eq!((host.status().borrow().peers, other.status().borrow().peers), (0, 1));
    online.stop().await;
    host.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_data_is_kept_where_the_operator_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("peers.redb");
    let elsewhere = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    for (name, peerstore, is_kept) in [
        ("with-blocks", Peerstore::WithBlocks, true),
        ("memory", Peerstore::Memory, false),
        ("file", Peerstore::File(file.clone()), true),
    ] {
        let start = async || {
            let mut config = config(directory.path(), name, &[]);
            config.peerstore = peerstore.clone();
            Host::start(config).await.unwrap()
        };
        let host = start().await;
        assert_eq!(host.command(PeerCommand::Block(BlockEntry::Ip(elsewhere))).await, Ok(Ok(())));
        host.stop().await;
        let host = start().await;
        let blocked: Vec<_> = host.peers(|peers, _| peers.gate().blocked_ips().collect());
        assert_eq!(blocked, if is_kept { vec![elsewhere] } else { vec![] }, "{name}");
        host.stop().await;
    }
    assert!(file.exists());
    // The file keeps the memory, not the block store.
    let mut config = config(directory.path(), "file", &[]);
    config.peerstore = Peerstore::WithBlocks;
    let host = Host::start(config).await.unwrap();
    assert_eq!(host.peers(|peers, _| peers.gate().blocked_ips().count()), 0);
    host.stop().await;
}
