//! Publication: what a node takes counts, and what only browsers or nobody takes does not.

use super::support::*;
use libp2p::Multiaddr;
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_node::host::{Host, HostConfig, WsConfig};
use std::path::Path;

/// Starts a sequencer with a door for browsers.
async fn gateway(directory: &Path, suffices: bool) -> Host {
    let mut config = config(directory, "gateway", &[]);
    config.sequencer = Some(signer().into());
    config.ws = Some(WsConfig { suffices, ..WsConfig::default() });
    Host::start(config).await.unwrap()
}

/// Starts a node that has gossip alone, so all of its blocks were sent to it.
async fn listener(directory: &Path, name: &str, address: Multiaddr) -> Host {
    let host = Host::start(HostConfig { sync: None, ..config(directory, name, &[]) });
    let host = host.await.unwrap();
    assert_eq!(host.connect(address).await, Ok(Ok(())));
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_taken_only_by_browsers_is_published_when_a_node_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = gateway(directory.path(), false).await;
    let door = gateway.browser_addresses().into_iter().next().unwrap();
    let browser = listener(directory.path(), "browser", door).await;
    until(&gateway, |status| status.browser_mesh == 1).await;
    let (mut seen, mut maker) = (browser.events(), BlockMaker::new(&chain(), 41));
    let block = maker.next(unix_seconds());
    let handle = gateway.handle();
    let published = tokio::spawn(async move { handle.publish(block).await.unwrap() });
    // The browser need not wait for a node.
    let first = blocks(&mut seen, 1).await;
    assert!(!published.is_finished());
    let node = listener(directory.path(), "node", gateway.address()).await;
    let mut heard = node.events();
    let hash = published.await.unwrap().unwrap();
    assert_eq!(first, [hash]);
    until(&node, |status| status.accepted == 1).await;
    // The next one goes to both, and neither gets one of them twice.
    let next = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    assert_eq!(blocks(&mut seen, 1).await, [next]);
    while blocks(&mut heard, 1).await != [next] {}
    assert_eq!(browser.status().borrow().accepted, 2);
    for host in [gateway, browser, node] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_suffice_if_the_operator_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = gateway(directory.path(), true).await;
    let door = gateway.browser_addresses().into_iter().next().unwrap();
    let browser = listener(directory.path(), "browser", door).await;
    until(&gateway, |status| status.browser_mesh == 1).await;
    let (mut seen, mut maker) = (browser.events(), BlockMaker::new(&chain(), 42));
    for _ in 0..3 {
        let hash = gateway.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        assert_eq!(blocks(&mut seen, 1).await, [hash]);
    }
    gateway.stop().await;
    browser.stop().await;
}
