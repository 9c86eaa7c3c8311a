//! ACME accounts and certificates on disk.
//!
//! Each authority has a folder: `account.json` contains the account's key, and a PEM file per name
//! contains the certificate's key and chain. Only the owner has access. Files are replaced
//! atomically, so a key always matches its certificate.
//!
//! # Bounds
//! A file has at most [`MAX_FILE`] bytes. A larger one is not read.

use super::plan::Validity;
use crate::host::certificate::provider;
use opp2p_store::new_file::NewFile;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Maximum size of a file, in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// The files for one authority and one name.
#[derive(Clone, Debug)]
pub(in super::super) struct Kept {
    folder: PathBuf,
    name: String,
}

/// A key and a chain as PEM, zeroed on drop.
pub(super) type Pem = Zeroizing<String>;

/// A certificate with its key, and its validity.
#[derive(Debug)]
pub(in super::super) struct Stored {
    pub(in super::super) certificate: CertifiedKey,
    pub(in super::super) validity: Validity,
}

impl Kept {
    /// Returns the files for `name`, as in the certificate, and for the authority with this
    /// directory URL.
    pub(in super::super) fn new(folder: &Path, directory: &str, name: &str) -> Self {
        let address = directory.split_once("://").map_or(directory, |(_, address)| address);
        Self { folder: folder.join(as_file_name(address)), name: name.to_owned() }
    }

    fn certificate_file(&self) -> PathBuf {
        // Shells expand the `*` of a wildcard name.
        let name = self.name.strip_prefix("*.").unwrap_or(&self.name);
        self.folder.join(format!("{}.pem", as_file_name(name)))
    }

    fn account_file(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    /// Reads the certificate, expired or not. Returns `None` if it is missing, damaged or for
    /// another name. The next certificate replaces it.
    pub(in super::super) fn certificate(&self) -> Option<Stored> {
        let file = self.certificate_file();
        let pem = read(&file)?;
        match parse(&pem, &self.name) {
            Ok(stored) => Some(stored),
            Err(why) => {
                let file = file.display();
                tracing::warn!("{file} has no certificate for {}: {why}", self.name);
                None
            }
        }
    }

    /// Checks a new certificate and its key, both as PEM. Returns them with the content of their
    /// file.
    ///
    /// # Errors
    /// A clause that describes the defect.
    pub(super) fn check(&self, key: &str, chain: &str) -> Result<(Stored, Pem), String> {
        let pem = Zeroizing::new(format!("{}\n{}\n", key.trim_end(), chain.trim_end()));
        Ok((parse(pem.as_bytes(), &self.name)?, pem))
    }

    /// Writes the certificate.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(super) fn keep_certificate(&self, pem: &Pem) -> Result<(), NotWritten> {
        self.write(&self.certificate_file(), pem.as_bytes())
    }

    /// Reads the account, in the ACME library's JSON format.
    pub(super) fn account(&self) -> Option<Zeroizing<Vec<u8>>> {
        read(&self.account_file())
    }

    /// Writes the account.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(super) fn keep_account(&self, account: &[u8]) -> Result<(), NotWritten> {
        self.write(&self.account_file(), account)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> Result<(), NotWritten> {
        let write = || {
            private_folder(&self.folder)?;
            let (new, mut handle) = NewFile::beside(file, true)?;
            handle.write_all(bytes)?;
            handle.sync_all()?;
            new.replace()
        };
        write().map_err(|source| NotWritten { path: file.to_owned(), source })
    }
}

/// Failure to write a file.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be written: {source}", path.display())]
pub(in super::super) struct NotWritten {
    path: PathBuf,
    source: io::Error,
}

/// Replaces each character except ASCII letters, digits, `.` and `-` by `_`.
fn as_file_name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let name: String = text.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    // The names `.` and `..` would leave the folder.
    if name.trim_matches('.').is_empty() { format!("_{name}") } else { name }
}

#[cfg(unix)]
fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn read(file: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(file).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_FILE => Some(bytes),
        Ok(_) => {
            tracing::warn!("{} has more than 1 MiB and is not read", file.display());
            None
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!("{} can't be read: {error}", file.display());
            None
        }
    }
}

fn parse(pem: &[u8], name: &str) -> Result<Stored, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("no key ({error})"))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("no certificates ({error})"))?;
    let first = chain.first().ok_or("no certificate")?;
    let validity = validity(first, name)?;
    let certificate =
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| error.to_string())?;
    Ok(Stored { certificate, validity })
}

/// Returns the validity of a certificate, which must be for this name.
fn validity(certificate: &CertificateDer<'_>, name: &str) -> Result<Validity, String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| format!("not X.509 ({error})"))?;
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let is_for = |found: &GeneralName<'_>| match found {
        GeneralName::DNSName(found) => found.eq_ignore_ascii_case(name),
        _ => false,
    };
    if !names.iter().any(is_for) {
        return Err("it is for another name".into());
    }
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let validity = parsed.validity();
    Ok(Validity {
        from: seconds(validity.not_before.timestamp()),
        to: seconds(validity.not_after.timestamp()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn kept(folder: &Path) -> Kept {
        Kept::new(folder, "https://ca.example:14000/dir", "*.node.example")
    }

    fn issued(name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 4, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        (key.serialize_pem(), certificate.pem())
    }

    #[test]
    fn a_certificate_is_read_again_with_its_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = kept(directory.path());
        assert!(kept.certificate().is_none());
        let (key, chain) = issued("*.node.example");
        let (stored, pem) = kept.check(&key, &chain).expect("it is one");
        kept.keep_certificate(&pem).expect("kept");
        let again = kept.certificate().expect("it is there");
        assert_eq!(again.certificate.cert, stored.certificate.cert);
        assert_eq!(again.validity, Validity { from: 1_767_225_600, to: 1_775_001_600 });
        let file = directory.path().join("ca.example_14000_dir/node.example.pem");
        assert!(file.is_file());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode(&file) & 0o777, 0o600);
            assert_eq!(mode(file.parent().expect("a folder")) & 0o777, 0o700);
        }
    }

    #[test]
    fn a_certificate_for_another_name_or_with_another_key_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = kept(directory.path());
        let (key, chain) = issued("*.node.example");
        let (other_key, other_chain) = issued("node.example");
        let why = |key: &str, chain: &str| kept.check(key, chain).expect_err("unusable");
        assert!(why(&other_key, &other_chain).contains("another name"));
        assert!(why(&other_key, &chain).contains("key"));
        assert!(why(&key, "").contains("no certificate"));
    }

    #[test]
    fn a_damaged_file_is_replaced_by_the_next_certificate() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = kept(directory.path());
        let (key, chain) = issued("*.node.example");
        let (_, pem) = kept.check(&key, &chain).expect("it is one");
        kept.keep_certificate(&pem).expect("kept");
        for content in [&b"nothing"[..], key.as_bytes(), chain.as_bytes(), &[0xff; 2 << 20]] {
            fs::write(kept.certificate_file(), content).expect("written");
            assert!(kept.certificate().is_none());
        }
        kept.keep_certificate(&pem).expect("kept");
        assert!(kept.certificate().is_some());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert_eq!(as_file_name("ca.example:443/acme/../x"), "ca.example_443_acme_.._x");
        assert_eq!(as_file_name(".."), "_..");
        assert_eq!(as_file_name(""), "_");
    }

    #[test]
    fn a_file_that_can_t_be_written_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("ca.example_14000_dir"), "a file").expect("written");
        let kept = kept(directory.path());
        let why = kept.keep_account(b"{}").expect_err("it is in the way").to_string();
        assert!(why.contains("account.json") && why.contains("can't be written"), "{why}");
    }
}
