//! The flags that are meant by errors of the libraries, which know only settings.

#[cfg(feature = "devnet")]
use crate::devnet::NetworkError;
#[cfg(feature = "engine")]
use crate::engine::StartError;
#[cfg(feature = "nats")]
use crate::feed::NatsError;
use crate::metrics::MetricsError;
use crate::page::PageError;
use crate::rpc::RpcError;
use opp2p_core::chain::Fork;
#[cfg(feature = "engine")]
use opp2p_core::engine::EngineFailure;
use opp2p_core::gossip::{InvalidMesh, ScheduleRule};
use opp2p_core::trouble::{Trouble, TroubleKind};
use opp2p_node::discovery::DiscoveryError;
use opp2p_node::host::HostError;
use opp2p_store::StoreError;
use std::error::Error;

/// Returns an error as one sentence that names the flags for its remedy.
pub(super) fn sentence(error: &(dyn Error + 'static)) -> String {
    let (before, after) = around(error);
    format!("{before}{error}{after}")
}

/// Returns what has to stand before and after an error.
fn around(error: &(dyn Error + 'static)) -> (&'static str, &'static str) {
    #[cfg(feature = "devnet")]
    if let Some(NetworkError::Directory { .. }) = error.downcast_ref() {
        return ("", " with --data-dir");
    }
    #[cfg(feature = "engine")]
    if let Some(error) = error.downcast_ref() {
        return engine(error);
    }
    #[cfg(feature = "nats")]
    if let Some(error) = error.downcast_ref() {
        return (nats(error), "");
    }
    if let Some(InvalidMesh::Order { .. }) = error.downcast_ref() {
        return ("--p2p.gossip.mesh.lo, --p2p.gossip.mesh.d and --p2p.gossip.mesh.dhi: ", "");
    }
    let after = if let Some(error) = error.downcast_ref() {
        host(error)
    } else if let Some(error) = error.downcast_ref() {
        store(error)
    } else if let Some(error) = error.downcast_ref() {
        page(error)
    } else if let Some(error) = error.downcast_ref::<MetricsError>() {
        match error {
            MetricsError::InUse(_) => " with --metrics.port",
            MetricsError::Listen { .. } => " with --metrics.addr and --metrics.port",
        }
    } else if let Some(error) = error.downcast_ref::<RpcError>() {
        match error {
            RpcError::InUse(_) => " with --rpc.port",
            RpcError::Listen { .. } => " with --rpc.addr and --rpc.port",
            RpcError::Proofs(_) => " (--l2.proofs)",
            RpcError::Token { .. } | RpcError::L1(_) => "",
        }
    } else {
        ""
    };
    ("", after)
}

const fn host(error: &HostError) -> &'static str {
    match error {
        HostError::Discovery(DiscoveryError::Bind { .. }) => " with --p2p.listen.udp",
        HostError::Discovery(DiscoveryError::Table { .. }) => " with --p2p.discovery.path",
        HostError::Store(error) => store(error),
        _ => "",
    }
}

const fn store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupted { .. } | StoreError::CorruptedBlock { .. } => {
            " with `opp2p store salvage`"
        }
        _ => "",
    }
}

const fn page(error: &PageError) -> &'static str {
    match error {
        PageError::NotEmbedded => " with --web.root DIR",
        PageError::Read { .. } | PageError::NoIndex(_) => " with --web.root",
        PageError::Listen { .. } => " with --web.listen",
        PageError::LeadsOut(_) | PageError::TooMuch(_) => "",
    }
}

#[cfg(feature = "engine")]
const fn engine(error: &StartError) -> (&'static str, &'static str) {
    match error {
        StartError::Endpoint(_) => ("--l2: ", ""),
        StartError::Labels(_) | StartError::NoLabels(_) => ("--l2.labels: ", ""),
        StartError::Refused(EngineFailure::Unauthorized) => ("", " (--l2.jwt-secret)"),
        StartError::Mismatch(_) | StartError::Refused(_) => ("", " (--l2)"),
    }
}

#[cfg(feature = "nats")]
const fn nats(error: &NatsError) -> &'static str {
    match error {
        NatsError::Url { .. } => "--feed.nats: ",
        NatsError::Stream(_) => "--feed.nats.stream: ",
        NatsError::Subject(_) => "--feed.nats.subject: ",
        _ => "",
    }
}

/// Returns the flags that the remedy of a trouble means, in parentheses after a space, or nothing.
pub(super) fn of_trouble(trouble: &Trouble) -> String {
    match trouble {
        Trouble::ScheduleInDoubt(doubt) if doubt.rule != ScheduleRule::BaseTimeSource => {
            of_fork(doubt.fork)
        }
        other => of_kind(other.kind()).to_owned(),
    }
}

/// Returns the flag with the time of a fork, in parentheses after a space.
pub(super) fn of_fork(fork: Fork) -> String {
    format!(" (--override.{fork})")
}

/// Returns the flags that the remedy of a kind of trouble means, as [`of_trouble`].
pub(super) const fn of_kind(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::SignerUnknown | TroubleKind::SignerWrong => " (--l1, --signer)",
        TroubleKind::NoMesh => " (--network)",
        TroubleKind::Gap => " (--sync.rpc)",
        TroubleKind::Engine => " (--l2, --l2.jwt-secret)",
        TroubleKind::Labels => " (--l2.labels)",
        TroubleKind::Signing => " (--signer.endpoint)",
        TroubleKind::L1 => " (--l1)",
        TroubleKind::Feed => " (--feed.nats)",
        TroubleKind::Proofs => " (--l2.proofs)",
        TroubleKind::Certificate => " (--p2p.ws.tls.acme, --p2p.ws.tls.auto)",
        TroubleKind::KeyInUse => " (--p2p.priv.path)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    #[test]
    fn an_error_that_a_flag_can_mend_names_the_flag() {
        let (ip, port) = (IpAddr::from(Ipv4Addr::LOCALHOST), 9222);
        let address = SocketAddr::new(ip, port);
        let source = || io::Error::other("refused");
        let udp = DiscoveryError::Bind { ip, port, source: source() };
        let ends = [
            (sentence(&HostError::from(udp)), "choose another port with --p2p.listen.udp"),
            (sentence(&MetricsError::InUse(address)), "choose another port with --metrics.port"),
            (sentence(&RpcError::InUse(address)), "choose another port with --rpc.port"),
            (sentence(&PageError::NotEmbedded), "serve it from a folder with --web.root DIR"),
            (
                sentence(&PageError::Listen { address, source: source() }),
                "choose another address or port with --web.listen",
            ),
        ];
        for (text, end) in ends {
            assert!(text.ends_with(end), "{text}");
        }
        #[cfg(feature = "nats")]
        {
            let stream = sentence(&NatsError::Stream("a b".into()));
            assert!(stream.starts_with("--feed.nats.stream: \"a b\""), "{stream}");
        }
        assert_eq!(sentence(&source()), "refused");
    }

    #[test]
    fn a_trouble_that_a_flag_can_mend_names_the_flag() {
        assert_eq!(of_trouble(&Trouble::SignerUnknown), " (--l1, --signer)");
        assert_eq!(of_trouble(&Trouble::NoPeers), "");
        assert_eq!(of_fork(Fork::Jovian), " (--override.jovian)");
        for kind in TroubleKind::ALL {
            let flags = of_kind(*kind);
            assert!(
                flags.is_empty() || flags.starts_with(" (--") && flags.ends_with(')'),
                "{kind}"
            );
            // The core's own texts name settings, not flags.
            assert!(!kind.remedy().contains("--") && !kind.meaning().contains("--"), "{kind}");
        }
    }
}
