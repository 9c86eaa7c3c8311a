//! Reasons why a gateway can't be reached or was lost: a code for programs, and a text for people.

use crate::options::{Code, Refusal};
use crate::transport::Lost;
use libp2p::swarm::DialError;
use serde::Serialize;

/// Kind of reason. The names are part of the package's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing speaks WebSocket at the address, or the network is down.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// It has no room for another browser.
    Full,
    /// It has another identity than its address says.
    WrongPeer,
    /// It follows another chain.
    WrongNetwork,
    /// The connection can't be secured, or has no protocol in common.
    Handshake,
    /// The connection was closed, by the gateway or by the network.
    Closed,
    /// The gateway closed it, and said that another observer with the same identity has connected.
    Replaced,
    /// It stopped answering.
    Silent,
    /// It broke the rules of the network.
    Banned,
}

/// Returns the reason why a dial failed.
pub(crate) fn of_dial(error: &DialError) -> (Fault, String) {
    let fault = match error {
        DialError::WrongPeerId { obtained, .. } => {
            let words = format!("another peer is there, with the id {obtained}");
            return (Fault::WrongPeer, words);
        }
        // The gatekeeper refuses banned peers only.
        DialError::Denied { .. } => Fault::Banned,
        DialError::Transport(failures) => {
            let each: Vec<_> = failures.iter().map(|(_, error)| Lost::of(error)).collect();
            of_transport(&each)
        }
        _ => Fault::Unreachable,
    };
    (fault, opp2p_wire::dial_failure(error))
}

/// Returns the fault of a peer, given those of its addresses: the one that says most about it.
fn of_transport(each: &[Option<Lost>]) -> Fault {
    let has = |lost| each.contains(&lost);
    if has(Some(Lost::Full)) {
        Fault::Full
    } else if has(None) {
        Fault::Handshake
    } else if has(Some(Lost::Closed)) {
        Fault::Closed
    } else if has(Some(Lost::Timeout)) {
        Fault::Timeout
    } else {
        Fault::Unreachable
    }
}

/// Words for a connection that another observer with the same identity took.
pub(crate) const REPLACED: &str =
    "it closed this connection in favour of a newer one with the same identity";

/// Returns the error that the page is told, for a fault that does not pass by itself.
pub(crate) fn refusal(peer: &str, fault: Fault, words: &str) -> Option<Refusal> {
    let (code, message) = match fault {
        Fault::Unreachable => {
            (Code::Unreachable, format!("the gateway {peer} can't be reached: {words}"))
        }
        Fault::Replaced => {
            let message = format!(
                "the gateway {peer} serves one connection of an identity, and another observer has \
                 this identity too, such as one in a copy of this browser's profile: use the \
                 identity \"fresh\""
            );
            (Code::Replaced, message)
        }
        Fault::Full => {
            let message =
                format!("the gateway {peer} is full; it is dialled again, less and less often");
            (Code::Full, message)
        }
        Fault::WrongPeer => {
            let message = format!("{peer} is not at its address: {words}; check the address");
            (Code::WrongPeer, message)
        }
        _ => return None,
    };
    Some(Refusal { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;
    use libp2p::core::transport::TransportError;
    use std::io;

    fn failed(causes: &[Option<Lost>]) -> DialError {
        let each = causes.iter().map(|cause| {
            let error = match cause {
                Some(lost) => io::Error::other(io::Error::new(io::ErrorKind::BrokenPipe, *lost)),
                None => io::Error::other("the other side talks nonsense"),
            };
            ("/ip4/10.0.0.1/tcp/1/ws".parse().unwrap(), TransportError::Other(error))
        });
        DialError::Transport(each.collect())
    }

    #[test]
    fn each_failure_has_its_code() {
        let (full, open) = (Some(Lost::Full), Some(Lost::NotOpened));
        for (causes, expected) in [
            (&[open][..], Fault::Unreachable),
            (&[open, Some(Lost::Timeout)], Fault::Timeout),
            (&[Some(Lost::Timeout), Some(Lost::Closed)], Fault::Closed),
            (&[open, None], Fault::Handshake),
            (&[None, open, full], Fault::Full),
            (&[], Fault::Unreachable),
        ] {
            assert_eq!(of_dial(&failed(causes)).0, expected, "{causes:?}");
        }
        let (obtained, address) = (PeerId::random(), "/ip4/10.0.0.1/tcp/1/ws".parse().unwrap());
        let (fault, words) = of_dial(&DialError::WrongPeerId { obtained, address });
        assert_eq!(fault, Fault::WrongPeer);
        assert!(words.contains(&obtained.to_string()), "{words}");
    }

    #[test]
    fn only_lasting_failures_are_errors() {
        let code = |fault| refusal("16Uiu2", fault, "words").map(|refusal| refusal.code);
        assert_eq!(code(Fault::Full), Some(Code::Full));
        assert_eq!(code(Fault::WrongPeer), Some(Code::WrongPeer));
        assert_eq!(code(Fault::Unreachable), Some(Code::Unreachable));
        assert_eq!(code(Fault::Replaced), Some(Code::Replaced));
        for fault in [Fault::Timeout, Fault::Closed, Fault::Banned] {
            assert_eq!(code(fault), None);
        }
    }

    #[test]
    fn a_socket_that_was_not_opened_has_causes_that_a_developer_can_check() {
        let (fault, words) = of_dial(&failed(&[Some(Lost::NotOpened)]));
        let refusal = refusal("16Uiu2", fault, &words).expect("it is told");
        for cause in ["port", "connect-src", "certificate", "16Uiu2", "/ip4/10.0.0.1/tcp/1/ws"] {
            assert!(refusal.message.contains(cause), "{cause}: {}", refusal.message);
        }
    }
}
