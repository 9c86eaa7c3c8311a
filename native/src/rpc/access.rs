//! Access control: requests from web pages that the operator does not list are refused, and methods
//! that change something need the operator's permission.
//!
//! Any page can make a browser send requests to this machine. Two headers give such a request away:
//! `Origin`, which only browsers add, and `Host`, which names the page's own site if that site
//! makes its name resolve to this machine (DNS rebinding). A numeric address can't be such a name.

use super::error::RpcError;
use super::origins::Origins;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use opp2p_node::key::is_open_to_others;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use zeroize::Zeroizing;

/// Maximum size of a token file in bytes.
const MAX_FILE: u64 = 4096;
/// Minimum length of a token in characters.
const SHORTEST: usize = 16;

/// Token that permits changes, kept as its hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A token, and whether its file deserves a warning.
#[derive(Clone, Debug)]
pub struct TokenFile {
    /// The token.
    pub token: Token,
    /// Whether users other than the owner may read or write the file: worth a warning. Always
    /// `false` on systems without such permissions.
    pub open_to_others: bool,
}

impl Token {
    /// Returns the token with this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Reads a token from a file: one word of at least 16 visible ASCII characters, with optional
    /// white space around it.
    ///
    /// # Errors
    /// [`RpcError::Token`] if the file can't be read or does not hold such a word.
    pub fn load(path: &Path) -> Result<TokenFile, RpcError> {
        let wrong = |why: String| RpcError::Token { path: path.into(), why };
        let unreadable = |error: std::io::Error| {
            wrong(format!("can't be read ({error}): check the path and its permissions"))
        };
        let file = File::open(path).map_err(unreadable)?;
        let open_to_others = is_open_to_others(path);
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
        let word = bytes.trim_ascii();
        if word.len() < SHORTEST || !word.iter().all(u8::is_ascii_graphic) {
            return Err(wrong(format!(
                "holds no token: it must be one word of at least {SHORTEST} letters, digits or \
                 signs, such as `openssl rand -hex 32` makes"
            )));
        }
        Ok(TokenFile { token: Self(Sha256::digest(word).into()), open_to_others })
    }

    /// Compares in constant time.
    fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        let differences = self.0.iter().zip(given).fold(0, |all, (own, given)| all | (own ^ given));
        std::hint::black_box(differences) == 0
    }
}

/// Permissions of a request, which it carries to the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) may_change: bool,
}

/// Reasons to refuse a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "requests from this web page are refused: name its origin in the setting rpc.cors to \
         permit it"
    )]
    Page,
    #[error(
        "this host name is not served: use an IP address or localhost, or name it in the \
         setting rpc.hosts"
    )]
    Host,
    #[error("the token is wrong")]
    Token,
}

/// The rules for requests.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) enable_admin: bool,
    pub(super) token: Option<Token>,
    /// Accepted host names of this machine in lower case, or `*` for any.
    pub(super) hosts: Vec<String>,
    /// The web pages that may call.
    pub(super) origins: Origins,
}

impl Access {
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if !self.origins.admit(headers) {
            return Err(Refusal::Page);
        }
        // Only HTTP/1.0 requests lack `Host`, and browsers don't speak HTTP/1.0.
        if !headers
            .get_all(HOST)
            .iter()
            .all(|host| host.to_str().is_ok_and(|host| self.serves(host)))
        {
            return Err(Refusal::Host);
        }
        let Some(token) = &self.token else { return Ok(Caller { may_change: self.enable_admin }) };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let bearer = given.map(|value| match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => &[],
        });
        match bearer {
            None => Ok(Caller { may_change: self.enable_admin }),
            Some(given) if token.is(given) => Ok(Caller { may_change: true }),
            Some(_) => Err(Refusal::Token),
        }
    }

    fn serves(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let is_ip = name.parse::<IpAddr>().is_ok()
            || name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'))
                .is_some_and(|name| name.parse::<Ipv6Addr>().is_ok());
        let name = name.to_ascii_lowercase();
        is_ip
            || name == "localhost"
            || self.hosts.iter().any(|known| *known == name || known == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::ORIGIN;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn access(token: Option<&str>) -> Access {
        Access {
            enable_admin: false,
            token: token.map(Token::new),
            hosts: vec!["node.example".into()],
            origins: Origins::default(),
        }
    }

    #[test]
    fn only_ip_addresses_and_known_host_names_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:9545",
            "127.0.0.1:9545",
            "10.1.2.3",
            "[::1]:9545",
            "[::1]",
            "Node.Example:1",
        ] {
            assert!(access(None).serves(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:9545",
            "127.0.0.1.evil.example",
            "",
            ":9545",
            "[::1",
        ] {
            assert!(!access(None).serves(host), "{host}");
        }
        let any = Access { hosts: vec!["*".into()], ..access(None) };
        assert!(any.serves("op-node:9545"));
        let two = headers(&[("host", "localhost"), ("host", "evil.example")]);
        let mut both = headers(&[("host", "localhost")]);
        both.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(access(None).admit(&two), Err(Refusal::Host));
        assert_eq!(access(None).admit(&both), Err(Refusal::Host));
    }

    #[test]
    fn requests_from_any_page_are_refused() {
        for origin in ["http://localhost:9545", "https://evil.example", "null"] {
            let mut request = headers(&[("host", "localhost:9545")]);
            request.insert(ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(access(None).admit(&request), Err(Refusal::Page));
        }
    }

    #[test]
    fn a_listed_page_has_the_rights_of_any_other_caller() {
        let origins = Origins::new(["https://app.example"]).unwrap();
        let access = Access { origins, ..access(Some("0123456789abcdef")) };
        let mut request = headers(&[("host", "localhost"), ("origin", "https://app.example")]);
        assert_eq!(access.admit(&request), Ok(Caller { may_change: false }));
        request.insert(AUTHORIZATION, HeaderValue::from_static("Bearer 0123456789abcdef"));
        assert_eq!(access.admit(&request), Ok(Caller { may_change: true }));
        request.insert(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(access.admit(&request), Err(Refusal::Host));
        request.insert(ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert_eq!(access.admit(&request), Err(Refusal::Page));
    }

    #[test]
    fn the_token_allows_changes_and_a_wrong_one_does_not() {
        let with = |value| headers(&[("host", "localhost"), ("authorization", value)]);
        let secret = access(Some("0123456789abcdef"));
        let (may, may_not) = (Ok(Caller { may_change: true }), Ok(Caller { may_change: false }));
        assert_eq!(secret.admit(&with("Bearer 0123456789abcdef")), may);
        assert_eq!(secret.admit(&with("bearer 0123456789abcdef")), may);
        assert_eq!(secret.admit(&headers(&[("host", "localhost")])), may_not);
        for wrong in [
            "Bearer 0123456789abcdeF",
            "Bearer ",
            "Bearer",
            "Basic 0123456789abcdef",
            "",
            "Bearer 0123456789abcdef0",
        ] {
            assert_eq!(secret.admit(&with(wrong)), Err(Refusal::Token), "{wrong}");
        }
        // Without a configured token, the header is ignored.
        assert_eq!(access(None).admit(&with("Bearer x")), may_not);
        let open = Access { enable_admin: true, ..access(None) };
        assert_eq!(open.admit(&headers(&[("host", "localhost")])), may);
    }

    #[test]
    fn a_token_file_holds_one_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let load = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            Token::load(&file)
        };
        assert!(load(b" 0123456789abcdef\n").unwrap().token.is(b"0123456789abcdef"));
        for wrong in [
            &b""[..],
            b"short",
            b"two words of a length",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let error = load(wrong).unwrap_err().to_string();
            assert!(error.contains("holds no token") && error.contains("token"), "{error}");
        }
        let missing = Token::load(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(missing.contains("missing can't be read"), "{missing}");
        assert!(Token::load(folder.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_readable_by_others_is_reported() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        for (mode, expected) in [(0o600, false), (0o644, true), (0o660, true)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Token::load(&file).unwrap().open_to_others, expected, "{mode:o}");
        }
    }
}
