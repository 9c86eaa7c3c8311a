//! Detects whether the inputs of a product have changed: a digest of their names and contents is
//! kept beside the product. File times are meaningless after a fresh checkout; reading a few
//! megabytes takes some tens of milliseconds.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A product's stamp: its file, and the digest of the current inputs.
#[derive(Debug)]
pub(crate) struct Stamp {
    file: PathBuf,
    digest: String,
}

impl Stamp {
    /// Makes a stamp of files and folders, and of a text. Folders count whole, without hidden
    /// files, `node_modules` and `dist`. A missing file counts as a content of its own. Fails if a
    /// file can't be read.
    pub(crate) fn of(file: PathBuf, paths: &[PathBuf], text: &str) -> Result<Self, String> {
        // It differs between releases of Rust: then the product is made once more, which does no
        // harm.
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        for path in paths {
            add(path, &mut hasher)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        }
        Ok(Self { file, digest: format!("{:016x}\n", hasher.finish()) })
    }

    /// Returns whether the product was made from the same inputs.
    pub(crate) fn holds(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|digest| digest == self.digest)
    }

    /// Marks the product as unfinished: until [`Self::set`], no stamp holds.
    pub(crate) fn clear(&self) -> Result<(), String> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(format!("{} cannot be removed: {error}", self.file.display()))
            }
            _ => Ok(()),
        }
    }

    /// Marks the product as made.
    pub(crate) fn set(&self) -> Result<(), String> {
        fs::write(&self.file, &self.digest)
            .map_err(|error| format!("{} cannot be written: {error}", self.file.display()))
    }
}

/// Adds a file's contents, or those of a folder in the order of their names.
fn add(path: &Path, hasher: &mut DefaultHasher) -> std::io::Result<()> {
    path.file_name().hash(hasher);
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().as_encoded_bytes();
            if name != b"node_modules" && name != b"dist" && !name.starts_with(b".") {
                add(&entry, hasher)?;
            }
        }
        // Ends the folder, so that its contents and what follows it are distinct.
        0_u8.hash(hasher);
    } else if path.exists() {
        fs::read(path)?.hash(hasher);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_until_something_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source");
        let stamp = |text| {
            Stamp::of(folder.path().join("stamp"), std::slice::from_ref(&source), text)
                .expect("readable")
        };
        fs::create_dir_all(source.join("inner")).expect("made");
        fs::write(source.join("inner/one"), "1").expect("written");
        assert!(!stamp("").holds());
        stamp("").set().expect("written");
        assert!(stamp("").holds());
        assert!(!stamp("other").holds());

        fs::write(source.join("inner/one"), "2").expect("written");
        assert!(!stamp("").holds());
        fs::rename(source.join("inner/one"), source.join("inner/two")).expect("renamed");
        assert!(!stamp("").holds());
        fs::write(source.join("inner/one"), "1").expect("written");
        fs::remove_file(source.join("inner/two")).expect("removed");
        assert!(stamp("").holds());

        for other in ["node_modules", "dist", ".hidden"] {
            fs::write(source.join("inner").join(other), "").expect("written");
        }
        assert!(stamp("").holds());

        stamp("").clear().expect("removed");
        assert!(!stamp("").holds());
        stamp("").clear().expect("nothing to remove is fine");
    }
}
