//! Who may ask: no page of another site, and for what changes something only whom the operator lets.
//!
//! A browser can be made to send requests to this machine by any page that it shows. Two things tell such a request:
//! `Origin`, which browsers add and nothing else does, and `Host`, which names the page's own site if that lets its name
//! lead here (DNS rebinding). An address of digits can't be such a name.

use super::RpcError;
use crate::key::is_open_to_others;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a token's file.
const MAX_FILE: u64 = 4096;
/// Characters of the shortest token.
const SHORTEST: usize = 16;

/// What opens the methods that change something, kept as its hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A token and what is worth telling about its file.
#[derive(Clone, Debug)]
pub struct TokenFile {
    /// The token.
    pub token: Token,
    /// Others than its owner may read or write the file: worth a warning. Always false where the system has no such
    /// permissions.
    pub open_to_others: bool,
}

impl Token {
    /// The token of this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Reads it from a file: one word of at least 16 visible ASCII characters, white space around.
    ///
    /// # Errors
    /// [`RpcError::Token`].
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
                "holds no token: it must be one word of at least {SHORTEST} letters, digits or signs, \
                 such as `openssl rand -hex 32` makes"
            )));
        }
        Ok(TokenFile { token: Self(Sha256::digest(word).into()), open_to_others })
    }

    /// Takes the same time whatever is given.
    fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        let differences = self.0.iter().zip(given).fold(0, |all, (own, given)| all | (own ^ given));
        std::hint::black_box(differences) == 0
    }
}

/// What a request may do; it goes with the request to the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) may_change: bool,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("requests from web pages are refused")]
    Page,
    #[error("this host name is not served: use an IP address or localhost, or name it in --rpc.hosts")]
    Host,
    #[error("the token is wrong")]
    Token,
}

/// The rules.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) enable_admin: bool,
    pub(super) token: Option<Token>,
    /// Names by which this machine may be called, in lower case, or `*` for any.
    pub(super) hosts: Vec<String>,
}

impl Access {
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if headers.contains_key(ORIGIN) {
            return Err(Refusal::Page);
        }
        // Only HTTP/1.0 has none, which no browser speaks.
        if !headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(|host| self.serves(host))) {
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
        is_ip || name == "localhost" || self.hosts.iter().any(|known| *known == name || known == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn access(token: Option<&str>) -> Access {
        Access { enable_admin: false, token: token.map(Token::new), hosts: vec!["node.example".into()] }
    }

    #[test]
    fn only_this_machine_by_a_name_that_no_page_can_have() {
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
        for host in
            ["evil.example", "localhost.evil.example:9545", "127.0.0.1.evil.example", "", ":9545", "[::1"]
        {
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
    fn a_page_is_refused_whatever_it_is() {
        for origin in ["http://localhost:9545", "https://evil.example", "null"] {
            let mut request = headers(&[("host", "localhost:9545")]);
            request.insert(ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(access(None).admit(&request), Err(Refusal::Page));
        }
    }

    #[test]
    fn the_token_opens_what_changes_something_and_a_wrong_one_nothing() {
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
        // Where none is asked for, none is looked at.
        assert_eq!(access(None).admit(&with("Bearer x")), may_not);
        let open = Access { enable_admin: true, ..access(None) };
        assert_eq!(open.admit(&headers(&[("host", "localhost")])), may);
    }

    #[test]
    fn a_tokens_file_holds_one_word() {
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
    fn a_tokens_file_that_others_can_read_is_told() {
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
