//! The table in its file: one record a line, our own first. One that is damaged is put aside.

use super::DiscoveryError;
use crate::store::new_file::NewFile;
use discv5::Enr;
use std::io::{self, Read, Write};
use std::path::Path;

/// Records that are read from a file, and written.
pub(super) const MAX_NODES: usize = 1024;
/// Bytes that are read of it. A record has 300 bytes at most, and a third more as text.
const MAX_BYTES: u64 = 512 * (MAX_NODES as u64 + 2);
/// What the first line begins with.
const HEADING: &str = "# opp2p discovery: our own record, then those of the table\n";

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) local: Option<Enr>,
    pub(super) nodes: Vec<Enr>,
}

impl Table {
    /// What is in the file; nothing if there is none. A table of ours that is damaged is put aside, with a word in the log.
    ///
    /// # Errors
    /// If there is anything else, or it can't be read: it is somebody's, and stays as it is.
    pub(super) fn read(path: &Path) -> Result<Self, DiscoveryError> {
        let foreign = |why: String| DiscoveryError::Table { file: path.to_owned(), why };
        let mut bytes = Vec::new();
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(about) if !about.is_file() => return Err(foreign("is no file".into())),
            _ => {}
        }
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|error| foreign(format!("can't be read ({error})")))?;
        // Nothing in it is nothing lost.
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let Some(lines) = bytes.strip_prefix(HEADING.as_bytes()) else {
            return Err(foreign("holds something else".into()));
        };
        if let Some(table) = parse(lines).filter(|_| bytes.len() as u64 <= MAX_BYTES) {
            return Ok(table);
        }
        let aside = path.with_extension("damaged");
        std::fs::rename(path, &aside)
            .map_err(|error| foreign(format!("is damaged and can't be put aside ({error})")))?;
        let (file, aside) = (path.display(), aside.display());
        tracing::warn!(%file, %aside, "discovery's table is damaged, is put aside, and begins anew");
        Ok(Self::default())
    }

    /// Writes it whole, or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = String::from(HEADING);
        for enr in self.local.iter().chain(self.nodes.iter().take(MAX_NODES)) {
            text.push_str(&enr.to_base64());
            text.push('\n');
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (new, mut file) = NewFile::beside(path, false)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        new.replace()
    }
}

fn parse(lines: &[u8]) -> Option<Table> {
    let lines = std::str::from_utf8(lines).ok()?;
    let mut records = lines.lines().map(|line| line.parse::<Enr>().ok());
    let local = match records.next() {
        None => None,
        Some(record) => Some(record?),
    };
    Some(Table { local, nodes: records.collect::<Option<_>>()? })
}
