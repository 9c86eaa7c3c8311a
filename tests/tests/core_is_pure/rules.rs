//! What the core's tokens may not say. Paths are read with their braces unfolded, in code, in `use` and in the
//! bodies of macros alike; strings and comments are not tokens and say nothing.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use proc_macro2::{Delimiter, Group, Ident, Spacing, TokenStream, TokenTree};

use crate::dependencies;

/// One violation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The line in its file, from 1.
    pub(crate) line: usize,
    /// What is wrong, and what to do instead where that is not plain.
    pub(crate) what: String,
}

/// Parts of the standard library that reach outside, under `std`, `core` or `alloc`.
const MODULES: &[(&str, &str)] = &[
    ("async_iter", "async"),
    ("backtrace", "the environment"),
    ("env", "the environment"),
    ("fs", "files"),
    ("future", "async"),
    ("io", "files and streams; read from a slice"),
    ("os", "the operating system"),
    ("pin", "async"),
    ("process", "processes"),
    ("random", "ambient randomness"),
    ("task", "async"),
    ("thread", "threads"),
];

/// Names that are wrong wherever they come from.
const NAMES: &[(&str, &str)] = &[
    ("Barrier", "threads"),
    ("Condvar", "threads"),
    ("HashMap", "a random seed; take BTreeMap"),
    ("HashSet", "a random seed; take BTreeSet"),
    ("IntoFuture", "async"),
    ("OsRng", "ambient randomness"),
    ("RandomState", "a random seed"),
    ("SysRng", "ambient randomness"),
    ("SystemTime", "the clock; time comes in as `Now`"),
    ("ThreadRng", "ambient randomness"),
    ("UNIX_EPOCH", "the clock; time comes in as `Now`"),
    ("__rdtscp", "the clock"),
    ("_rdrand16_step", "ambient randomness"),
    ("_rdrand32_step", "ambient randomness"),
    ("_rdrand64_step", "ambient randomness"),
    ("_rdseed16_step", "ambient randomness"),
    ("_rdseed32_step", "ambient randomness"),
    ("_rdseed64_step", "ambient randomness"),
    ("_rdtsc", "the clock"),
    ("from_entropy", "ambient randomness"),
    ("from_os_rng", "ambient randomness"),
    ("hash_map", "a random seed; take BTreeMap"),
    ("hash_set", "a random seed; take BTreeSet"),
    ("mpsc", "threads"),
    ("thread_rng", "ambient randomness"),
];

/// Macros that reach outside.
const MACROS: &[(&str, &str)] = &[
    ("asm", "machine code"),
    ("dbg", "logging"),
    ("eprint", "logging"),
    ("eprintln", "logging"),
    ("global_asm", "machine code"),
    ("include", "source that this check does not see"),
    ("join", "async"),
    ("option_env", "the environment"),
    ("print", "logging"),
    ("println", "logging"),
    ("select", "async"),
    ("thread_local", "threads"),
];

/// Words that no path starts with: `return ::std::…` is not one.
const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "fn", "for", "if",
    "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct",
    "trait", "type", "unsafe", "use", "where", "while",
];

/// Judges a file's tokens but for those in `skip`, which are ranges of bytes.
pub(crate) fn judge(
    tokens: TokenStream,
    skip: &[Range<usize>],
    file: &Path,
    crate_root: &Path,
) -> Vec<Finding> {
    let mut judge = Judge { skip, file, crate_root, findings: Vec::new() };
    judge.tokens(tokens);
    judge.findings
}

struct Judge<'a> {
    skip: &'a [Range<usize>],
    file: &'a Path,
    crate_root: &'a Path,
    findings: Vec<Finding>,
}

/// A path with one way through its braces: `std::{fs, io::Read}` is two of these.
struct Route {
    segments: Vec<String>,
    last: Ident,
    glob: bool,
}

impl Judge<'_> {
    fn finding(&mut self, at: &Ident, what: String) {
        let finding = Finding { line: at.span().start().line, what };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens
            .into_iter()
            .filter(|token| {
                let start = token.span().byte_range().start;
                !self.skip.iter().any(|range| range.contains(&start))
            })
            .collect();
        let mut in_use = false;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Bracket && at > 0 && is_punct(tokens.get(at - 1), '#')
                    {
                        self.attribute(group);
                    }
                    self.tokens(group.stream());
                    at += 1;
                }
                TokenTree::Ident(ident) => {
                    let name = ident.to_string();
                    match name.as_str() {
                        "async" | "await" => self.finding(ident, format!("`{name}`: async")),
                        "extern" => self.finding(ident, "`extern`: code outside Rust".to_owned()),
                        _ => {}
                    }
                    if KEYWORDS.contains(&name.as_str()) {
                        in_use = name == "use";
                        at += 1;
                        continue;
                    }
                    let mut routes = Vec::new();
                    at = read_path(&tokens, at, &[], &mut routes);
                    let generic = is_punct(tokens.get(at), '<');
                    let called = is_punct(tokens.get(at), '!').then(|| tokens.get(at + 1)).flatten();
                    for route in routes {
                        self.route(&route, in_use, generic);
                        if let Some(TokenTree::Group(arguments)) = called {
                            self.a_macro(&route.last, arguments);
                        }
                    }
                    in_use = false;
                }
                TokenTree::Punct(punct) => {
                    // `use ::std::fs` is still in use.
                    in_use = in_use && punct.as_char() == ':';
                    at += 1;
                }
                TokenTree::Literal(_) => at += 1,
            }
        }
    }

    /// Judges one path. `in_use`: it is imported; `generic`: `<` follows it.
    fn route(&mut self, route: &Route, in_use: bool, generic: bool) {
        let segments: Vec<&str> = route.segments.iter().map(String::as_str).collect();
        let shown = segments.join("::");
        let from_std = matches!(segments.first(), Some(&("std" | "core" | "alloc")));
        if let Some((name, why)) = NAMES.iter().find(|(name, _)| segments.contains(name)) {
            self.finding(&route.last, format!("`{name}`: {why}"));
        } else if from_std {
            if let Some(why) = in_standard_library(&segments, route.glob, in_use) {
                self.finding(&route.last, format!("`{shown}`: {why}"));
            }
        } else if segments.ends_with(&["Instant", "now"]) {
            self.finding(&route.last, format!("`{shown}`: the clock; time comes in as `Now`"));
        } else if generic && segments.last() == Some(&"Future") {
            self.finding(&route.last, format!("`{shown}`: async"));
        } else if (in_use || segments.len() > 1)
            && segments.first().is_some_and(|root| dependencies::is_forbidden(root))
        {
            self.finding(&route.last, format!("`{shown}`: that crate may not be part of the core"));
        }
    }

    fn a_macro(&mut self, name: &Ident, arguments: &Group) {
        let text = name.to_string();
        if let Some((_, why)) = MACROS.iter().find(|(forbidden, _)| text == *forbidden) {
            self.finding(name, format!("`{text}!`: {why}"));
        } else if text == "env" {
            let variable = arguments.stream().into_iter().next().and_then(|token| string(&token));
            if !variable.is_some_and(|variable| variable.starts_with("CARGO_")) {
                self.finding(name, "`env!`: the environment, but for what cargo sets".to_owned());
            }
        } else if text == "include_str" || text == "include_bytes" {
            match included(arguments) {
                None => self.finding(name, format!("`{text}!`: name the file by one string literal")),
                Some((from_crate_root, path)) => {
                    let folder = if from_crate_root { Some(self.crate_root) } else { self.file.parent() };
                    // From the root, the path starts with a slash that means the folder itself.
                    let path = if from_crate_root { path.trim_start_matches('/') } else { &path };
                    let target = without_dots(&folder.unwrap_or(self.crate_root).join(path));
                    if !target.starts_with(self.crate_root) {
                        self.finding(name, format!("`{text}!`: {path} lies outside the core"));
                    }
                }
            }
        }
    }

    /// A file behind `path` would be looked for where it is not.
    fn attribute(&mut self, group: &Group) {
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        let Some(TokenTree::Ident(name)) = tokens.first() else { return };
        let names_path = match name.to_string().as_str() {
            "path" => true,
            "cfg_attr" => has_ident(group.stream(), "path"),
            _ => false,
        };
        if names_path {
            self.finding(name, "`path`: a module whose file this check does not follow".to_owned());
        }
    }
}

/// Why this path of the standard library may not be in the core.
fn in_standard_library(segments: &[&str], glob: bool, in_use: bool) -> Option<String> {
    let root = *segments.first()?;
    match (segments.get(1).copied(), segments.get(2).copied()) {
        (None, _) if glob || in_use => Some("all of it; name the item".to_owned()),
        (Some("net"), _) if root == "std" => Some("sockets; addresses as values are in core::net".to_owned()),
        (Some("time"), Some("Instant")) => Some("the clock; take `crate::time::Instant`".to_owned()),
        (Some("time"), None) => Some("the clock is in it; name the item, as std::time::Duration".to_owned()),
        (Some("collections" | "sync" | "hash"), None) if glob => {
            Some("things that the core may not use are in it; name the item".to_owned())
        }
        (Some(module), _) => {
            MODULES.iter().find(|(forbidden, _)| module == *forbidden).map(|(_, why)| (*why).to_owned())
        }
        _ => None,
    }
}

/// Reads the path that starts with the identifier or brace at `at`, and returns where it ends.
fn read_path(tokens: &[TokenTree], mut at: usize, before: &[String], routes: &mut Vec<Route>) -> usize {
    let mut segments = before.to_vec();
    let mut last = None;
    let mut glob = false;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => {
                let name = ident.to_string();
                // `std::io::{self}` is `std::io`.
                if name != "self" || segments.is_empty() {
                    segments.push(name.trim_start_matches("r#").to_owned());
                }
                last = Some(ident.clone());
                at += 1;
            }
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && last.is_some() => {
                glob = true;
                at += 1;
                break;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace && last.is_some() => {
                branches(group, &segments, routes);
                return at + 1;
            }
            _ => break,
        }
        if is_path_separator(tokens.get(at)) {
            at += 2;
        } else {
            break;
        }
    }
    if let Some(last) = last {
        routes.push(Route { segments, last, glob });
    }
    at
}

/// The paths within the braces of `before::{…}`.
fn branches(group: &Group, before: &[String], routes: &mut Vec<Route>) {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    for branch in tokens.split(|token| is_punct(Some(token), ',')) {
        // `{*}` has no identifier of its own to point at: the brace is forbidden with what stands before it.
        if is_punct(branch.first(), '*') {
            let star = Ident::new("glob", group.span());
            routes.push(Route { segments: before.to_vec(), last: star, glob: true });
        } else {
            read_path(branch, 0, before, routes);
        }
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Whether this is the first half of `::`, and not the colon of `field: ::std::…`.
fn is_path_separator(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint)
}

fn has_ident(tokens: TokenStream, wanted: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == wanted,
        TokenTree::Group(group) => has_ident(group.stream(), wanted),
        _ => false,
    })
}

/// The value of a string literal.
fn string(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else { return None };
    syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|literal| literal.value())
}

/// The path given to `include_str!`: whether it starts at the crate's root, and the rest. `None` if it is neither one
/// string nor `concat!` of the root and strings. A macro's `$name` within it counts as a plain name.
fn included(arguments: &Group) -> Option<(bool, String)> {
    let tokens: Vec<TokenTree> = arguments.stream().into_iter().collect();
    let relative = |tokens: &[TokenTree]| match tokens {
        [one] => string(one),
        [one, comma] if is_punct(Some(comma), ',') => string(one),
        _ => None,
    };
    if let Some(path) = relative(&tokens) {
        return Some((false, path));
    }
    let [TokenTree::Ident(name), bang, TokenTree::Group(pieces), ..] = tokens.as_slice() else { return None };
    if name != "concat" || !is_punct(Some(bang), '!') {
        return None;
    }
    let pieces: Vec<TokenTree> = pieces.stream().into_iter().collect();
    let mut pieces = pieces.split(|token| is_punct(Some(token), ',')).filter(|piece| !piece.is_empty());
    match pieces.next()? {
        [TokenTree::Ident(env), bang, TokenTree::Group(variable)]
            if env == "env"
                && is_punct(Some(bang), '!')
                && relative(&variable.stream().into_iter().collect::<Vec<_>>())? == "CARGO_MANIFEST_DIR" => {}
        _ => return None,
    }
    let mut path = String::new();
    for piece in pieces {
        match piece {
            [one] => path += &string(one)?,
            [dollar, TokenTree::Ident(name)] if is_punct(Some(dollar), '$') => path += &name.to_string(),
            _ => return None,
        }
    }
    path.starts_with('/').then_some((true, path))
}

/// The path without `.` and `..`, which need not exist.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<Finding> {
        let tokens = text.parse().expect("the sample has tokens");
        judge(tokens, &[], Path::new("/somewhere/core/src/chain/names.rs"), Path::new("/somewhere/core"))
    }

    /// Every rule broken: the sample, and what the finding must say.
    const BROKEN: &[(&str, &str)] = &[
        // Time.
        ("fn f() { let t = std::time::Instant::now(); }", "the clock"),
        ("fn f(t: std::time::Instant) {}", "the clock"),
        ("use std::time::{Duration, Instant};", "the clock"),
        ("use core::time as t;", "the clock"),
        ("use std::time::*;", "the clock"),
        ("use std::time::{self, Duration};", "the clock"),
        ("fn f() { let t = Instant::now(); }", "the clock"),
        ("fn f() { let t = web_time::Instant::now(); }", "the clock"),
        ("fn f() { let t = SystemTime::now(); }", "the clock"),
        ("use std::time::UNIX_EPOCH;", "the clock"),
        ("fn f() { unsafe { core::arch::x86_64::_rdtsc() } }", "the clock"),
        // Threads.
        ("use std::thread;", "threads"),
        ("fn f() { ::std::thread::spawn(|| ()); }", "threads"),
        ("use std::sync::mpsc::channel;", "threads"),
        ("use std::sync::{Arc, Condvar};", "threads"),
        ("fn f(b: &std::sync::Barrier) {}", "threads"),
        ("use std::sync::*;", "name the item"),
        ("thread_local! { static X: u8 = 1; }", "threads"),
        // Files, streams, processes, environment, the system.
        ("use std::fs::File;", "files"),
        ("use std::{fmt, fs};", "files"),
        ("use std::{fmt::{self, Write}, collections::BTreeMap, io::{Read}};", "files and streams"),
        ("use std::io::prelude::*;", "files and streams"),
        ("fn f() { std::process::abort() }", "processes"),
        ("fn f() { let x = std::env::var(\"X\"); }", "environment"),
        ("use std::backtrace::Backtrace;", "environment"),
        ("use std::os::fd::RawFd;", "the operating system"),
        ("const X: Option<&str> = option_env!(\"X\");", "environment"),
        ("const X: &str = env!(\"HOME\");", "environment"),
        // Sockets.
        ("use std::net::TcpStream;", "sockets"),
        ("fn f(a: std::net::IpAddr) {}", "core::net"),
        ("struct S { a: ::std::net::UdpSocket }", "sockets"),
        ("use ::std::net;", "sockets"),
        // Randomness.
        ("use std::collections::HashMap;", "BTreeMap"),
        ("use alloy_primitives::map::HashSet;", "BTreeSet"),
        ("use std::collections::hash_map::Entry;", "random seed"),
        ("use std::collections::*;", "name the item"),
        ("fn f() { let s = std::hash::RandomState::new(); }", "random seed"),
        ("use rand::Rng;", "may not be part"),
        ("use rand;", "may not be part"),
        ("fn f() { getrandom::fill(&mut [0]); }", "may not be part"),
        ("fn f() { let r = thread_rng(); }", "ambient randomness"),
        ("fn f() { let r = k256::elliptic_curve::rand_core::OsRng; }", "ambient randomness"),
        ("use std::random::random;", "ambient randomness"),
        // Async.
        ("async fn f() {}", "async"),
        ("fn f() { let x = async { 1 }; }", "async"),
        ("fn f() { let x = async move || 1; }", "async"),
        ("fn f() { g().await; }", "async"),
        ("use core::future::ready;", "async"),
        ("use std::task::Poll;", "async"),
        ("fn f() -> impl Future<Output = u8> { g() }", "async"),
        ("fn f(x: impl IntoFuture) {}", "async"),
        ("use tokio::sync::Mutex;", "may not be part"),
        ("use futures::{StreamExt};", "may not be part"),
        ("use futures_timer::Delay;", "may not be part"),
        ("use libp2p::PeerId;", "may not be part"),
        // Logging.
        ("fn f() { println!(\"x\"); }", "logging"),
        ("fn f() { std::eprintln!(\"x\"); }", "logging"),
        ("fn f() { print!(\"x\"); eprint(); }", "logging"),
        ("fn f() { dbg!(1); }", "logging"),
        ("fn f() { tracing::info!(\"x\"); }", "may not be part"),
        ("use log::warn;", "may not be part"),
        // Whatever could hide the above.
        ("extern \"C\" { fn f(); }", "extern"),
        ("extern crate std as s;", "extern"),
        ("use std as s;", "name the item"),
        ("use std::*;", "name the item"),
        ("use std::{*};", "name the item"),
        ("fn f() { unsafe { core::arch::asm!(\"rdtsc\") } }", "machine code"),
        ("#[path = \"../../elsewhere.rs\"] mod x;", "does not follow"),
        ("#[cfg_attr(not(test), path = \"x.rs\")] mod x;", "does not follow"),
        ("include!(\"x.rs\");", "does not see"),
        ("const X: &str = include_str!(\"../../../secret\");", "outside the core"),
        ("const X: &[u8] = include_bytes!(\"/etc/hostname\");", "outside the core"),
        (
            "const X: &str = include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../x\"));",
            "outside the core",
        ),
        ("const X: &str = include_str!(concat!(\"../\", \"x\"));", "string literal"),
        // Within macros, whole or in part.
        ("fn f() { assert!(std::fs::exists(\"x\")); }", "files"),
        ("macro_rules! m { () => { use std::{net::UdpSocket}; } }", "sockets"),
        ("fn f() { vec![format!(\"{:?}\", Instant::now())]; }", "the clock"),
        ("macro_rules! m { ($x:expr) => { async { $x } } }", "async"),
        ("macro_rules! m { ($n:literal) => { include_str!(concat!(\"../\", $n)) } }", "string literal"),
    ];

    #[test]
    fn every_rule_finds_its_breach_and_nothing_else() {
        for (text, says) in BROKEN {
            let found = findings(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found.iter().all(|finding| finding.what.contains(says)), "{text}: {found:?}");
        }
    }

    #[test]
    fn every_module_name_and_macro_of_the_tables_is_found() {
        for root in ["std", "core", "alloc"] {
            for (module, why) in MODULES {
                for text in [format!("use {root}::{module};"), format!("fn f() {{ {root}::{module}::x(); }}")]
                {
                    assert!(findings(&text).iter().all(|finding| finding.what.ends_with(why)), "{text}");
                    assert_eq!(findings(&text).len(), 1, "{text}");
                }
            }
        }
        for (name, why) in NAMES {
            let found = findings(&format!("fn f() {{ a::{name}::b(); }}"));
            assert_eq!(found, [Finding { line: 1, what: format!("`{name}`: {why}") }]);
        }
        for (name, why) in MACROS {
            let found = findings(&format!("fn f() {{ {name}!(x); }}"));
            assert_eq!(found, [Finding { line: 1, what: format!("`{name}!`: {why}") }]);
        }
    }

    #[test]
    fn pure_code_is_left_alone() {
        for text in [
            "use std::time::Duration;",
            "use std::{collections::{BTreeMap, BTreeSet, VecDeque}, fmt, sync::Arc};",
            "use std::collections::btree_map::Entry;",
            "use std::sync::{LazyLock, OnceLock};",
            "use core::net::IpAddr;",
            "use crate::time::{Instant, Now};",
            "fn f(now: Now) -> Instant { now.monotonic }",
            "use std::fmt::{self, Write as _};",
            "use super::*;",
            "/// ```\n/// println!(\"{}\", std::env::args().count());\n/// ```\nfn f() {}",
            "// std::fs::read\nfn f() { let s = \"std::thread::spawn(async {})\"; }",
            "fn f() { let s = r#\"HashMap\"#; let c = 'a'; }",
            "fn f(log: &mut Vec<u8>, time: u64) { log.push(1); if time != 2 { log.clear(); } }",
            "enum Verdict { Future, Past } fn f() { g(Verdict::Future); }",
            "fn print(x: u8) {} fn f() { print(1); let join = |x| x; join(2); }",
            "const X: &str = include_str!(\"../../data/chains.json\");",
            "const X: &[u8] = include_bytes!(\"../../fixtures/a.json\",);",
            "const X: &str = include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/fixtures/a.json\"));",
            "macro_rules! m { ($n:literal) => { \
                include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/fixtures/\", $n, \".json\")) } }",
            "const V: &str = env!(\"CARGO_PKG_VERSION\");",
            "#[derive(Hash, serde::Serialize)] #[serde(rename_all = \"camelCase\")] struct S;",
            "#[cfg(feature = \"std\")] fn f<'a>(x: &'a u8) -> impl Fn() + use<'a> { || () }",
            "fn f() { let a = b * c; let d = x as u32; match e { F { g } => {} } }",
            "use rand_core::CryptoRng;",
        ] {
            assert_eq!(findings(text), [], "{text}");
        }
    }

    #[test]
    fn skipped_ranges_are_not_judged_and_lines_are_counted() {
        let text = "use std::fs;\n\nuse std::thread;\n";
        let tokens = text.parse().expect("the sample has tokens");
        let first_line = 0..text.find('\n').expect("it has lines");
        let found = judge(
            tokens,
            std::slice::from_ref(&first_line),
            Path::new("/core/src/lib.rs"),
            Path::new("/core"),
        );
        assert_eq!(found, [Finding { line: 3, what: "`std::thread`: threads".to_owned() }]);
    }
}
