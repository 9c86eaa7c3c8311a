//! The table in its file: one record a line, our own first. A file that does not read is put aside.

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
    /// What is in the file; nothing if there is none. One that is damaged is put aside, with a word in the log.
    pub(super) fn read(path: &Path) -> Self {
        match read(path) {
            Ok(table) => table,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let aside = path.with_extension("damaged");
                let file = path.display();
                match std::fs::rename(path, &aside) {
                    Ok(()) => {
                        let aside = aside.display();
                        tracing::warn!(%file, %error, %aside, "discovery's table can't be read, is put aside, and begins anew");
                    }
                    Err(_) => {
                        tracing::warn!(%file, %error, "discovery's table can't be read, and begins anew");
                    }
                }
                Self::default()
            }
        }
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

fn read(path: &Path) -> io::Result<Table> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(damaged("it is too long"));
    }
    let lines = text.strip_prefix(HEADING).ok_or_else(|| damaged("it is no table of this program"))?;
    let mut records =
        lines.lines().map(|line| line.parse::<Enr>().map_err(|_| damaged("a record does not read")));
    let local = records.next().transpose()?;
    Ok(Table { local, nodes: records.collect::<io::Result<_>>()? })
}
