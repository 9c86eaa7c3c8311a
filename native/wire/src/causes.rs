//! Causes of libp2p's errors, in words for people.

use libp2p::core::upgrade::NegotiationError;
use libp2p::noise;
use libp2p::swarm::{ConnectionError, DialError};
use std::error::Error;
use std::io;

/// Message about a peer that answers but shares no protocol with this node.
const NOTHING_IN_COMMON: &str = "the peer and this node have no protocol in common to secure the \
     connection or to carry its streams";
/// Message about a peer with which the connection is secured, but which shares no multiplexer.
const NO_MUXER: &str =
    "the peer and this node have no protocol in common to carry the connection's streams";

/// Finds an error of this type among an error and its causes.
///
/// An [`io::Error`] and a failed security handshake don't name the error that they hold as their
/// source, so a walk along the sources misses it.
pub fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    if let Some(noise::Error::Io(held)) = error.downcast_ref() {
        return find_cause(held);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => find_cause(held),
        None => error.source().and_then(find_cause),
    }
}

/// Returns the text of the last cause of an error, usually the system's.
pub fn last_cause(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    let text = error.to_string();
    // The library's text needs knowledge of its internals; this one helps the operator.
    if text == NegotiationError::Failed.to_string() { NOTHING_IN_COMMON.into() } else { text }
}

/// Returns the reason why a connection that we dialled failed after it seemed established: the
/// dialler does not wait for the other side to agree to its proposal, and learns of a refusal only
/// then. `None` if it ended for another reason.
pub fn refused_late(cause: &ConnectionError) -> Option<String> {
    (last_cause(cause) == NOTHING_IN_COMMON).then(|| NO_MUXER.into())
}

/// Describes a failed dial for a person: for each address the last cause, usually the system's
/// text. libp2p's own text repeats every layer, over several lines.
pub fn dial_failure(error: &DialError) -> String {
    let text = match error {
        DialError::Transport(failures) => {
            let each =
                failures.iter().map(|(address, error)| format!("{address}: {}", last_cause(error)));
            each.collect::<Vec<_>>().join("; ")
        }
        other => last_cause(other),
    };
    // A name with several addresses has a list of causes, one per line.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_with_nothing_in_common_is_explained_in_plain_words() {
        let refused = ConnectionError::IO(io::Error::other(NegotiationError::Failed));
        assert_eq!(refused_late(&refused).as_deref(), Some(NO_MUXER));
        assert_eq!(last_cause(&refused), NOTHING_IN_COMMON);
        let closed = ConnectionError::IO(io::ErrorKind::ConnectionReset.into());
        assert_eq!(last_cause(&closed), "connection reset");
        assert_eq!(refused_late(&closed), None);
        assert_eq!(refused_late(&ConnectionError::KeepAliveTimeout), None);
    }

    #[test]
    fn a_cause_is_found_below_every_layer() {
        let inner = || io::Error::other(NegotiationError::Failed);
        for error in [
            inner(),
            io::Error::other(inner()),
            io::Error::other(noise::Error::Io(inner())),
            io::Error::other(io::Error::other(noise::Error::Io(io::Error::other(inner())))),
        ] {
            let found = find_cause::<NegotiationError>(&error);
            assert!(matches!(found, Some(NegotiationError::Failed)), "{error:?}");
        }
        assert!(find_cause::<NegotiationError>(&io::Error::other("another")).is_none());
    }
}
