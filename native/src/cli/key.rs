//! `opp2p key`: makes keys, and shows whose a key is.

use super::Failure;
use crate::key::{KeyFile, SecretKey};
use clap::Subcommand;
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a key and writes it to a new file, or to standard output.
    Generate {
        /// File to make; an existing one is never overwritten.
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
}

#[derive(Serialize)]
struct Identity {
    peer_id: String,
    node_id: String,
    address: String,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Generate { file: Some(file) } => {
            let key = SecretKey::create(&file)?;
            print(&key, false)?;
        }
        Command::Generate { file: None } => println!("{}", &*SecretKey::generate()?.to_hex()),
        Command::Show { file, json } => print(&read(&file)?, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<SecretKey, Failure> {
    if file != Path::new("-") {
        return load(file);
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    // More than a key and its surroundings is no key; it need not be read to know that.
    let read = std::io::stdin().lock().take(4096).read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("can't read a key from standard input: {error}")))?;
    text.parse().map_err(|error| Failure::new(format!("standard input holds no key: {error}")))
}

/// Reads a key file, with a word on one that others can read.
pub(super) fn load(file: &Path) -> Result<SecretKey, Failure> {
    let loaded = SecretKey::load(file)?;
    warn_if_open(&loaded, file);
    Ok(loaded.key)
}

pub(super) fn warn_if_open(loaded: &KeyFile, file: &Path) {
    if loaded.open_to_others {
        eprintln!("opp2p: warning: others can read the key file {}: chmod 600 it", file.display());
    }
}

fn print(key: &SecretKey, json: bool) -> Result<(), Failure> {
    let identity = Identity {
        peer_id: key.peer_id().to_string(),
        // 64 digits without 0x, as the reference shows node ids.
        node_id: alloy_primitives::hex::encode(key.node_id()),
        address: key.address().to_string(),
    };
    if json {
        println!("{}", serde_json::to_string(&identity)?);
    } else {
        println!("peer id   {}", identity.peer_id);
        println!("node id   {}", identity.node_id);
        println!("address   {}", identity.address);
    }
    Ok(())
}
