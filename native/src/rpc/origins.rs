//! Cross-origin access (CORS): the web pages that may call, and what their browsers are told.
//!
//! A browser names the page that makes a request in `Origin`. It shows the page an answer only if
//! `Access-Control-Allow-Origin` permits it, and asks before most calls, with `OPTIONS` (a
//! preflight).

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, ORIGIN, VARY,
};

/// Time for which a browser may remember a preflight's answer, in seconds.
const REMEMBER: &str = "600";

/// The pages that may call. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// In the form of [`normal`].
    listed: Vec<String>,
    /// Whether every page may.
    is_any: bool,
}

/// Reason why a text names no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin: write a page's scheme and host, and its port if it has one, such as \
     https://app.example.org or http://localhost:3000, without a path; or * for any page"
)]
pub struct OriginError(String);

/// Returns an origin in lower case and without its scheme's usual port, as browsers write it;
/// `None` if the text is not an origin.
fn normal(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    // The address of IPv6 is in brackets, and has colons itself.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    let usual = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    (is_scheme && is_host).then(|| match port.filter(|port| Some(*port) != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

impl Origins {
    /// Parses a list of origins. `*` permits any page.
    ///
    /// # Errors
    /// If a text is not an origin. `null` is not: every page in a sandbox or from a file has it, so
    /// it identifies none.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginError> {
        let mut origins = Self::default();
        for text in texts {
            if text == "*" {
                origins.is_any = true;
            } else {
                let origin = normal(text).ok_or_else(|| OriginError(text.to_owned()))?;
                origins.listed.push(origin);
            }
        }
        Ok(origins)
    }

    /// Returns `true` if every page may call.
    pub const fn is_any(&self) -> bool {
        self.is_any
    }

    /// Returns `true` if no page may call.
    pub const fn is_empty(&self) -> bool {
        !self.is_any && self.listed.is_empty()
    }

    /// Returns `false` if the request comes from a page that may not call. A request without
    /// `Origin` comes from no page.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        // A browser sends one.
        origins.next().is_none() && (self.is_any || self.lists(origin))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().ok().and_then(normal);
        origin.is_some_and(|origin| self.listed.contains(&origin))
    }

    /// Returns the headers that permit the page to read the answer to a request that was admitted.
    pub(super) fn permission(&self, request: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if self.is_any {
            if request.contains_key(ORIGIN) {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
        } else if !self.listed.is_empty() {
            // Also for requests without an origin: a cache must not give a page their answers.
            answer.insert(VARY, HeaderValue::from_name(ORIGIN));
            if let Some(origin) = request.get(ORIGIN).filter(|origin| self.lists(origin)) {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
        answer
    }

    /// Returns the headers of a preflight's answer, beside [`Self::permission`].
    pub(super) fn preflight() -> HeaderMap {
        HeaderMap::from_iter([
            (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")),
            (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type")),
            (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBER)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(origin).unwrap())])
    }

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        let origins = ["https://App.Example:443", "http://localhost:3000", "http://[::1]:8080"];
        let origins = Origins::new(origins).unwrap();
        for listed in [
            "https://app.example",
            "https://app.example:443",
            "HTTPS://APP.EXAMPLE",
            "http://localhost:3000",
            "http://[::1]:8080",
        ] {
            assert!(origins.admit(&of(listed)), "{listed}");
            assert_eq!(origins.permission(&of(listed))[ACCESS_CONTROL_ALLOW_ORIGIN], listed);
        }
        for other in [
            "http://app.example",
            "https://app.example:8443",
            "https://evil.app.example",
            "https://app.example.evil.example",
            "http://localhost",
            "http://localhost:30001",
            "http://[::1]",
            "null",
            "",
            "*",
            "https://app.example/",
            "https://user@app.example",
        ] {
            assert!(!origins.admit(&of(other)), "{other}");
            let permission = origins.permission(&of(other));
            assert!(!permission.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{other}");
            assert_eq!(permission[VARY], "origin");
        }
        let mut two = of("https://app.example");
        two.append(ORIGIN, HeaderValue::from_static("https://app.example"));
        assert!(!origins.admit(&two));
        assert!(origins.admit(&HeaderMap::new()));
    }

    #[test]
    fn without_a_list_no_page_may_call_and_with_a_star_every_page_may() {
        let none = Origins::default();
        assert!(none.is_empty() && !none.admit(&of("http://localhost")));
        assert!(none.permission(&HeaderMap::new()).is_empty());
        let any = Origins::new(["https://app.example", "*"]).unwrap();
        for origin in ["http://localhost", "null", "https://evil.example"] {
            assert!(any.admit(&of(origin)));
            assert_eq!(any.permission(&of(origin))[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
        assert!(any.permission(&HeaderMap::new()).is_empty());
    }

    #[test]
    fn invalid_origins_are_refused_with_the_remedy() {
        for wrong in [
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example:0",
            "https://app.example:65536",
            "https://app.example:",
            "https://*.example",
            "://x",
            "null",
            "",
            "https://bücher.example",
            "http://[::1",
        ] {
            let error = Origins::new([wrong]).unwrap_err().to_string();
            assert!(error.contains("https://app.example.org"), "{wrong}: {error}");
        }
    }
}
