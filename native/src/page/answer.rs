//! Answers to requests: names, encodings, validators and the security headers.

use super::PageFiles;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use opp2p_node::http;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Name of the page's configuration.
const CONFIG: &str = "config.json";

/// Headers of every answer. Scripts and styles come only from this server, and text is never run as
/// code; connections may go to any gateway.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src \
         'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action \
         'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::VARY, "accept-encoding"),
];

/// All files that can be requested.
pub(super) struct Site {
    files: RwLock<Arc<BTreeMap<String, File>>>,
    config: Box<dyn Fn() -> String + Send + Sync>,
}

/// One file in its available encodings.
#[derive(Debug)]
struct File {
    kind: &'static str,
    cache: &'static str,
    plain: Form,
    brotli: Option<Form>,
    gzip: Option<Form>,
}

#[derive(Debug)]
struct Form {
    bytes: Bytes,
    /// The entity tag in quotation marks, as in the header.
    tag: String,
}

impl Form {
    fn new(bytes: Bytes) -> Self {
        let digest = Sha256::digest(&bytes);
        let digits: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, tag: format!("\"{digits}\"") }
    }
}

impl Site {
    /// Creates a site of these files, with this configuration in place of any `config.json` among
    /// them. `config` is called for each request of it.
    pub(super) fn new(
        files: PageFiles,
        config: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let files = RwLock::new(Arc::new(answers(files)));
        Self { files, config: Box::new(config) }
    }

    /// Serves these files from now on.
    pub(super) fn replace(&self, files: PageFiles) {
        let files = Arc::new(answers(files));
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = files;
    }

    fn files(&self) -> Arc<BTreeMap<String, File>> {
        Arc::clone(&self.files.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn config(&self) -> File {
        File {
            kind: kind(CONFIG),
            cache: "no-store",
            plain: Form::new((self.config)().into()),
            brotli: None,
            gzip: None,
        }
    }

    /// Answers a request. For `HEAD` the server leaves the body out.
    pub(super) fn answer(
        &self,
        method: &Method,
        path: &str,
        asked: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut answer = http::only_get_and_head();
            guard(answer.headers_mut());
            return answer;
        }
        let name = match path.strip_prefix('/') {
            Some("") => "index.html",
            Some(name) => name,
            None => path,
        };
        let config = (name == CONFIG).then(|| self.config());
        let files = self.files();
        let Some(file) = config.as_ref().or_else(|| files.get(name)) else {
            return plain(StatusCode::NOT_FOUND, "there is no such page here\n");
        };
        let (form, encoding) = match (&file.brotli, &file.gzip) {
            (Some(form), _) if accepts(asked, "br") => (form, Some("br")),
            (_, Some(form)) if accepts(asked, "gzip") => (form, Some("gzip")),
            _ => (&file.plain, None),
        };
        let mut answer = if has(asked, &form.tag) {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        } else {
            let mut answer = Response::new(Full::new(form.bytes.clone()));
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
            headers.insert(header::CONTENT_LENGTH, form.bytes.len().into());
            if let Some(encoding) = encoding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            answer
        };
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(file.cache));
        // Hexadecimal digits in quotation marks are a valid header value.
        if let Ok(tag) = HeaderValue::from_str(&form.tag) {
            headers.insert(header::ETAG, tag);
        }
        guard(headers);
        answer
    }
}

/// Returns the files by their names in URLs, without any `config.json`.
fn answers(files: PageFiles) -> BTreeMap<String, File> {
    let PageFiles(mut found) = files;
    for ending in ["", ".br", ".gz"] {
        found.remove(&format!("{CONFIG}{ending}"));
    }
    let form = |name: String| found.get(&name).cloned().map(Form::new);
    let is_form = |name: &str| {
        let plain = name.strip_suffix(".br").or(name.strip_suffix(".gz"));
        plain.is_some_and(|plain| found.contains_key(plain))
    };
    found
        .iter()
        .filter(|(name, _)| !is_form(name))
        .map(|(name, bytes)| {
            let file = File {
                kind: kind(name),
                cache: if is_hashed(name) {
                    "public, max-age=31536000, immutable"
                } else {
                    "no-cache"
                },
                plain: Form::new(bytes.clone()),
                brotli: form(format!("{name}.br")),
                gzip: form(format!("{name}.gz")),
            };
            (name.clone(), file)
        })
        .collect()
}

fn guard(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = http::text(status, http::PLAIN, text);
    guard(answer.headers_mut());
    answer
}

/// Returns the content type of a file.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" | "ts" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Returns `true` if the name changes with the contents: the last part before its extension is at
/// least eight digits of a hash, as in `opp2p-0a1b2c3d.wasm`.
fn is_hashed(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    let Some((_, hash)) = stem.rsplit_once(['-', '.']) else { return false };
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    hash.len() >= 8
        && hash.bytes().all(hexadecimal)
        && hash.bytes().any(|byte| byte.is_ascii_digit())
}

/// Returns the elements of a list header, across all of its lines.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Returns `true` if `encoding` is accepted by name, with a weight other than zero.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    list(headers, header::ACCEPT_ENCODING).any(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let named = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let weight = pieces.find_map(|piece| piece.strip_prefix("q=").or(piece.strip_prefix("Q=")));
        named && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

/// Returns `true` if the client already has the form with this tag.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    list(headers, header::IF_NONE_MATCH)
        .any(|part| part == "*" || part.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let files = [
            ("index.html", "<!doctype html>"),
            ("app.js", "plain"),
            ("app.js.br", "brotli"),
            ("app.js.gz", "gzip"),
            ("notes.gz", "an archive"),
            ("opp2p/opp2p-0a1b2c3d.wasm", "\0asm"),
            ("config.json", "a stale one"),
            ("config.json.br", "a stale one"),
        ];
        let files =
            files.map(|(name, text)| (name.to_owned(), Bytes::from_static(text.as_bytes())));
        Site::new(PageFiles(files.into()), || "{}".into())
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn encoding(accepted: &'static str) -> Option<String> {
        let asked = headers(&[(header::ACCEPT_ENCODING, accepted)]);
        let answer = site().answer(&Method::GET, "/app.js", &asked);
        let encoding = answer.headers().get(header::CONTENT_ENCODING)?;
        Some(encoding.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_best_accepted_encoding_is_chosen() {
        assert_eq!(encoding("gzip, deflate, br, zstd").as_deref(), Some("br"));
        assert_eq!(encoding("gzip;q=1.0, br;q=0").as_deref(), Some("gzip"));
        assert_eq!(encoding("GZIP").as_deref(), Some("gzip"));
        for other in ["", "identity", "brotli", "br;q=0", "br;q=none", "*;q=0", ";;,,q="] {
            assert_eq!(encoding(other), None, "{other}");
        }
    }

    #[test]
    fn each_encoding_has_a_tag_and_is_not_sent_again() {
        let site = site();
        let get = |asked: &HeaderMap| site.answer(&Method::GET, "/app.js", asked);
        let tag =
            |asked: &HeaderMap| get(asked).headers()[header::ETAG].to_str().unwrap().to_owned();
        let (plain, brotli) = (headers(&[]), headers(&[(header::ACCEPT_ENCODING, "br")]));
        assert_ne!(tag(&plain), tag(&brotli));
        for again in [tag(&brotli), format!("\"x\", W/{}", tag(&brotli)), "*".to_owned()] {
            let mut asked = brotli.clone();
            asked.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&again).unwrap());
            let answer = get(&asked);
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
            assert!(answer.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        }
        let mut asked = plain;
        asked.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&tag(&brotli)).unwrap());
        assert_eq!(get(&asked).status(), StatusCode::OK);
    }

    #[test]
    fn compressed_forms_are_not_separate_files_but_archives_are() {
        let site = site();
        let status = |path: &str| site.answer(&Method::GET, path, &HeaderMap::new()).status();
        for found in ["/", "/index.html", "/app.js", "/notes.gz", "/config.json"] {
            assert_eq!(status(found), StatusCode::OK, "{found}");
        }
        for missing in [
            "/app.js.br",
            "/app.js.gz",
            "/config.json.br",
            "/opp2p",
            "/opp2p/",
            "",
            "*",
            "//",
            "/./app.js",
        ] {
            assert_eq!(status(missing), StatusCode::NOT_FOUND, "{missing}");
        }
    }

    #[test]
    fn only_files_with_a_hash_in_their_name_are_cached_without_revalidation() {
        for hashed in ["a-0a1b2c3d.js", "x/a.0123456789abcdef.wasm"] {
            assert!(is_hashed(hashed), "{hashed}");
        }
        for other in [
            "a.js",
            "a-0a1b2c.js",
            "abcdef01.js",
            "a-deadbeef.js",
            "a-0A1B2C3D.js",
            "",
            "uPlot.esm.js",
        ] {
            assert!(!is_hashed(other), "{other}");
        }
        let site = site();
        let cache = |path: &str| {
            let answer = site.answer(&Method::GET, path, &HeaderMap::new());
            answer.headers()[header::CACHE_CONTROL].to_str().unwrap().to_owned()
        };
        assert!(cache("/opp2p/opp2p-0a1b2c3d.wasm").contains("immutable"));
        assert_eq!(
            [cache("/app.js"), cache("/config.json"), cache("/x")],
            ["no-cache", "no-store", "no-store"]
        );
    }

    #[test]
    fn the_configuration_is_made_for_each_request() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let count = AtomicU32::new(0);
        let site = Site::new(PageFiles(BTreeMap::new()), move || {
            count.fetch_add(1, Ordering::Relaxed).to_string()
        });
        let tag = || {
            let answer = site.answer(&Method::GET, "/config.json", &HeaderMap::new());
            assert_eq!(answer.status(), StatusCode::OK);
            answer.headers()[header::ETAG].clone()
        };
        assert_ne!(tag(), tag(), "another text has another tag");
        site.answer(&Method::GET, "/x", &HeaderMap::new());
        assert_eq!((site.config)(), "2", "no other request makes it");
    }
}
