//! Atomic creation of files, which never shows a half-written file under its final name.
//!
//! A file is written under a random name in the same directory, made durable, and only then linked
//! to its name. A crash at any moment leaves either no file or a complete one under the name, and
//! at worst a stray `NAME.new-…` beside it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is being written beside its final place. If it is dropped without
/// [`publish`](Self::publish) or [`replace`](Self::replace), it is removed.
#[derive(Debug)]
pub struct NewFile {
    temporary: PathBuf,
    target: PathBuf,
}

impl NewFile {
    /// Creates the file that is to become `target`, readable and writable. With `private`, only its
    /// owner may access it (on Unix: mode 0600 from its creation).
    ///
    /// # Errors
    ///
    /// If the directory is missing, or the system refuses the file or random bytes for its name.
    pub fn beside(target: &Path, private: bool) -> io::Result<(Self, File)> {
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(io::Error::other)?;
        let mut name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
        name.push(format!(".new-{:016x}", u64::from_be_bytes(suffix)));
        let temporary = target.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        if private {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        #[cfg(not(unix))]
        let _ = private;
        let file = options.open(&temporary)?;
        Ok((Self { temporary, target: target.to_path_buf() }, file))
    }

    /// Gives the file its name; the caller must have made its content durable.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if another file has the name by then, which is left unchanged; any other
    /// error of the system.
    pub fn publish(self) -> io::Result<()> {
        match fs::hard_link(&self.temporary, &self.target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Some file systems have no hard links. A rename would replace a file that appeared
            // since the check, which only matters if two processes start at the same instant.
            Err(_) => {
                if fs::symlink_metadata(&self.target).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(&self.temporary, &self.target)?;
            }
        }
        sync_directory(&self.target)
    }
}

impl NewFile {
    /// Gives the file its name, replacing any existing file in one step.
    ///
    /// # Errors
    ///
    /// If the system refuses to rename the file or to make its new name durable.
    pub fn replace(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        sync_directory(&self.target)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove; a stray file is harmless.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Returns the directory that holds `path`: `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the directory entry durable. Only Unix lets a program do this.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_gets_its_name_only_when_published() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = directory.path().join("name");
        let (new, mut file) = NewFile::beside(&target, false).expect("starts");
        file.write_all(b"whole").expect("writes");
        assert!(!target.exists());
        new.publish().expect("publishes");
        assert_eq!(fs::read(&target).expect("reads"), b"whole");
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    }

    #[test]
    fn a_file_that_is_not_published_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(NewFile::beside(&directory.path().join("name"), false).expect("starts"));
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 0);
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = directory.path().join("name");
        let (new, _file) = NewFile::beside(&target, false).expect("starts");
        fs::write(&target, b"first").expect("writes");
        assert_eq!(new.publish().expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).expect("reads"), b"first");
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    }

    #[test]
    fn a_file_can_replace_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = directory.path().join("name");
        fs::write(&target, b"first").expect("writes");
        let (new, mut file) = NewFile::beside(&target, false).expect("starts");
        file.write_all(b"second").expect("writes");
        new.replace().expect("replaces");
        assert_eq!(fs::read(&target).expect("reads"), b"second");
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    }

    #[test]
    fn a_bare_name_is_in_the_current_directory() {
        assert_eq!(directory_of(Path::new("a")), Path::new("."));
        assert_eq!(directory_of(Path::new("a/b")), Path::new("a"));
        assert_eq!(directory_of(Path::new("/b")), Path::new("/"));
    }
}
