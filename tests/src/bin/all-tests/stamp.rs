//! Whether what a step makes is still made of the same things: a digest of their names and contents, kept beside the
//! product. Times of files say nothing after a fresh checkout; reading a few megabytes takes some tens of milliseconds.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A product's stamp: where it is kept, and what it has to say.
#[derive(Debug)]
pub(crate) struct Stamp {
    file: PathBuf,
    digest: String,
}

impl Stamp {
    /// Of files and folders (whole, hidden files, `node_modules` and `dist` left out; what does not exist is a content
    /// too) and of a text. An error is one that cannot be read.
    pub(crate) fn of(file: PathBuf, paths: &[PathBuf], text: &str) -> Result<Self, String> {
        // Not the same in every release of Rust: then the product is made once more, which does no harm.
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        for path in paths {
            add(path, &mut hasher).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        }
        Ok(Self { file, digest: format!("{:016x}\n", hasher.finish()) })
    }

    /// Whether the product was made of the same.
    pub(crate) fn holds(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|digest| digest == self.digest)
    }

    /// The product is being made: until [`Self::set`], it is not what any stamp says.
    pub(crate) fn clear(&self) -> Result<(), String> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(format!("{} cannot be removed: {error}", self.file.display()))
            }
            _ => Ok(()),
        }
    }

    /// The product is made.
    pub(crate) fn set(&self) -> Result<(), String> {
        fs::write(&self.file, &self.digest)
            .map_err(|error| format!("{} cannot be written: {error}", self.file.display()))
    }
}

/// A file's contents, or those of a folder in the order of their names.
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
        // Ends the folder, so that what is in it and what follows it are told apart.
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
            Stamp::of(folder.path().join("stamp"), std::slice::from_ref(&source), text).expect("readable")
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
