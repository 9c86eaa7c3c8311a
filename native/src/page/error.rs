//! Reasons why the page can't be served.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Reasons why the page can't be served. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The binary was built without the page.
    #[error(
        "this binary was built without the page: run `cargo web-page` and build with --release, or \
         serve it from a folder"
    )]
    NotEmbedded,
    /// The folder can't be read.
    #[error("can't read the page's folder: {}: {source}; give another folder", path.display())]
    Read {
        /// The file or folder that could not be read.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder has no `index.html`.
    #[error(
        "the page's folder {} has no index.html; give the folder that `cargo web-page` made",
        .0.display()
    )]
    NoIndex(PathBuf),
    /// A link in the folder leads out of it.
    #[error("{} leads out of the page's folder; put the file itself there", .0.display())]
    LeadsOut(PathBuf),
    /// The folder holds far more than a page.
    #[error(
        "the page's folder {} holds more than 64 MiB or 4096 files; give one that holds only the \
         page",
        .0.display()
    )]
    TooMuch(PathBuf),
    /// The address can't be listened on.
    #[error("can't serve the page on {address}: {source}; choose another address or port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}
