//! Reasons why discovery can't start.

use opp2p_core::discovery::InvalidAdvertisement;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Reason why discovery can't start.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The UDP port can't be bound.
    #[error("can't listen on UDP port {port} of {ip}: {source}; choose another port")]
    Bind {
        /// Address to bind.
        ip: IpAddr,
        /// UDP port to bind.
        port: u16,
        /// Error from the operating system.
        source: io::Error,
    },
    /// The configured address can't be advertised.
    #[error(transparent)]
    Advertise(#[from] InvalidAdvertisement),
    /// The file of the table can't be read or is not one of ours.
    #[error(
        "{} {why}, so discovery's table can't be kept there; name another file",
        file.display()
    )]
    Table {
        /// Path of the file.
        file: PathBuf,
        /// The problem with it.
        why: String,
    },
    /// Error from the library.
    #[error("discovery can't start: {0}")]
    Library(String),
}
