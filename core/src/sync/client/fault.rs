//! Consequences of a failed request for its source.

use super::servers::Rest;
use crate::peers::Conduct;
use crate::sync::check::{AnswerError, RequestFailure, RpcError};
use crate::sync::wire::{ResponseError, ResultCode};

/// Returns `true` if no answer came in time.
pub(super) const fn is_silent(error: &AnswerError) -> bool {
    matches!(error, AnswerError::Request(RequestFailure::Timeout))
}

/// Returns the consequences for a peer whose request failed for reasons that are not ours.
pub(super) fn peers_fault(
    error: &AnswerError,
    may_be_limited: bool,
    has_served: bool,
) -> (Option<Rest>, Option<Conduct>) {
    let is_code = |code: &u8, expected: ResultCode| *code == expected.byte();
    match error {
        AnswerError::Refused(code)
            if is_code(code, ResultCode::NotFound) || is_code(code, ResultCode::InvalidRequest) =>
        {
            (Some(Rest::Missed), None)
        }
        AnswerError::Refused(code) if is_code(code, ResultCode::UnknownError) && may_be_limited => {
            (Some(Rest::Limited), None)
        }
        // Some servers answer before they read, and close the stream: to us, this looks like a
        // failure.
        AnswerError::Request(RequestFailure::Closed)
        | AnswerError::Response(ResponseError::Empty)
            if !has_served =>
        {
            (Some(Rest::Missed), None)
        }
        // A stream ends like this too when the peer restarts or its line breaks, and we learn of
        // the lost connection only later.
        AnswerError::Request(RequestFailure::Closed) => (Some(Rest::Failed), None),
        AnswerError::Request(RequestFailure::Unsupported) => (None, None),
        // Our bug, not the peer's fault. The rest keeps us from asking for the same again at once.
        AnswerError::Panicked => (Some(Rest::Failed), None),
        AnswerError::WrongNumber { .. } | AnswerError::BlockHash => {
            (Some(Rest::Wrong), Some(Conduct::RejectedPayload))
        }
        _ => (Some(Rest::Failed), Some(Conduct::ErrorResponse)),
    }
}

/// Returns the reason why an endpoint has to rest. There are no other consequences for it.
pub(super) const fn endpoints_fault(error: &AnswerError) -> Option<Rest> {
    match error {
        AnswerError::Rpc(RpcError::NotFound) => Some(Rest::Missed),
        AnswerError::Rpc(RpcError::Limited(_)) | AnswerError::Request(RequestFailure::Limited) => {
            Some(Rest::Limited)
        }
        // It is asked at once by another method.
        AnswerError::Rpc(RpcError::Unsupported(_)) => None,
        AnswerError::WrongNumber { .. }
        | AnswerError::BlockHash
        | AnswerError::Rpc(RpcError::Block(_)) => Some(Rest::Wrong),
        _ => Some(Rest::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_stream_breaks_rests_without_a_penalty() {
        let closed = AnswerError::Request(RequestFailure::Closed);
        assert_eq!(peers_fault(&closed, false, true), (Some(Rest::Failed), None));
        assert_eq!(peers_fault(&closed, false, false), (Some(Rest::Missed), None));
        // An empty answer was sent on purpose, or by mistake.
        let empty = AnswerError::Response(ResponseError::Empty);
        let (rest, conduct) = peers_fault(&empty, false, true);
        assert_eq!((rest, conduct), (Some(Rest::Failed), Some(Conduct::ErrorResponse)));
    }

    #[test]
    fn a_panicking_check_is_not_blamed_on_the_peer() {
        for has_served in [false, true] {
            let (rest, conduct) = peers_fault(&AnswerError::Panicked, true, has_served);
            assert_eq!((rest, conduct), (Some(Rest::Failed), None));
        }
    }
}
