//! Gateways and their reports.

use alloy_primitives::{Address, B256};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::trouble::TroubleKind;
use opp2p_node::host::{AcmeConfig, Host, HostConfig, WsConfig};
use opp2p_node::key::SecretKey;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Timeout of a wait for an expected event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The name of a gateway.
pub(crate) const NAME: &str = "gw.example";

/// Returns the configuration of a gateway.
pub(crate) fn gateway(folder: &Path, port: u16, acme: AcmeConfig) -> HostConfig {
    let signer = Address::repeat_byte(2);
    let chain = ChainConfig::development(901, B256::ZERO, 1, 2, Fork::Jovian, signer);
    let key = SecretKey::generate().unwrap();
    let store = folder.join(key.peer_id().to_string());
    let mut config = HostConfig::new(chain, key, store);
    config.listen_ip = Ipv4Addr::LOCALHOST.into();
    config.listen_tcp = 0;
    config.ws = Some(WsConfig { port, acme: Some(acme), ..WsConfig::default() });
    config
}

/// Polls until a condition holds.
pub(crate) async fn until_true(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !wanted().await {
        assert!(begun.elapsed() < PATIENCE * 2, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the text of the `certificate` trouble, if present.
pub(crate) fn present(host: &Host) -> Option<String> {
    host.core(|node, now| {
        let mut entries = node.troubles(now);
        let entry = entries.find(|entry| entry.trouble.kind() == TroubleKind::Certificate)?;
        Some(entry.trouble.to_string())
    })
}

/// Waits for the `certificate` trouble, and returns its text.
pub(crate) async fn trouble(host: &Host) -> String {
    until_true("the trouble", async || present(host).is_some()).await;
    present(host).expect("it was there")
}
