//! The node's secp256k1 key, its key file, and the identities derived from it.
//!
//! One key serves libp2p and discovery; a sequencer's signing key has the same form (protocol.md
//! §1.1, §5.1, §9). A key file is text: 64 hex digits with an optional `0x` prefix and surrounding
//! white space. A missing file is created atomically, readable by its owner only. An existing file
//! is never written.
//!
//! Secrets are wiped from memory when they are dropped and never appear in an error or a `Debug`
//! output.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use alloy_primitives::{Address, B256, hex, keccak256};
use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, secp256k1};
use zeroize::Zeroizing;

use opp2p_store::new_file::NewFile;

/// Maximum number of bytes read from a key file: enough for a key with generous white space, and a
/// bound for a path such as `/dev/zero`.
const MAX_FILE_BYTES: usize = 4096;

/// Length of a key as text, in hex digits.
const HEX_DIGITS: usize = 64;

/// Reason why a text is not a key. No message repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// The text does not have 64 characters, not counting `0x` and surrounding white space.
    #[error("a key has {HEX_DIGITS} hex digits, and this has {} characters", amount(*found))]
    WrongLength {
        /// Number of characters; for a file, at most the number of bytes read.
        found: usize,
    },
    /// The text contains a character that is not a hex digit.
    #[error("a key has {HEX_DIGITS} hex digits, and character {position} of this is not one")]
    NotHex {
        /// Position of the character, counted from 1 after `0x`.
        position: usize,
    },
    /// The number is zero, or not below the order of the curve.
    #[error(
        "this number is not a secp256k1 key: it must be above zero and below the order of the curve"
    )]
    OutOfRange,
}

/// Reason why a key file can't be used. Each message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The path is empty.
    #[error("the path of the key file is empty: name a file")]
    EmptyPath,
    /// The path is a directory.
    #[error("the key file {} is a directory: name a file in it", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// The file can't be opened or read.
    #[error(
        "the key file {} can't be read ({source}): {}",
        path.display(),
        remedy(source, "name one that exists", "give this user permission, or name another file")
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error from the operating system.
        source: io::Error,
    },
    /// The file was read but does not contain a key.
    #[error(
        "the key file {} holds no key ({source}): correct it, or move it away to have a new key \
         made",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Defect of the text.
        source: KeyFormatError,
    },
    /// The file does not exist and can't be created.
    #[error(
        "the key file {} does not exist and can't be made ({source}): {}",
        path.display(),
        remedy(source, "make its directory", "make its directory writable, or name another file")
    )]
    NotCreated {
        /// The file.
        path: PathBuf,
        /// Error from the operating system.
        source: io::Error,
    },
    /// Something already exists at the path of the new key.
    #[error(
        "{} exists and is not overwritten: choose another path, or move it away",
        path.display()
    )]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The operating system provided no random bytes for a new key.
    #[error("no random numbers for a new key ({0}): give a key file made elsewhere")]
    NoRandomness(getrandom::Error),
}

/// Describes a number of characters. No more than [`MAX_FILE_BYTES`] are read, so there may be
/// more.
fn amount(found: usize) -> String {
    if found < MAX_FILE_BYTES / 2 {
        found.to_string()
    } else {
        format!("more than {}", MAX_FILE_BYTES / 2)
    }
}

/// Returns the remedy: `missing` if the error is that something does not exist, otherwise `other`.
fn remedy(source: &io::Error, missing: &'static str, other: &'static str) -> &'static str {
    if source.kind() == io::ErrorKind::NotFound { missing } else { other }
}

/// A secp256k1 secret key. It is wiped when dropped; `Debug` shows only the address.
#[derive(Clone)]
pub struct SecretKey {
    secret: Zeroizing<[u8; 32]>,
    public: secp256k1::PublicKey,
}

/// A key with the state of its file.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// The key.
    pub key: SecretKey,
    /// `true` if the file did not exist and was created.
    pub created: bool,
    /// `true` if users other than the owner may read or write the file, which is worth a warning.
    /// Always `false` on systems without such permissions.
    pub open_to_others: bool,
}

impl SecretKey {
    /// Generates a random key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        loop {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(secret.as_mut_slice()).map_err(KeyError::NoRandomness)?;
            // One number in 2^128 is outside the range of the curve.
            if let Ok(key) = Self::from_bytes(&secret) {
                return Ok(key);
            }
        }
    }

    /// Returns the key with these bytes, big-endian.
    ///
    /// # Errors
    ///
    /// [`KeyFormatError::OutOfRange`] if the number is zero or not below the order of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyFormatError> {
        let secret = Zeroizing::new(*bytes);
        let public = libp2p_pair(&secret)?.public().clone();
        Ok(Self { secret, public })
    }

    /// Reads the key file at `path`.
    ///
    /// # Errors
    ///
    /// [`KeyError::EmptyPath`], [`KeyError::Directory`], [`KeyError::Unreadable`], which includes a
    /// missing file, or [`KeyError::Malformed`].
    pub fn load(path: &Path) -> Result<KeyFile, KeyError> {
        let unreadable = |source| KeyError::Unreadable { path: path.to_path_buf(), source };
        if path.as_os_str().is_empty() {
            return Err(KeyError::EmptyPath);
        }
        let mut file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return Err(KeyError::Directory { path: path.to_path_buf() });
        }
        // The buffer never grows, so no copy of the secret is left behind.
        let mut text = Zeroizing::new([0; MAX_FILE_BYTES]);
        let mut length = 0;
        loop {
            match file.read(&mut text[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        let key = parse(&text[..length])
            .map_err(|source| KeyError::Malformed { path: path.to_path_buf(), source })?;
        Ok(KeyFile { key, created: false, open_to_others: open_to_others(&about) })
    }

    /// Reads the key file at `path`, or creates it with a random key if it does not exist: mode
    /// 0600, 64 hex digits, no newline. If two processes start at once, both return the key that
    /// ends up in the file.
    ///
    /// # Errors
    ///
    /// Any [`KeyError`] except [`Exists`](KeyError::Exists).
    pub fn load_or_create(path: &Path) -> Result<KeyFile, KeyError> {
        match Self::load(path) {
            Err(KeyError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let key = Self::generate()?;
        match key.write_new(path) {
            Ok(()) => Ok(KeyFile { key, created: true, open_to_others: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(source) => Err(KeyError::NotCreated { path: path.to_path_buf(), source }),
        }
    }

    /// Creates a key file at `path` with a random key, mode 0600.
    ///
    /// # Errors
    ///
    /// [`KeyError::Exists`] if anything exists at `path`: a key is never overwritten. Otherwise as
    /// [`load_or_create`](Self::load_or_create).
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        if path.as_os_str().is_empty() {
            return Err(KeyError::EmptyPath);
        }
        let key = Self::generate()?;
        match key.write_new(path) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyError::Exists { path: path.to_path_buf() })
            }
            Err(source) => Err(KeyError::NotCreated { path: path.to_path_buf(), source }),
        }
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let (new, mut file) = NewFile::beside(path, true)?;
        file.write_all(self.to_hex().as_bytes())?;
        file.sync_all()?;
        new.publish()
    }

    /// Returns the 32 secret bytes, big-endian, for signing.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Returns the secret as 64 hex digits without `0x`, the content of a key file. It is wiped
    /// when dropped.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.secret.as_slice()))
    }

    /// Returns the key pair for a libp2p host.
    ///
    /// # Errors
    ///
    /// None in practice, since the key was checked when it was created. The `Result` avoids a panic
    /// here.
    pub fn libp2p_keypair(&self) -> Result<Keypair, KeyFormatError> {
        libp2p_pair(&self.secret).map(Keypair::from)
    }

    /// Returns the libp2p peer id, `16Uiu2HA…` as text.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PublicKey::from(self.public.clone()).to_peer_id()
    }

    /// Returns the discovery node id: keccak-256 of the 64 bytes of the public point.
    #[must_use]
    pub fn node_id(&self) -> B256 {
        // The first of the 65 bytes marks the point as uncompressed and is not part of it.
        let [_, point @ ..] = self.public.to_bytes_uncompressed();
        keccak256(point)
    }

    /// Returns the Ethereum address: the last 20 bytes of the node id.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from_word(self.node_id())
    }
}

impl FromStr for SecretKey {
    type Err = KeyFormatError;

    /// Parses a key from the text of a flag, a file or standard input.
    fn from_str(text: &str) -> Result<Self, KeyFormatError> {
        parse(text.as_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("address", &self.address()).finish_non_exhaustive()
    }
}

fn libp2p_pair(secret: &Zeroizing<[u8; 32]>) -> Result<secp256k1::Keypair, KeyFormatError> {
    let mut copy = Zeroizing::new(**secret);
    let secret = secp256k1::SecretKey::try_from_bytes(copy.as_mut_slice())
        .map_err(|_| KeyFormatError::OutOfRange)?;
    Ok(secp256k1::Keypair::from(secret))
}

fn parse(text: &[u8]) -> Result<SecretKey, KeyFormatError> {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.len() != HEX_DIGITS {
        return Err(KeyFormatError::WrongLength { found: digits.len() });
    }
    if let Some(at) = digits.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        return Err(KeyFormatError::NotHex { position: at + 1 });
    }
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, secret.as_mut_slice())
        .map_err(|_| KeyFormatError::NotHex { position: 1 })?;
    SecretKey::from_bytes(&secret)
}

/// Returns `true` if users other than the owner may read or write a file. Always `false` on systems
/// without such permissions, and if the metadata can't be read.
pub fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| open_to_others(&about))
}

#[cfg(unix)]
fn open_to_others(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.is_file() && about.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn open_to_others(_about: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "0000000000000000000000000000000000000000000000000000000000000001";
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    const ORDER_LESS_ONE: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140";

    fn format_error(text: &str) -> KeyFormatError {
        text.parse::<SecretKey>().expect_err("no key")
    }

    #[test]
    fn key_one_has_its_known_peer_id_and_address() {
        let key: SecretKey = ONE.parse().expect("a key");
        assert_eq!(
            key.peer_id().to_string(),
            "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq"
        );
        assert_eq!(
            key.address().to_string().to_lowercase(),
            "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
        );
        assert_eq!(&key.node_id()[12..], key.address().as_slice());
        assert_eq!(key.libp2p_keypair().expect("a pair").public().to_peer_id(), key.peer_id());
        assert_eq!(key.secret_bytes()[31], 1);
    }

    #[test]
    fn a_prefix_and_white_space_around_are_accepted() {
        for text in [format!("0x{ONE}"), format!(" \t\n{ONE}\r\n"), format!("\n0x{ONE} ")] {
            assert_eq!(text.parse::<SecretKey>().expect("a key").to_hex().as_str(), ONE);
        }
        let upper = ORDER_LESS_ONE.to_uppercase();
        assert_eq!(upper.parse::<SecretKey>().expect("a key").to_hex().as_str(), ORDER_LESS_ONE);
    }

    #[test]
    fn a_text_of_the_wrong_length_is_refused() {
        for (text, found) in [("", 0), ("  \n", 0), ("0x", 0), ("0", 1), (&ONE[1..], 63)] {
            assert_eq!(format_error(text), KeyFormatError::WrongLength { found }, "{text:?}");
        }
        assert_eq!(format_error(&format!("{ONE}0")), KeyFormatError::WrongLength { found: 65 });
        assert_eq!(format_error(&format!("0x0x{ONE}")), KeyFormatError::WrongLength { found: 66 });
        assert_eq!(format_error(&format!("0X{ONE}")), KeyFormatError::WrongLength { found: 66 });
    }

    #[test]
    fn a_non_hex_character_is_refused_with_its_position() {
        assert_eq!(
            format_error(&format!("g{}", &ONE[1..])),
            KeyFormatError::NotHex { position: 1 }
        );
        assert_eq!(
            format_error(&format!("0x{} 1", &ONE[2..])),
            KeyFormatError::NotHex { position: 63 }
        );
        assert_eq!(
            format_error(&format!("é{}", &ONE[2..])),
            KeyFormatError::NotHex { position: 1 }
        );
    }

    #[test]
    fn only_numbers_below_the_curve_order_are_keys() {
        assert_eq!(format_error(&"0".repeat(64)), KeyFormatError::OutOfRange);
        assert_eq!(format_error(ORDER), KeyFormatError::OutOfRange);
        assert_eq!(format_error(&"f".repeat(64)), KeyFormatError::OutOfRange);
        assert!(ORDER_LESS_ONE.parse::<SecretKey>().is_ok());
    }

    #[test]
    fn a_missing_file_is_made_once_and_then_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let made = SecretKey::load_or_create(&path).expect("made");
        assert!(made.created && !made.open_to_others);
        let text = fs::read_to_string(&path).expect("reads");
        assert_eq!(text, made.key.to_hex().as_str());
        assert_eq!(text.len(), 64);
        let read = SecretKey::load_or_create(&path).expect("read");
        assert!(!read.created && !read.open_to_others);
        assert_eq!(read.key.secret_bytes(), made.key.secret_bytes());
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_private_and_a_readable_one_is_reported() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        SecretKey::load_or_create(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("about").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
        assert!(SecretKey::load(&path).expect("read").open_to_others);
    }

    #[test]
    fn a_bad_file_is_named_and_left_unchanged() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        for content in [&b""[..], b"hello", ORDER.as_bytes(), &[0xFF; 64], &[b'0'; 5000]] {
            fs::write(&path, content).expect("writes");
            let error = SecretKey::load_or_create(&path).expect_err("no key");
            assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().expect("text")), "{error}");
            assert_eq!(fs::read(&path).expect("reads"), content);
        }
    }

    #[test]
    fn paths_that_cannot_hold_a_key_are_distinguished() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(matches!(SecretKey::load_or_create(Path::new("")), Err(KeyError::EmptyPath)));
        assert!(matches!(
            SecretKey::load_or_create(directory.path()),
            Err(KeyError::Directory { .. })
        ));
        let missing = directory.path().join("missing/key");
        assert!(matches!(SecretKey::load_or_create(&missing), Err(KeyError::NotCreated { .. })));
        assert!(matches!(SecretKey::load(&missing), Err(KeyError::Unreadable { .. })));
        let file = directory.path().join("file");
        fs::write(&file, b"x").expect("writes");
        assert!(matches!(
            SecretKey::load_or_create(&file.join("key")),
            Err(KeyError::Unreadable { .. })
        ));
        assert_eq!(fs::read(&file).expect("reads"), b"x");
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_does_not_create_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let (link, target) = (directory.path().join("link"), directory.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).expect("links");
        assert!(matches!(SecretKey::load_or_create(&link), Err(KeyError::Unreadable { .. })));
        assert!(!target.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        assert!(matches!(SecretKey::load(Path::new("/dev/zero")), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn many_processes_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| SecretKey::load_or_create(&path).expect("a key")))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(keys.iter().filter(|file| file.created).count(), 1);
        assert!(keys.iter().all(|file| file.key.secret_bytes() == keys[0].key.secret_bytes()));
        assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    }

    #[test]
    fn the_secret_appears_in_no_debug_output_and_no_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let secret = "a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0a1b2";
        let key: SecretKey = secret.parse().expect("a key");
        let shown = format!("{:?}", KeyFile { key, created: false, open_to_others: false });
        assert!(
            shown.contains("address") && !shown.contains("a1b2") && !shown.contains("161, 178"),
            "{shown}"
        );
        fs::write(&path, format!("{secret}z")).expect("writes");
        let error = SecretKey::load(&path).expect_err("too long");
        assert!(!format!("{error} {error:?}").contains("a1b2"), "{error:?}");
    }

    #[test]
    fn every_byte_of_a_generated_key_is_random() {
        let keys: Vec<_> =
            (0..32).map(|_| *SecretKey::generate().expect("a key").secret_bytes()).collect();
        for at in 0..32 {
            assert!(keys.iter().any(|key| key[at] != keys[0][at]), "byte {at} is always the same");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _ = text.parse::<SecretKey>();
        }

        #[test]
        fn keys_round_trip_through_text(bytes: [u8; 32]) {
            if let Ok(key) = SecretKey::from_bytes(&bytes) {
                let again: SecretKey = key.to_hex().parse().expect("a key");
                prop_assert_eq!(again.secret_bytes(), &bytes);
            }
        }
    }
}
