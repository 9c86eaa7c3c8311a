//! Parsers of paths and addresses on the command line.

use alloy_primitives::Address;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::{Path, PathBuf};

/// Accepts any path, even an empty one: an empty environment variable counts as unset.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Returns the path of our own file for a path at which op-node has a database, which is a folder.
/// The file lies beside the folder, so that either program can be started again.
pub(super) fn beside_a_folder(path: &Path, flag: &str) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".opp2p");
    let own = PathBuf::from(name);
    tracing::warn!(
        flag, folder = %path.display(), file = %own.display(),
        "the path is a folder, as op-node's database is: it is left alone, and a file beside it is \
         used"
    );
    own
}

/// Parses an address from a flag.
pub(super) fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|_| "an address is 0x and 40 hexadecimal digits".into())
}
