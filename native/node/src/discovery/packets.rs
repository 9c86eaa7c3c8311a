//! Limits on unrequested packets.
//!
//! The source address of a UDP packet proves nothing, so no address or node is banned for what
//! comes from it: an attacker could silence a bootnode with a few packets under its name. The
//! library bans any address or node that exceeds its own limit. Therefore only the limit on all
//! packets together is used, which drops the excess.
//!
//! # Bounds
//! [`TOTAL`] packets per second. Each causes at most one message of the protocol's handshake, which
//! is smaller than the packet.

use discv5::{ConfigBuilder, RateLimiterBuilder};
use std::time::Duration;

/// Maximum number of unrequested packets per second that are read.
const TOTAL: u64 = 500;

/// Sets the limits.
///
/// # Errors
/// The library's text, if it refuses them.
pub(super) fn limit(settings: &mut ConfigBuilder) -> Result<(), &'static str> {
    let limiter = RateLimiterBuilder::new().total_n_every(TOTAL, Duration::from_secs(1)).build()?;
    settings
        .enable_packet_filter()
        .filter_rate_limiter(Some(limiter))
        .filter_max_nodes_per_ip(None)
        .filter_max_bans_per_ip(None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use discv5::{Discv5, Enr, ListenConfig};
    use enr::CombinedKey;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use tokio::net::UdpSocket;

    async fn node() -> (Discv5, u16) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let port = socket.local_addr().expect("bound").port();
        let key = CombinedKey::generate_secp256k1();
        let own = Enr::builder().ip4(Ipv4Addr::LOCALHOST).udp4(port).build(&key).expect("built");
        let listen = ListenConfig::FromSockets { ipv4: Some(Arc::new(socket)), ipv6: None };
        let mut settings = ConfigBuilder::new(listen);
        limit(&mut settings).expect("the library takes them");
        let mut node = Discv5::new(own, key, settings.build()).expect("built");
        node.start().await.expect("starts");
        (node, port)
    }

    #[tokio::test]
    async fn packets_forged_in_a_nodes_name_do_not_silence_it() {
        let ((asked, port), (asking, _)) = (node().await, node().await);
        let forger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        for number in 0..100 {
            forger.send_to(&[number; 100], (Ipv4Addr::LOCALHOST, port)).await.expect("sends");
        }
        // All of these nodes share the address that the packets came from.
        let found = asking.find_node_designated_peer(asked.local_enr(), vec![0]).await;
        let found = found.expect("it answers");
        assert!(found.iter().any(|enr| enr.node_id() == asked.local_enr().node_id()));
        assert!(asking.add_enr(asked.local_enr()).is_ok());
    }
}
