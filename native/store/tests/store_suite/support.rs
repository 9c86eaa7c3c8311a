//! Blocks whose every byte follows from number and branch, and helpers that run this program again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use alloy_primitives::{B256, keccak256};
use opp2p_store::{Batch, Store, StoreConfig, StoredBlock};

/// The chain of most tests.
pub(crate) const CHAIN: u64 = 901;

/// Timestamp of block 0.
pub(crate) const START: u64 = 1_700_000_000;

/// Variable that tells a copy of this program its role.
pub(crate) const ROLE: &str = "OPP2P_STORE_TEST_ROLE";

/// Variable that tells a copy of this program its store.
pub(crate) const STORE: &str = "OPP2P_STORE_TEST_PATH";

pub(crate) fn genesis() -> B256 {
    B256::repeat_byte(0x11)
}

pub(crate) fn config(path: &Path) -> StoreConfig {
    StoreConfig {
        path: path.to_path_buf(),
        chain_id: CHAIN,
        genesis_hash: genesis(),
        max_blocks: 1_000_000,
        max_bytes: u64::MAX,
        max_age: Duration::from_secs(1_000_000_000),
    }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(config(path)).expect("opens")
}

/// Returns block `number` of `branch` with parent block `number - 1` of `parent_branch`. It has
/// `size` incompressible bytes.
pub(crate) fn forked(number: u64, branch: u8, parent_branch: u8, size: usize) -> StoredBlock {
    let mut message = Vec::with_capacity(size + 32);
    let mut piece = hash(number, branch);
    while message.len() < size {
        message.extend_from_slice(piece.as_slice());
        piece = keccak256(piece);
    }
    message.truncate(size);
    StoredBlock {
        number,
        hash: hash(number, branch),
        parent_hash: if number == 0 { B256::ZERO } else { hash(number - 1, parent_branch) },
        timestamp: START + 2 * number,
        received_unix_ms: (START + 2 * number) * 1000 + u64::from(branch),
        version: 1 + u8::try_from(number % 4).expect("below 4"),
        message,
    }
}

/// Returns block `number` of `branch` on a parent of the same branch.
pub(crate) fn block(number: u64, branch: u8) -> StoredBlock {
    forked(number, branch, branch, 300)
}

pub(crate) fn hash(number: u64, branch: u8) -> B256 {
    let mut seed = [branch; 9];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    keccak256(seed)
}

/// Returns a batch that stores the blocks and makes them canonical.
pub(crate) fn extend(blocks: impl IntoIterator<Item = StoredBlock>) -> Batch {
    let blocks: Vec<_> = blocks.into_iter().collect();
    let canonical = blocks.iter().map(|block| (block.number, block.hash)).collect();
    Batch { blocks, canonical, ..Batch::default() }
}

/// Returns a command that runs only the test `name` of this program in the given role.
pub(crate) fn again(program: &Path, name: &str, role: &str, store: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(STORE, store);
    command
}

/// Returns the role of this process, if it is a copy.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Returns the store that this copy was told to use.
pub(crate) fn store_of_role() -> std::path::PathBuf {
    std::env::var_os(STORE).expect("a copy is told its store").into()
}

/// Writes one line to the parent, past the test harness, and at once.
pub(crate) fn print_to_parent(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // The harness may have left its own line unfinished.
    out.write_all(format!("\n{line}\n").as_bytes()).expect("the parent listens");
    out.flush().expect("the parent listens");
}
