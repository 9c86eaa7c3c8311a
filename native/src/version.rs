//! The version of this program, and the commit that it was built from, if known.
//!
//! The build script determines them. Builds that are not optimised, and builds outside a
//! repository, name no commit.

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// First eight digits of the commit; empty if it is not known.
pub const COMMIT: &str = env!("OPP2P_BUILD_COMMIT");
/// Date of the commit, such as 2026-11-29; empty if it is not known.
pub const COMMIT_DATE: &str = env!("OPP2P_BUILD_DATE");
/// The version, with the commit and its date in parentheses.
pub const LONG: &str = env!("OPP2P_BUILD_VERSION");
/// The version in op-node's format: a hyphen, the commit, its date as one number, and a word.
pub const LIKE_OP_NODE: &str = env!("OPP2P_BUILD_OP_NODE");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_version_strings_agree() {
        assert!(LONG.starts_with(VERSION) && LIKE_OP_NODE.starts_with(&format!("v{VERSION}-")));
        assert!(LIKE_OP_NODE.ends_with("-opp2p"));
        if COMMIT.is_empty() {
            assert_eq!(LONG, format!("{VERSION} (no commit known)"));
        } else {
            assert!(COMMIT.len() == 8 && COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert!(LONG.contains(COMMIT) && LONG.contains(COMMIT_DATE), "{LONG}");
            assert!(LIKE_OP_NODE.contains(COMMIT), "{LIKE_OP_NODE}");
        }
    }
}
