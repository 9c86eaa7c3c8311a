//! Checks the lengths of lines, functions and files, so that each can be read at one go.
//!
//! A line may be longer if it is one literal that has no space to break it at, such as a node's
//! record.

use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Maximum length of a line, in characters.
const COLUMNS: usize = 100;
/// Maximum length of a file, in lines.
const FILE: usize = 600;
/// Maximum length of a function with its signature, in lines.
const FUNCTION: usize = 80;

const GENERATED: &str = "it is generated";
const LIST: &str = "it is a list of cases, read one by one";
const ACTIONS: &str = "it is one `match` with a short arm for each kind of action";

/// Longer files, with the reason.
const LONG_FILES: &[(&str, &str)] = &[("core/src/chain/networks/table.rs", GENERATED)];

/// Longer functions, with the reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("core/src/node/tests/conversation.rs", "perform", ACTIONS),
    ("tests/fuzz/src/node.rs", "happen", ACTIONS),
    ("tests/fuzz/src/peers.rs", "manager", ACTIONS),
    ("tests/fuzz/src/range.rs", "client", ACTIONS),
    ("tests/fuzz/src/sync.rs", "client", ACTIONS),
    ("tests/fuzz/src/sync.rs", "server", ACTIONS),
    ("tests/interop/bytes.rs", "cases", LIST),
    ("tests/interop/kona_validator.rs", "differences", LIST),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Collects the Rust files below `folder`, but not built or foreign ones.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "dist"].contains(&&*name) && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("text");
            let path = path.strip_prefix(root()).expect("below the root");
            found.push((path.to_string_lossy().replace('\\', "/"), text));
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in ["core", "native", "web", "tests"] {
        sources(&root().join(package), &mut found);
    }
    assert!(found.len() > 100, "the search finds the sources");
    found
}

/// Returns `true` if the line is one literal that has no space, with at most a comma around it.
fn is_unbreakable(line: &str) -> bool {
    let line = line.trim().trim_end_matches(',');
    let literal = line.trim_start_matches(['b', 'r', '#']).trim_end_matches('#');
    let inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains([' ', '"']))
}

/// Functions of a file that are too long: their names and lengths.
#[derive(Default)]
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn check(&mut self, name: &syn::Ident, signature: &syn::Signature, body: &syn::Block) {
        let lines = body.span().end().line - signature.span().start().line + 1;
        if lines > FUNCTION {
            self.0.push((name.to_string(), lines));
        }
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.check(&item.sig.ident, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.check(&item.sig.ident, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.check(&item.sig.ident, &item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn long_functions(text: &str) -> Vec<(String, usize)> {
    // Parsing takes most of the time.
    if text.lines().count() <= FUNCTION {
        return Vec::new();
    }
    let mut functions = Functions::default();
    functions.visit_file(&syn::parse_file(text).expect("Rust"));
    functions.0
}

#[test]
fn no_line_is_too_long() {
    let mut long = Vec::new();
    for (path, text) in all_sources() {
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS && !is_unbreakable(line) {
                long.push(format!("{path}:{}", number + 1));
            }
        }
    }
    assert!(long.is_empty(), "more than {COLUMNS} columns:\n{}", long.join("\n"));
}

#[test]
fn only_the_listed_files_and_functions_are_too_long() {
    let (mut files, mut functions) = (Vec::new(), Vec::new());
    for (path, text) in all_sources() {
        let lines = text.lines().count();
        if lines > FILE {
            files.push(path.clone());
        }
        functions.extend(long_functions(&text).into_iter().map(|(name, _)| (path.clone(), name)));
    }
    files.sort();
    functions.sort();
    let listed: Vec<_> = LONG_FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(files, listed, "files of more than {FILE} lines");
    let listed = LONG_FUNCTIONS.iter().map(|(path, name, _)| ((*path).into(), (*name).into()));
    assert_eq!(functions, listed.collect::<Vec<_>>(), "functions of more than {FUNCTION} lines");
}

#[test]
fn only_a_literal_without_a_space_is_unbreakable() {
    assert!(is_unbreakable("    \"enr:-J64QBwbPjP\","));
    assert!(is_unbreakable("r#\"{}\"#"));
    for line in ["\"two words\",", "let a = \"enr:\";", "\"one\", \"two\"", "// a-long-word", ""] {
        assert!(!is_unbreakable(line), "{line}");
    }
}

#[test]
fn a_function_is_measured_with_its_signature() {
    let function = |lines: usize| format!("impl A {{ fn f(\n) {{\n{}}}\n}}", "\n".repeat(lines));
    assert_eq!(long_functions(&function(FUNCTION - 3)), []);
    assert_eq!(long_functions(&function(FUNCTION - 2)), [("f".to_owned(), FUNCTION + 1)]);
}
