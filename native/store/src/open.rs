//! Opening of the store's file, with every check that is possible before a byte of it is changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database};

use super::error::{StoreError, is_forbidden, is_full};
use super::fault::{Fault, contained};
use super::held::HeldFile;
use super::new_file::{NewFile, directory_of};
use super::schema::{self, Owner, SCHEMA};
use super::{StoreConfig, read};

/// First bytes of every redb database.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Size of redb's page cache, in bytes. Blocks are read rarely, and then once, so a larger cache
/// would gain little.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Opens the store, or creates an empty one if nothing exists at the path.
pub(super) fn open_or_create(config: &StoreConfig) -> Result<Database, StoreError> {
    if let Some(file) = open_file(&config.path)? {
        return open(config, file, Pages::Check);
    }
    match create(config) {
        // Another process created it first.
        Err(Creation::NameTaken) => {}
        Err(Creation::Failed(error)) => return Err(error),
        Ok(database) => return Ok(database),
    }
    open_existing(config, Pages::Check)
}

/// Opens a store that was open before: its file must still exist.
fn open_existing(config: &StoreConfig, pages: Pages) -> Result<Database, StoreError> {
    match open_file(&config.path)? {
        Some(file) => open(config, file, pages),
        None => Err(StoreError::Io {
            path: config.path.clone(),
            doing: "opening",
            source: Arc::new(io::ErrorKind::NotFound.into()),
        }),
    }
}

/// Opens a store again after it failed.
///
/// A commit that met a full disk may have filled the remaining space with unused pages. Closing a
/// sound database truncates its file, so the store is opened twice, the first time only to be
/// closed. The pages are checked only once, since that takes time in proportion to the file's size.
pub(super) fn open_again(config: &StoreConfig) -> Result<Database, StoreError> {
    let sound = open_existing(config, Pages::Check)?;
    // Truncating needs a commit, which may find no room either; the file is then no worse than
    // before.
    let closed = contained(|| Ok(sound.close()?));
    open_existing(config, if closed.is_ok() { Pages::Checked } else { Pages::Check })
}

/// Whether the pages of a file have just been checked by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    Check,
    Checked,
}

/// Opens the file at the path for reading and writing, if it is a regular file that begins like a
/// database. Returns `None` if nothing exists there.
fn open_file(path: &Path) -> Result<Option<File>, StoreError> {
    let not_a_file = |found| StoreError::NotAFile { path: path.to_path_buf(), found };
    let not_a_store = |found| StoreError::NotAStore { path: path.to_path_buf(), found };
    let failed = |source: io::Error| {
        let source = Arc::new(source);
        StoreError::Io { path: path.to_path_buf(), doing: "opening", source }
    };

    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(not_a_file("a directory")),
        Ok(found) if !found.is_file() => return Err(not_a_file("a device or a pipe")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(found) if found.is_symlink() => Err(not_a_file("a link to nothing")),
                // Another process has created it between the two checks.
                Ok(_) => open_file(path),
                Err(_) => Ok(None),
            };
        }
        Err(source) => return Err(directory_error(path, source)),
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(|source| {
        if is_forbidden(&source) {
            StoreError::NotWritable { path: path.to_path_buf(), source: Arc::new(source) }
        } else {
            failed(source)
        }
    })?;
    let mut start = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    match start.as_slice() {
        [] => Err(not_a_store("it is empty")),
        start if start == MAGIC => Ok(Some(file)),
        _ => Err(not_a_store("it begins like the file of another program")),
    }
}

/// Opens a file that begins like a database. No byte of it changes until it is verified to be the
/// store of this chain, with all its pages intact and a head that can be read.
fn open(config: &StoreConfig, file: File, pages: Pages) -> Result<Database, StoreError> {
    let path = || config.path.clone();
    let opened = contained(|| {
        let (backend, gate) = HeldFile::new(FileBackend::new(file)?);
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(pages == Pages::Check)
            .create_with_backend(backend)?;
        let owner = schema::owner(&database)?;
        let same = matches!(&owner, Owner::Chain { chain_id, genesis_hash }
            if *chain_id == config.chain_id && *genesis_hash == config.genesis_hash);
        if !same {
            // The database is closed here as well, so that its last writes reach only the held
            // file.
            return Ok(Err(owner));
        }
        read::head(&database)?;
        gate.release()?;
        Ok(Ok(database))
    });
    match opened.map_err(|fault| match fault {
        // This program has never written the formats that redb asks to upgrade.
        Fault::Database(redb::Error::UpgradeRequired(_)) => StoreError::NotAStore {
            path: path(),
            found: "it is an old database of another program",
        },
        fault => fault.at(&config.path, "opening"),
    })? {
        Ok(database) => Ok(database),
        Err(Owner::Foreign) => Err(StoreError::NotAStore {
            path: path(),
            found: "it is the database of another program",
        }),
        Err(Owner::OtherSchema(found)) => {
            Err(StoreError::UnknownSchema { path: path(), found, known: SCHEMA })
        }
        Err(Owner::Chain { chain_id, .. }) if chain_id != config.chain_id => {
            Err(StoreError::OtherChain { path: path(), found: chain_id, expected: config.chain_id })
        }
        Err(Owner::Chain { genesis_hash, .. }) => Err(StoreError::OtherGenesis {
            path: path(),
            found: genesis_hash,
            expected: config.genesis_hash,
        }),
    }
}

/// Returns the chain of the store in this file, if a file exists. It is not changed.
pub(super) fn owner(path: &Path) -> Result<Option<(u64, alloy_primitives::B256)>, StoreError> {
    let Some(database) = unchecked(path)? else { return Ok(None) };
    let path = || path.to_path_buf();
    match contained(|| schema::owner(&database)) {
        Ok(Owner::Chain { chain_id, genesis_hash }) => Ok(Some((chain_id, genesis_hash))),
        Ok(Owner::OtherSchema(found)) => {
            Err(StoreError::UnknownSchema { path: path(), found, known: SCHEMA })
        }
        Ok(Owner::Foreign) => {
            let found = "it is the database of another program";
            Err(StoreError::NotAStore { path: path(), found })
        }
        Err(fault) => Err(fault.at(&path(), "opening")),
    }
}

/// Opens the database in this file for reading, if a file exists. Its pages are not checked. The
/// file is not changed.
pub(super) fn unchecked(path: &Path) -> Result<Option<Database>, StoreError> {
    let Some(file) = open_file(path)? else { return Ok(None) };
    let opened = contained(|| {
        // The gate is never opened, so the writes of the database are dropped.
        let (backend, _gate) = HeldFile::new(FileBackend::new(file)?);
        Ok(Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(false)
            .create_with_backend(backend)?)
    });
    match opened {
        Ok(database) => Ok(Some(database)),
        Err(Fault::Database(redb::Error::UpgradeRequired(_))) => Err(StoreError::NotAStore {
            path: path.to_path_buf(),
            found: "it is the database of another program",
        }),
        Err(fault) => Err(fault.at(path, "opening")),
    }
}

enum Creation {
    NameTaken,
    Failed(StoreError),
}

/// Creates an empty store under a random name and renames it when it is complete and durable, so
/// that a crash can't leave a file that the next start would mistake for a foreign one.
fn create(config: &StoreConfig) -> Result<Database, Creation> {
    let path = &config.path;
    let in_directory = |source| Creation::Failed(directory_error(path, source));
    fs::create_dir_all(directory_of(path)).map_err(in_directory)?;
    let (new, file) = NewFile::beside(path, false).map_err(in_directory)?;
    let database = contained(|| {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(FileBackend::new(file)?)?;
        let transaction = database.begin_write()?;
        schema::create(&transaction, config.chain_id, &config.genesis_hash)?;
        transaction.commit()?;
        Ok(database)
    })
    .map_err(|fault| Creation::Failed(fault.at(path, "writing")))?;
    match new.publish() {
        Ok(()) => Ok(database),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Creation::NameTaken),
        Err(error) => Err(in_directory(error)),
    }
}

fn directory_error(path: &Path, source: io::Error) -> StoreError {
    if is_full(&source) {
        return StoreError::DiskFull { path: path.to_path_buf(), source: Arc::new(source) };
    }
    StoreError::Directory { path: directory_of(path).to_path_buf(), source: Arc::new(source) }
}
