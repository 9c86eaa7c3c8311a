//! The operator's message about a future fork that this version does not know.

use crate::text::utc;
use opp2p_core::node::UnknownFork;

/// Returns the message, with the fork's name and activation time, the possible effect and the
/// remedy.
pub(crate) fn unknown(fork: &UnknownFork) -> String {
    let UnknownFork { name, time, is_active } = fork;
    let activates = if *is_active { "active since" } else { "which activates at" };
    format!(
        "the configuration has the fork {}, {activates} {}, and this version does not know it: \
         from then on blocks may be refused or misjudged; install a newer version",
        name.strip_suffix("_time").unwrap_or(name).escape_debug(),
        utc(*time)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fork_is_one_sentence_with_its_name_its_date_and_the_effect() {
        let fork =
            |is_active| UnknownFork { name: "atlas_time".into(), time: 1_777_593_600, is_active };
        assert_eq!(
            unknown(&fork(false)),
            "the configuration has the fork atlas, which activates at 2026-05-01 00:00:00 UTC, and \
             this version does not know it: from then on blocks may be refused or misjudged; \
             install a newer version"
        );
        assert!(unknown(&fork(true)).contains("active since 2026-05-01"));
    }
}
