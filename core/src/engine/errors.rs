//! Meaning of the errors in an engine's JSON-RPC answers.

use super::EngineFailure;

/// Error code of the Engine API: unknown payload id.
const UNKNOWN_PAYLOAD: i64 = -38001;
/// Error code of the Engine API: labels that contradict each other or the engine's chain.
const INVALID_FORKCHOICE: i64 = -38002;
/// Error code of the Engine API: a payload or attributes of a fork that is not active in the engine
/// at that time.
const UNSUPPORTED_FORK: i64 = -38005;
/// Error code for a pruned block (EIP-4444).
const PRUNED: i64 = 4444;
/// Code of execution clients for an unknown block, such as a label without a block.
const UNKNOWN_BLOCK: i64 = -39001;
/// The same error in EIP-1474.
const NO_RESOURCE: i64 = -32001;
/// Code for any error of a server; only the message distinguishes them.
const SERVER_ERROR: i64 = -32000;
/// JSON-RPC error code for an unknown method.
const NO_METHOD: i64 = -32601;

/// Returns `true` if this error means that the requested block does not exist.
pub fn is_missing_block(code: i64, message: &str) -> bool {
    let says = |text: &str| message.to_ascii_lowercase().contains(text);
    match code {
        UNKNOWN_BLOCK | NO_RESOURCE | PRUNED => true,
        SERVER_ERROR => says("not found") || says("unknown block"),
        _ => false,
    }
}

impl EngineFailure {
    /// Returns the meaning of an error with which the engine answers a call of `method`. The
    /// failure holds the whole message, which the caller should shorten.
    pub fn of_error(method: &str, code: i64, message: String) -> Self {
        match code {
            UNKNOWN_PAYLOAD => Self::UnknownPayload(message),
            INVALID_FORKCHOICE => Self::Forkchoice(message),
            UNSUPPORTED_FORK => Self::OtherFork(message),
            NO_METHOD => Self::NoMethod(method.to_owned()),
            PRUNED => Self::Pruned(message),
            code => Self::Other(format!("{method}: {message} (code {code})")),
        }
    }

    /// Returns `true` if this answer to a request for the engine's own label means that no block
    /// has the label yet. Engines report that with various errors.
    pub const fn is_missing_label(&self) -> bool {
        matches!(self, Self::Other(_))
    }

    /// Returns `true` if this answer to a request for an old block means that the engine does not
    /// keep the block. Engines with pruned history report that with code 4444, or with an error of
    /// their own.
    pub const fn is_missing_history(&self) -> bool {
        matches!(self, Self::Pruned(_) | Self::Other(_))
    }

    /// Returns `true` if this answer to `engine_exchangeCapabilities` means that the engine has no
    /// list of its methods: it is old, or the port is not that of its Engine API.
    pub const fn is_missing_list(&self) -> bool {
        matches!(self, Self::Other(_) | Self::NoMethod(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_the_block_mean_that_it_is_missing() {
        for (code, message) in [
            (-39001, "Unknown block"),
            (-32001, "resource not found"),
            (4444, "pruned history unavailable"),
            (-32000, "safe block not found"),
            (-32000, "Unknown block"),
        ] {
            assert!(is_missing_block(code, message), "{code} {message}");
        }
        for (code, message) in [
            (-32005, "rate limit"),
            (-32603, "internal error: not found"),
            (-32601, "method not found"),
            (-32000, "too many requests"),
            (429, "not found"),
        ] {
            assert!(!is_missing_block(code, message), "{code} {message}");
        }
    }

    #[test]
    fn codes_of_the_engine_api_have_failures_of_their_own() {
        let of = |code| EngineFailure::of_error("m", code, "said".into());
        assert_eq!(of(-38001), EngineFailure::UnknownPayload("said".into()));
        assert_eq!(of(-38002), EngineFailure::Forkchoice("said".into()));
        assert_eq!(of(-38005), EngineFailure::OtherFork("said".into()));
        assert_eq!(of(-32601), EngineFailure::NoMethod("m".into()));
        assert_eq!(of(4444), EngineFailure::Pruned("said".into()));
        assert_eq!(of(-1), EngineFailure::Other("m: said (code -1)".into()));
        assert!(of(-1).is_missing_label() && of(-1).is_missing_history());
        assert!(of(4444).is_missing_history() && !of(4444).is_missing_label());
        assert!(of(-32601).is_missing_list() && !of(-32601).is_missing_label());
        assert!(!EngineFailure::Unauthorized.is_missing_list());
    }
}
