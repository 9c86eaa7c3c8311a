//! The file of the discovery table: one record per line, our own first. A damaged file is moved
//! aside.

use super::DiscoveryError;
use discv5::Enr;
use opp2p_store::new_file::NewFile;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Maximum number of the table's records in the file.
pub(super) const MAX_NODES: usize = 1024;
/// Maximum number of bytes read from the file. A record has at most 300 bytes, and is a third
/// longer as text.
const MAX_BYTES: u64 = 512 * (MAX_NODES as u64 + 2);
/// Maximum number of damaged tables kept beside the file.
const MAX_DAMAGED: u32 = 9;
/// First line of the file.
const HEADING: &str = "# opp2p discovery: our own record, then those of the table\n";

/// Content of the file.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) local: Option<Enr>,
    pub(super) nodes: Vec<Enr>,
}

impl Table {
    /// Reads the table from the file; empty if the file is missing or empty. A damaged table of
    /// ours is moved aside, with a log line.
    ///
    /// # Errors
    /// If the path is not a regular file, holds something else, or can't be read; it is left
    /// unchanged.
    pub(super) fn read(path: &Path) -> Result<Self, DiscoveryError> {
        let foreign = |why: String| DiscoveryError::Table { file: path.to_owned(), why };
        let mut bytes = Vec::new();
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(about) if !about.is_file() => return Err(foreign("is not a file".into())),
            _ => {}
        }
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|error| foreign(format!("can't be read ({error})")))?;
        // An empty file contains no records that could be lost.
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let Some(lines) = bytes.strip_prefix(HEADING.as_bytes()) else {
            return Err(foreign("holds something else".into()));
        };
        if let Some(table) = parse(lines).filter(|_| bytes.len() as u64 <= MAX_BYTES) {
            return Ok(table);
        }
        let Some(aside) = aside(path) else {
            return Err(foreign("is damaged, like all of its earlier copies: remove those".into()));
        };
        std::fs::rename(path, &aside)
            .map_err(|error| foreign(format!("is damaged and can't be put aside ({error})")))?;
        let (file, aside) = (path.display(), aside.display());
        tracing::warn!(
            %file, %aside,
            "discovery's table is damaged and was put aside; a new one begins"
        );
        Ok(Self::default())
    }

    /// Writes the table, whole or not at all.
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

/// Returns a free name beside the table for a damaged one; `None` if [`MAX_DAMAGED`] exist.
fn aside(path: &Path) -> Option<PathBuf> {
    let names = (1..=MAX_DAMAGED).map(|number| match number {
        1 => ".damaged".to_owned(),
        number => format!(".damaged.{number}"),
    });
    let mut paths = names.map(|name| {
        let mut whole = path.as_os_str().to_owned();
        whole.push(name);
        PathBuf::from(whole)
    });
    paths.find(|path| std::fs::symlink_metadata(path).is_err())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_table_is_kept_without_replacing_other_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let damaged = |round: u32| format!("{HEADING}no record {round}\n");
        let other = directory.path().join("a.damaged");
        std::fs::write(&other, "of another program").expect("writes");
        for (name, rounds) in [("a.x", MAX_DAMAGED), ("a.y", 1)] {
            let path = directory.path().join(name);
            for round in 1..=rounds {
                std::fs::write(&path, damaged(round)).expect("writes");
                assert!(Table::read(&path).expect("it is put aside").nodes.is_empty());
                assert!(!path.exists());
            }
        }
        let kept = |name: &str| std::fs::read_to_string(directory.path().join(name)).ok();
        assert_eq!(kept("a.damaged").as_deref(), Some("of another program"));
        assert_eq!(kept("a.x.damaged"), Some(damaged(1)));
        assert_eq!(kept("a.x.damaged.9"), Some(damaged(9)));
        assert_eq!(kept("a.y.damaged"), Some(damaged(1)));
        let path = directory.path().join("a.x");
        std::fs::write(&path, damaged(10)).expect("writes");
        let error = Table::read(&path).expect_err("there is no free name").to_string();
        assert!(error.contains("remove"), "{error}");
        assert_eq!(kept("a.x"), Some(damaged(10)), "it stays");
    }
}
