//! `opp2p store`: a node's stored blocks, while the node does not run.

use super::chain::ChainArgs;
use super::failure::readable;
use super::values::{Gigabytes, at_least_1, gigabytes};
use super::{Failure, NO, answer, path, remark};
use crate::text::size;
use alloy_primitives::B256;
use clap::Subcommand;
use opp2p_core::chain::BlockId;
use opp2p_core::chain::networks::{self, Network};
use opp2p_store::new_file::NewFile;
use opp2p_store::transfer::{HEADER_SIZE, Header, ImportError, Imported};
use opp2p_store::{Salvaged, Store, StoreConfig};
use serde_json::json;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Cursor, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Name of the file with a node's blocks.
const FILE: &str = "blocks.redb";

#[derive(Debug, clap::Args)]
#[command(after_help = "The node must not run: a store is open in one process at a time.\n\
    Exit code: 0 done, 1 blocks are damaged or missing, 2 unusable arguments, file or store.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints which blocks the store has, and its size.
    Info(Shown),
    /// Reads every block and checks its contents, its hash and its link to the block below.
    Verify(Shown),
    /// Writes the canonical blocks to a new file, highest first.
    Export(Export),
    /// Stores the blocks of a file. Each must have its hash and be the parent of the one above; no
    /// stored block is replaced.
    #[command(
        after_help = "A file has no signatures. That the sequencer made its highest block is \
        shown only by\na block of the store above it, or by --hash. Import files only from those \
        whom you trust."
    )]
    Import(Import),
    /// Removes the blocks that a node with these limits would remove.
    Prune(Prune),
    /// Copies the intact data of a damaged store into a new one, which replaces it. The damaged
    /// file is kept.
    Salvage(Salvage),
}

/// Selection of the store.
#[derive(Debug, clap::Args)]
struct Place {
    /// Directory of the node's data.
    #[arg(
        long = "data-dir", env = "OPP2P_DATA_DIR", default_value = "opp2p-data", value_name = "DIR",
        value_parser = path()
    )]
    data_dir: PathBuf,
    /// Built-in network: name, slug such as op-mainnet, or chain id. It is needed only if the
    /// directory has the blocks of several chains.
    #[arg(long, alias = "chain", env = "OP_NODE_NETWORK", value_name = "NAME")]
    network: Option<String>,
    /// Chain configuration file, for a chain that is not built in.
    #[arg(
        long = "rollup.config", env = "OP_NODE_ROLLUP_CONFIG", value_name = "FILE",
        value_parser = path()
    )]
    rollup_config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Shown {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Export {
    /// File to create, or - for standard output; an existing file is never overwritten.
    file: PathBuf,
    /// Number of the lowest block.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// Number of the highest block [default: the highest that the store has].
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// File to read, or - for standard input.
    file: PathBuf,
    /// Hash that the highest block must have.
    #[arg(long, value_name = "HASH", value_parser = hash)]
    hash: Option<B256>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Prune {
    /// Maximum number of blocks to keep.
    #[arg(long = "store.blocks", env = "OPP2P_STORE_BLOCKS", value_name = "N",
        value_parser = at_least_1)]
    blocks: Option<u64>,
    /// Maximum disk space for blocks, in gigabytes; fractions are allowed.
    #[arg(long = "store.gigabytes", env = "OPP2P_STORE_GIGABYTES", default_value = "20",
        value_parser = gigabytes, value_name = "GB")]
    gigabytes: Gigabytes,
    /// Maximum age of a block to keep, in hours.
    #[arg(long = "store.hours", env = "OPP2P_STORE_HOURS", default_value_t = 48,
        value_name = "HOURS", value_parser = at_least_1)]
    hours: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Salvage {
    #[command(flatten)]
    place: Place,
}

fn hash(text: &str) -> Result<B256, String> {
    text.parse().map_err(|_| "a hash is 0x and 64 hexadecimal digits".into())
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Info(args) => info(args),
        Command::Verify(args) => verify(args),
        Command::Export(args) => export(args),
        Command::Import(args) => import(args),
        Command::Prune(args) => prune(args),
        Command::Salvage(args) => salvage(args),
    }
}

impl Place {
    /// Opens the store, which must exist.
    fn open(&self) -> Result<Store, Failure> {
        let (file, genesis) = self.find()?;
        let Some((chain_id, found)) = Store::owner(&file)? else {
            return Err(Failure::new(format!(
                "there is no block store {}: give the --data-dir of the node",
                file.display()
            )));
        };
        let chain_id = genesis.map_or(chain_id, |(chain_id, _)| chain_id);
        let genesis = genesis.map_or(found, |(_, genesis)| genesis);
        Ok(Store::open(StoreConfig::for_memory(file, chain_id, genesis))?)
    }

    /// Returns the store's file, and the chain if one is given.
    fn find(&self) -> Result<(PathBuf, Option<(u64, B256)>), Failure> {
        if let Some((chain_id, genesis)) = self.chain()? {
            return Ok((self.file_of(chain_id), Some((chain_id, genesis))));
        }
        let folder = self.data_dir.display();
        let entries = std::fs::read_dir(&self.data_dir).map_err(|error| {
            Failure::new(format!(
                "can't read the data directory {folder}: {error}; give the --data-dir of the node, \
                 {}",
                readable(&error)
            ))
        })?;
        let mut chains: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|chain_id| self.file_of(*chain_id).exists())
            .collect();
        chains.sort_unstable();
        match chains[..] {
            [chain_id] => Ok((self.file_of(chain_id), None)),
            [] => Err(Failure::new(format!(
                "there is no block store in {folder}: give the --data-dir of the node"
            ))),
            _ => Err(Failure::new(format!(
                "{folder} has the blocks of several chains: choose one with --network ({})",
                chains.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// Returns the store's file and its chain. If the file does not tell the chain, the directory's
    /// name does.
    fn find_damaged(&self) -> Result<(PathBuf, u64, B256), Failure> {
        let (file, given) = self.find()?;
        if let Some((chain_id, genesis)) = given {
            return Ok((file, chain_id, genesis));
        }
        if let Ok(Some((chain_id, genesis))) = Store::owner(&file) {
            return Ok((file, chain_id, genesis));
        }
        // The directory is named by the chain id.
        let name = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let network = name.and_then(|id| networks::find(id).ok());
        let Some(chain) = network.map(Network::config) else {
            return Err(Failure::new(format!(
                "can't read the chain of {}, and its directory names no built-in chain: give \
                 --rollup.config",
                file.display()
            )));
        };
        Ok((file, chain.chain_id, chain.genesis.hash))
    }

    fn file_of(&self, chain_id: u64) -> PathBuf {
        self.data_dir.join(chain_id.to_string()).join(FILE)
    }

    /// Returns the id and the genesis block of the given chain.
    fn chain(&self) -> Result<Option<(u64, B256)>, Failure> {
        let chain = ChainArgs::named(self.network.clone(), self.rollup_config.clone());
        if !chain.is_given() {
            return Ok(None);
        }
        let chain = chain.load(None, &|text| remark(format_args!("warning: {text}")))?;
        Ok(Some((chain.chain_id, chain.genesis.hash)))
    }

    /// Opens the store for the blocks of a file, or creates it.
    fn open_for(&self, header: &Header) -> Result<Store, Failure> {
        let given = self.chain()?;
        let chain_id = given.map_or(header.chain_id, |(chain_id, _)| chain_id);
        let file = self.file_of(chain_id);
        let genesis = match (given, Store::owner(&file)?) {
            (Some((_, genesis)), _) | (None, Some((_, genesis))) => genesis,
            (None, None) => match networks::find(&chain_id.to_string()) {
                Ok(network) => network.config().genesis.hash,
                Err(_) => {
                    return Err(Failure::new(format!(
                        "the file has blocks of chain {chain_id}, which is not built in: give its \
                         --rollup.config"
                    )));
                }
            },
        };
        Ok(Store::open(StoreConfig::for_memory(file, chain_id, genesis))?)
    }
}

fn info(args: &Shown) -> Result<ExitCode, Failure> {
    let store = args.place.open()?;
    let (info, file_bytes) = (store.info()?, store.size_on_disk()?);
    let end = |id: Option<BlockId>| id.map(|id| json!({ "number": id.number, "hash": id.hash }));
    if args.json {
        answer(json!({
            "path": store.path().display().to_string(),
            "blocks": info.blocks,
            "canonical": info.canonical,
            "pending": info.pending,
            "lowest": end(info.lowest),
            "highest": end(info.highest),
            "blockBytes": info.block_bytes,
            "fileBytes": file_bytes,
            "memory": info.memory,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let block = |id: Option<BlockId>| {
        id.map_or_else(|| "none".into(), |id| format!("{} {}", id.number, id.hash))
    };
    answer(format_args!(
        "file       {}\nblocks     {}, of which {} are canonical and {} wait for others\n\
         lowest     {}\nhighest    {}\nsize       {} of blocks in a file of {}",
        store.path().display(),
        info.blocks,
        info.canonical,
        info.pending,
        block(info.lowest),
        block(info.highest),
        size(info.block_bytes),
        size(file_bytes),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &Shown) -> Result<ExitCode, Failure> {
    let (start, store) = (Instant::now(), args.place.open()?);
    let found = store.verify()?;
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let defects = found.first_defects.iter().map(
            |defect| json!({ "number": defect.number, "hash": defect.hash, "what": defect.what }),
        );
        answer(json!({
            "blocks": found.blocks,
            "canonical": found.canonical,
            "holes": found.holes,
            "defects": found.defects,
            "firstDefects": defects.collect::<Vec<_>>(),
            "seconds": seconds,
        }))?;
    } else {
        for defect in &found.first_defects {
            answer(defect)?;
        }
        answer(format_args!(
            "{} blocks read in {seconds:.1} s, {} canonical, {} holes, {} damaged",
            found.blocks, found.canonical, found.holes, found.defects
        ))?;
    }
    Ok(ExitCode::from(if found.defects == 0 { 0 } else { NO }))
}

fn export(args: &Export) -> Result<ExitCode, Failure> {
    let is_stream = args.file == Path::new("-");
    if !is_stream && std::fs::symlink_metadata(&args.file).is_ok() {
        return Err(exists(&args.file));
    }
    let store = args.place.open()?;
    let done = if is_stream {
        let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        let done = store.export(args.from, args.to, &mut out)?;
        out.flush().map_err(|error| unwritable(&args.file, &error))?;
        done
    } else {
        let refused = |error: std::io::Error| unwritable(&args.file, &error);
        let (new, file) = NewFile::beside(&args.file, false).map_err(refused)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let done = store.export(args.from, args.to, &mut out)?;
        let file = out.into_inner().map_err(|error| refused(error.into_error()))?;
        file.sync_all().map_err(refused)?;
        new.publish().map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&args.file),
            _ => unwritable(&args.file, &error),
        })?;
        done
    };
    let BlockId { number, hash } = done.highest;
    let sentence = format!(
        "{} blocks in {}: from {number} ({hash}) down to {}",
        done.blocks,
        size(done.bytes),
        done.lowest
    );
    // On a stream, standard output has the blocks.
    if is_stream {
        remark(sentence);
    } else {
        answer(sentence)?;
    }
    if done.is_cut {
        remark(format_args!(
            "block {} is missing or damaged, so the blocks below it are not in the file",
            done.lowest.saturating_sub(1)
        ));
    }
    Ok(ExitCode::from(if done.is_cut { NO } else { 0 }))
}

fn exists(file: &Path) -> Failure {
    Failure::new(format!("{} exists and is never overwritten: name another file", file.display()))
}

fn unwritable(file: &Path, error: &dyn Display) -> Failure {
    Failure::new(format!(
        "can't write {}: {error}; name a file that this user may write",
        file.display()
    ))
}

fn import(args: &Import) -> Result<ExitCode, Failure> {
    let shown = match args.file == Path::new("-") {
        true => "standard input".into(),
        false => args.file.display().to_string(),
    };
    let unusable = |error: ImportError| match error {
        ImportError::Store(error) => error.into(),
        error => Failure::new(format!("{shown} can't be imported: {error}")),
    };
    let mut input: Box<dyn Read + Send> = match args.file == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(&args.file).map_err(|error| {
            Failure::new(format!("can't read {shown}: {error}; give a file {}", readable(&error)))
        })?),
    };
    let header = Header::read(&mut input).map_err(unusable)?;
    let start = Instant::now();
    let store = args.place.open_for(&header)?;
    let mut progress = Imported::default();
    let bytes: [u8; HEADER_SIZE] = header.encode();
    let result = store.import(&mut Cursor::new(bytes).chain(input), args.hash, &mut progress);
    if let Err(error) = result {
        let kept = match progress.lowest {
            Some(lowest) => format!(
                "; the blocks from {} down to {lowest} are right and stored",
                header.highest.number
            ),
            None => "; nothing was stored".into(),
        };
        let Failure(sentence) = unusable(error);
        return Err(Failure::new(format!("{sentence}{kept}")));
    }
    let seconds = start.elapsed().as_secs_f64();
    let lowest = progress.lowest.unwrap_or(header.highest.number);
    answer(format_args!(
        "{} blocks stored and {} known before, from {} ({}) down to {lowest}, in {seconds:.1} s",
        progress.new, progress.known, header.highest.number, header.highest.hash,
    ))?;
    if let Some(below) = lowest.checked_sub(1)
        && store.lowest()?.is_some_and(|stored| stored.number < below)
        && store.canonical_by_number(below)?.is_none()
    {
        remark(format_args!(
            "block {below} is missing: import the blocks between this file and those that the \
             store had as well"
        ));
    }
    if args.hash.is_none() && !progress.is_linked {
        remark(
            "nothing proves that the sequencer made the highest block: compare its hash with one \
             that you trust",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn prune(args: &Prune) -> Result<ExitCode, Failure> {
    let store = args.place.open()?;
    let (path, before) = (store.path().to_path_buf(), store.size_on_disk()?);
    let (chain_id, genesis_hash) = store.chain();
    drop(store);
    let store = Store::open(StoreConfig {
        path: path.clone(),
        chain_id,
        genesis_hash,
        max_blocks: args.blocks.unwrap_or(u64::MAX),
        max_bytes: args.gigabytes.0,
        max_age: Duration::from_secs(args.hours.saturating_mul(3600)),
    })?;
    let mut removed = 0;
    loop {
        let pruned = store.prune()?;
        removed += pruned.removed;
        if !pruned.more {
            break;
        }
    }
    let left = store.len()?;
    // Closing the store gives the room back.
    drop(store);
    let after = std::fs::metadata(&path).map_or(before, |file| file.len());
    answer(format_args!(
        "{removed} blocks removed and {left} kept; the file has {}, {} before",
        size(after),
        size(before)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn salvage(args: &Salvage) -> Result<ExitCode, Failure> {
    let (file, chain_id, genesis) = args.place.find_damaged()?;
    let beside = |ending: &str| {
        let mut name = file.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let new = beside(".salvaged");
    let failed = |what: &Path, error: std::io::Error| {
        Failure::new(format!(
            "can't write {}: {error}; make its directory writable for this user",
            what.display()
        ))
    };
    // An interrupted attempt may have left the file.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&new, error)),
        _ => {}
    }
    let store = Store::open(StoreConfig::for_memory(new.clone(), chain_id, genesis))?;
    let salvaged = store.salvage(&file);
    drop(store);
    let salvaged = match salvaged {
        Ok(salvaged) if salvaged.blocks > 0 => salvaged,
        outcome => {
            std::fs::remove_file(&new).map_err(|error| failed(&new, error))?;
            outcome?;
            return Err(Failure::new(format!(
                "no intact block is in {}: move it away, and start the node with an empty store",
                file.display()
            )));
        }
    };
    let kept = (0_u32..)
        .map(|number| match number {
            0 => beside(".damaged"),
            number => beside(&format!(".damaged-{number}")),
        })
        .find(|name| std::fs::symlink_metadata(name).is_err())
        .unwrap_or_else(|| beside(".damaged"));
    std::fs::rename(&file, &kept).map_err(|error| failed(&kept, error))?;
    std::fs::rename(&new, &file).map_err(|error| {
        Failure::new(format!(
            "can't move {} to {}: {error}; move it there; the damaged file is {}",
            new.display(),
            file.display(),
            kept.display()
        ))
    })?;
    answer(told(&salvaged))?;
    remark(format_args!(
        "the damaged file is {} now: remove it once the node works",
        kept.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Describes the result in one line.
fn told(salvaged: &Salvaged) -> String {
    let id = |id: Option<BlockId>| id.map_or_else(String::new, |id| id.number.to_string());
    let mut text = format!(
        "{} blocks salvaged, from {} to {}, with {} holes",
        salvaged.blocks,
        id(salvaged.lowest),
        id(salvaged.highest),
        salvaged.holes
    );
    if salvaged.left_out > 0 {
        text += &format!("; {} others are on other branches", salvaged.left_out);
    }
    if salvaged.damaged > 0 {
        text += &format!("; {} blocks are damaged", salvaged.damaged);
    }
    if salvaged.unreadable > 0 {
        text += &format!("; {} of the file can't be read", size(salvaged.unreadable));
    }
    text + match salvaged.memory {
        Some(_) => "; bans, scores, block lists and known peers are salvaged",
        None => "; bans, scores, block lists and known peers are lost",
    }
}
