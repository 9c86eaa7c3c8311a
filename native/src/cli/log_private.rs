//! Keeps the secrets of settings and requests out of the log at every level.
//!
//! This program never logs a secret. Libraries do: below the info level they print whole requests
//! with their `Authorization`, whole frames, and URLs with passwords. So below info the log shows
//! only this program and the [`HARMLESS`] libraries, which handle connections of peers and know no
//! secret of the operator. A library that is added later stays hidden until it is added here too.
//!
//! The library in [`SILENT`] prints the URL of its server, with the password, at any level. The
//! feed logs what an operator has to know of it.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Beginnings of the targets whose lines below info are shown.
const HARMLESS: [&str; 8] = [
    "opp2p",
    "libp2p",
    "multistream_select",
    "yamux",
    "hickory",
    "igd_next",
    "netlink",
    "if_watch",
];
/// Beginning of the targets without any line.
const SILENT: &str = "async_nats";

/// Hides the lines that may hold a secret, whatever levels the operator asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Private;

/// Returns `true` if lines of this target and level are shown.
fn is_shown(target: &str, level: Level) -> bool {
    if target.starts_with(SILENT) {
        return false;
    }
    level <= Level::INFO || HARMLESS.iter().any(|harmless| target.starts_with(harmless))
}

impl<S> Filter<S> for Private {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_shown(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_print_requests_or_urls_are_hidden_below_info() {
        for target in [
            "tungstenite::handshake::client",
            "tokio_tungstenite",
            "hyper_util::client::legacy::client",
            "h2::hpack::encoder",
            "rustls::client::hs",
            "a_library_of_the_future",
        ] {
            for level in [Level::DEBUG, Level::TRACE] {
                assert!(!is_shown(target, level), "{target} {level}");
            }
            assert!(is_shown(target, Level::WARN), "{target}");
        }
    }

    #[test]
    fn the_stream_library_is_hidden_at_every_level() {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert!(!is_shown("async_nats::connector", level), "{level}");
        }
    }

    #[test]
    fn this_program_and_the_libraries_for_peers_are_shown_at_every_level() {
        for target in ["opp2p::cli", "opp2p_core::node", "libp2p_gossipsub::behaviour", "yamux"] {
            assert!(is_shown(target, Level::TRACE), "{target}");
        }
    }
}
