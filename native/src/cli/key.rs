//! `opp2p key`: generates keys, and shows a key's identities.

use super::logging::caution;
use super::{Failure, answer, remark};
use clap::Subcommand;
use libp2p::PeerId;
use libp2p::identity::{PublicKey, secp256k1};
use opp2p_node::key::{KeyFile, SecretKey};
use serde::Serialize;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Maximum number of bytes read for a key from standard input.
const MAX_KEY_TEXT: usize = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generates a key and writes it to a new file, or to standard output.
    Generate {
        /// File to create, or - for standard output; an existing file is never overwritten.
        file: Option<PathBuf>,
    },
    /// Shows a key's peer id, node id and Ethereum address.
    Show {
        /// File with the key in hexadecimal, or - for standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Prints a new private key in hexadecimal, like `op-node p2p genkey`.
    Genkey,
    /// Reads a private key in hexadecimal from standard input and prints its peer id.
    Priv2id,
    /// Reads a public key in hexadecimal from standard input and prints its peer id.
    Pub2id,
}

#[derive(Serialize)]
struct Identity {
    peer_id: String,
    node_id: String,
    address: String,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Generate { file: Some(file) } if file != Path::new("-") => {
            let key = SecretKey::create(&file)?;
            print(&key, false)?;
        }
        Command::Generate { .. } => {
            answer(&*SecretKey::generate()?.to_hex())?;
        }
        Command::Show { file, json } => print(&read(&file)?, json)?,
        Command::Genkey => {
            answer(&*SecretKey::generate()?.to_hex())?;
        }
        Command::Priv2id => {
            answer(read(Path::new("-"))?.peer_id())?;
        }
        Command::Pub2id => {
            answer(read_public()?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<SecretKey, Failure> {
    if file != Path::new("-") {
        return load(file);
    }
    let text = read_text()?;
    text.parse().map_err(|error| {
        Failure::new(format!("standard input holds no key: {error}; opp2p key generate makes one"))
    })
}

/// Reads the public key on standard input and returns its peer id.
fn read_public() -> Result<PeerId, Failure> {
    let text = read_text()?;
    let digits = text.trim().strip_prefix("0x").unwrap_or(text.trim());
    let key = alloy_primitives::hex::decode(digits).ok();
    // Compressed or not, as in the reference.
    let key = key.filter(|key| matches!(key.len(), 33 | 65));
    let key = key.and_then(|key| secp256k1::PublicKey::try_from_bytes(&key).ok());
    key.map(|key| PublicKey::from(key).to_peer_id()).ok_or_else(|| {
        Failure::new(
            "standard input holds no secp256k1 public key: give its 33 or 65 bytes in hexadecimal",
        )
    })
}

/// Reads standard input up to [`MAX_KEY_TEXT`].
fn read_text() -> Result<zeroize::Zeroizing<String>, Failure> {
    if std::io::stdin().is_terminal() {
        remark("type or paste the key, then press enter and ctrl-d");
    }
    // A longer text can't be a key, so it is not read to the end. The buffer is allocated in full
    // beforehand, so that no copy of the secret is left behind.
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(MAX_KEY_TEXT));
    let read = std::io::stdin().lock().take(MAX_KEY_TEXT as u64).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(format!("can't read a key from standard input: {error}")))?;
    Ok(zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads a key file, and warns if other users can read it.
pub(super) fn load(file: &Path) -> Result<SecretKey, Failure> {
    let loaded = SecretKey::load(file)?;
    warn_if_open(&loaded, file);
    Ok(loaded.key)
}

pub(super) fn warn_if_open(loaded: &KeyFile, file: &Path) {
    if loaded.open_to_others {
        let file = file.display();
        caution(&format!("others can read or write the key file {file}; chmod 600 it"));
    }
}

fn print(key: &SecretKey, json: bool) -> Result<(), Failure> {
    let identity = Identity {
        peer_id: key.peer_id().to_string(),
        // 64 digits without 0x, as in the reference.
        node_id: alloy_primitives::hex::encode(key.node_id()),
        address: key.address().to_string(),
    };
    if json {
        answer(serde_json::to_string(&identity)?)?;
    } else {
        let Identity { peer_id, node_id, address } = identity;
        answer(format_args!("peer id   {peer_id}\nnode id   {node_id}\naddress   {address}"))?;
    }
    Ok(())
}
