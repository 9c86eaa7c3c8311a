//! The page's files: those embedded in the binary, or those of a folder.

use super::error::PageError;
use hyper::body::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The files that `build.rs` found in `web/dist/page`, by name.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Maximum size of a folder's files in all, in bytes.
const MAX_PAGE_BYTES: u64 = 64 << 20;
/// Maximum number of a folder's files, and maximum depth of its subfolders.
const MAX_PAGE_FILES: usize = 4096;
const DEEPEST: usize = 16;

/// The files of a page by their names in a URL, such as `vendor/uPlot.min.css`.
///
/// A file `app.js.br` or `app.js.gz` is not a separate file: it is `app.js`, compressed.
#[derive(Clone, Debug)]
pub struct PageFiles(pub(super) BTreeMap<String, Bytes>);

impl PageFiles {
    /// Returns `true` if the binary contains the page.
    pub fn are_embedded() -> bool {
        !EMBEDDED.is_empty()
    }

    /// Returns the files in the binary.
    ///
    /// # Errors
    /// [`PageError::NotEmbedded`] if it was built without them.
    pub fn embedded() -> Result<Self, PageError> {
        if !Self::are_embedded() {
            return Err(PageError::NotEmbedded);
        }
        let files =
            EMBEDDED.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::from_static(bytes)));
        Ok(Self(files.collect()))
    }

    /// Reads the files of a folder, 64 MiB and 4096 files at most. Files whose names begin with a
    /// dot are left out.
    ///
    /// # Errors
    /// If the folder can't be read, has no `index.html`, holds far more than a page, or has a link
    /// that leads out of it.
    pub fn folder(path: &Path) -> Result<Self, PageError> {
        let refused = |source| PageError::Read { path: path.to_path_buf(), source };
        let root = path.canonicalize().map_err(refused)?;
        let mut reader = Reader { root: &root, files: BTreeMap::new(), bytes: 0 };
        reader.read(&root, "", 0)?;
        let files = reader.files;
        if !files.contains_key("index.html") {
            return Err(PageError::NoIndex(path.to_path_buf()));
        }
        Ok(Self(files))
    }
}

struct Reader<'a> {
    root: &'a Path,
    files: BTreeMap<String, Bytes>,
    bytes: u64,
}

impl Reader<'_> {
    fn read(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), PageError> {
        let refused = |path: &Path| {
            let path = path.to_path_buf();
            move |source: io::Error| PageError::Read { path, source }
        };
        let too_much = || PageError::TooMuch(self.root.to_path_buf());
        if depth > DEEPEST {
            return Err(too_much());
        }
        for entry in fs::read_dir(folder).map_err(refused(folder))? {
            let path = entry.map_err(refused(folder))?.path();
            // A name that is not valid UTF-8 can't occur in a URL either.
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with('.') {
                continue;
            }
            let name = format!("{prefix}{name}");
            let real: PathBuf = path.canonicalize().map_err(refused(&path))?;
            if !real.starts_with(self.root) {
                return Err(PageError::LeadsOut(path));
            }
            if real.is_dir() {
                self.read(&real, &format!("{name}/"), depth + 1)?;
            } else if real.is_file() {
                let mut bytes = Vec::new();
                let room = MAX_PAGE_BYTES.saturating_sub(self.bytes);
                let file = fs::File::open(&real).map_err(refused(&path))?;
                file.take(room.saturating_add(1))
                    .read_to_end(&mut bytes)
                    .map_err(refused(&path))?;
                if bytes.len() as u64 > room || self.files.len() == MAX_PAGE_FILES {
                    return Err(PageError::TooMuch(self.root.to_path_buf()));
                }
                self.bytes += bytes.len() as u64;
                self.files.insert(name, bytes.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn subfolders_are_read_and_hidden_files_are_not() {
        let folder = folder(&[
            ("index.html", "a"),
            ("vendor/x.js", "b"),
            (".git/config", "c"),
            ("vendor/.x", "d"),
        ]);
        let files = PageFiles::folder(folder.path()).unwrap().0;
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["index.html", "vendor/x.js"]);
        assert_eq!(files["vendor/x.js"], "b");
    }

    #[test]
    fn invalid_page_folders_are_refused_with_a_reason() {
        let error = |path: &Path| PageFiles::folder(path).unwrap_err().to_string();
        let empty = folder(&[("page.html", "")]);
        assert!(error(empty.path()).contains("has no index.html"));
        let file = empty.path().join("page.html");
        for path in [&file, &empty.path().join("nowhere")] {
            let error = error(path);
            assert!(
                error.contains("can't read") && error.contains("give another folder"),
                "{error}"
            );
        }
        let large = folder(&[("index.html", "a")]);
        fs::File::create(large.path().join("film.mp4")).unwrap().set_len(MAX_PAGE_BYTES).unwrap();
        assert!(error(large.path()).contains("more than 64 MiB"));
    }

    #[cfg(unix)]
    #[test]
    fn links_may_point_within_the_folder_but_not_outside() {
        use std::os::unix::fs::symlink;
        let outside = folder(&[("secret", "x")]);
        let within = folder(&[("index.html", "a"), ("vendor/x.js", "b")]);
        symlink("vendor/x.js", within.path().join("y.js")).unwrap();
        assert_eq!(PageFiles::folder(within.path()).unwrap().0["y.js"], "b");
        for target in [outside.path().join("secret"), outside.path().to_path_buf()] {
            let link = within.path().join("link");
            symlink(&target, &link).unwrap();
            let error = PageFiles::folder(within.path()).unwrap_err();
            assert!(matches!(error, PageError::LeadsOut(_)), "{error}");
            fs::remove_file(link).unwrap();
        }
        // A link to its own folder ends at the depth limit.
        symlink(".", within.path().join("round")).unwrap();
        let error = PageFiles::folder(within.path()).unwrap_err();
        assert!(matches!(error, PageError::TooMuch(_)), "{error}");
    }
}
