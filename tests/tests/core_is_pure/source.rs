//! Which source belongs to the core when it is not being tested.
//!
//! The walk starts at `src/lib.rs` and follows `mod name;` as the compiler does. What can only exist under
//! `cfg(test)` is left out: a predicate that is false whenever `test` is, and no other. A file that no module
//! declares is a finding too, since nothing would check it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Meta};

use crate::rules;

/// What the walk over a crate found.
#[derive(Debug)]
pub(crate) struct Report {
    /// How many files were judged.
    pub(crate) files: usize,
    /// One line for each violation: `file:line: what`.
    pub(crate) findings: Vec<String>,
}

/// Judges every file that `crate_root/src/lib.rs` reaches.
pub(crate) fn check_crate(crate_root: &Path) -> Result<Report, String> {
    let mut walk = Walk {
        crate_root: crate_root.to_path_buf(),
        seen: BTreeSet::new(),
        report: Report { files: 0, findings: Vec::new() },
    };
    let source = crate_root.join("src");
    walk.file(&source.join("lib.rs"), &source, false)?;
    for file in rust_files(&source)? {
        if !walk.seen.contains(&file) {
            walk.finding(&file, 1, "no module declares this file: declare it or delete it");
        }
    }
    Ok(walk.report)
}

/// Every `.rs` file under a folder.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

struct Walk {
    crate_root: PathBuf,
    seen: BTreeSet<PathBuf>,
    report: Report,
}

impl Walk {
    fn finding(&mut self, file: &Path, line: usize, what: &str) {
        let file = file.strip_prefix(&self.crate_root).unwrap_or(file);
        self.report.findings.push(format!("{}:{line}: {what}", file.display()));
    }

    /// Judges one file and goes on to its modules, whose files lie in `folder`.
    fn file(&mut self, file: &Path, folder: &Path, only_tests: bool) -> Result<(), String> {
        self.seen.insert(file.to_path_buf());
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let parsed = syn::parse_file(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let only_tests = only_tests || parsed.attrs.iter().any(only_in_tests);
        if !only_tests {
            self.report.files += 1;
            for finding in judge(&text, &parsed, file, &self.crate_root)? {
                self.finding(file, finding.line, &finding.what);
            }
        }
        self.modules(&parsed.items, file, folder, only_tests)
    }

    fn modules(
        &mut self,
        items: &[syn::Item],
        file: &Path,
        folder: &Path,
        only_tests: bool,
    ) -> Result<(), String> {
        for item in items {
            let syn::Item::Mod(module) = item else { continue };
            let only_tests = only_tests || module.attrs.iter().any(only_in_tests);
            let name = module.ident.to_string();
            let name = name.trim_start_matches("r#");
            let below = folder.join(name);
            if let Some((_, items)) = &module.content {
                self.modules(items, file, &below, only_tests)?;
                continue;
            }
            let candidates = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
            match candidates.iter().find(|candidate| candidate.is_file()) {
                Some(found) => self.file(found, &below, only_tests)?,
                None => {
                    let line = module.ident.span().start().line;
                    self.finding(file, line, &format!("module `{name}` has no file where it belongs"));
                }
            }
        }
        Ok(())
    }
}

/// Judges one file's text. `file` and `crate_root` say where relative includes lead.
fn judge(
    text: &str,
    parsed: &syn::File,
    file: &Path,
    crate_root: &Path,
) -> Result<Vec<rules::Finding>, String> {
    let mut test_only = TestOnly(Vec::new());
    test_only.visit_file(parsed);
    let tokens = text.parse().map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(rules::judge(tokens, &test_only.0, file, crate_root))
}

/// The byte ranges of what exists only under `cfg(test)`.
struct TestOnly(Vec<Range<usize>>);

impl TestOnly {
    /// Whether the node is only for tests; its range is then noted.
    fn notes(&mut self, attributes: &[Attribute], node: &impl Spanned) -> bool {
        let only = attributes.iter().any(only_in_tests);
        if only {
            self.0.push(node.span().byte_range());
        }
        only
    }
}

impl<'ast> Visit<'ast> for TestOnly {
    fn visit_item(&mut self, node: &'ast syn::Item) {
        if !self.notes(item_attributes(node), node) {
            visit::visit_item(self, node);
        }
    }

    fn visit_impl_item(&mut self, node: &'ast syn::ImplItem) {
        let attributes: &[Attribute] = match node {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !self.notes(attributes, node) {
            visit::visit_impl_item(self, node);
        }
    }

    fn visit_trait_item(&mut self, node: &'ast syn::TraitItem) {
        let attributes: &[Attribute] = match node {
            syn::TraitItem::Const(item) => &item.attrs,
            syn::TraitItem::Fn(item) => &item.attrs,
            syn::TraitItem::Type(item) => &item.attrs,
            syn::TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !self.notes(attributes, node) {
            visit::visit_trait_item(self, node);
        }
    }

    fn visit_local(&mut self, node: &'ast syn::Local) {
        if !self.notes(&node.attrs, node) {
            visit::visit_local(self, node);
        }
    }

    fn visit_stmt_macro(&mut self, node: &'ast syn::StmtMacro) {
        if !self.notes(&node.attrs, node) {
            visit::visit_stmt_macro(self, node);
        }
    }

    fn visit_expr_block(&mut self, node: &'ast syn::ExprBlock) {
        if !self.notes(&node.attrs, node) {
            visit::visit_expr_block(self, node);
        }
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if !self.notes(&node.attrs, node) {
            visit::visit_field(self, node);
        }
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        if !self.notes(&node.attrs, node) {
            visit::visit_variant(self, node);
        }
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        if !self.notes(&node.attrs, node) {
            visit::visit_arm(self, node);
        }
    }
}

fn item_attributes(item: &syn::Item) -> &[Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::TraitAlias(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether the attribute takes its item away from every build but the tests'.
fn only_in_tests(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<Meta>().is_ok_and(|predicate| without_test(&predicate) == Some(false))
}

/// The value of a `cfg` predicate in a build where `test` is false, if that alone decides it.
fn without_test(predicate: &Meta) -> Option<bool> {
    let Meta::List(list) = predicate else {
        return predicate.path().is_ident("test").then_some(false);
    };
    let parser = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
    let values: Vec<_> = list.parse_args_with(parser).ok()?.iter().map(without_test).collect();
    if list.path.is_ident("not") {
        values.first().copied().flatten().map(|value| !value)
    } else if list.path.is_ident("all") {
        values.contains(&Some(false)).then_some(false)
    } else if list.path.is_ident("any") {
        if values.contains(&Some(true)) {
            Some(true)
        } else {
            values.iter().all(|value| *value == Some(false)).then_some(false)
        }
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings_in(text: &str) -> usize {
        let parsed = syn::parse_file(text).expect("the sample is Rust");
        judge(text, &parsed, Path::new("/core/src/lib.rs"), Path::new("/core")).expect("it has tokens").len()
    }

    #[test]
    fn what_exists_only_under_test_is_left_out() {
        for text in [
            "#[cfg(test)] mod tests { use std::fs; fn f() { println!() } }",
            "#[cfg(test)] use std::fs::File;",
            "#[cfg(all(test, feature = \"x\"))] mod m { use std::net::UdpSocket; }",
            "#[cfg(all(any(test, not(not(test))), unix))] fn f() { std::process::exit(1) }",
            "#[test] fn f() { println!(\"shown\") }",
            "struct S; impl S { #[cfg(test)] fn f() { println!() } fn g() {} }",
            "trait T { #[cfg(test)] fn f() { println!() } }",
            "fn f() { #[cfg(test)] let x = std::env::var(\"X\"); }",
            "fn f() { #[cfg(test)] println!(\"x\"); }",
            "fn f() { #[cfg(test)] { println!(\"x\") } }",
            "struct S { #[cfg(test)] file: std::fs::File, }",
            "enum E { A, #[cfg(test)] B(std::fs::File), C }",
            "fn f(x: u8) { match x { #[cfg(test)] 1 => println!(), _ => {} } }",
            "mod a { mod b { #[cfg(test)] mod tests { use std::thread; } } }",
        ] {
            assert_eq!(findings_in(text), 0, "{text}");
        }
    }

    #[test]
    fn what_may_exist_without_test_is_judged() {
        for text in [
            "#[cfg(not(test))] use std::fs::File;",
            "#[cfg(any(test, feature = \"fixtures\"))] use std::fs::File;",
            "#[cfg(feature = \"test\")] use std::fs::File;",
            "#[cfg(all(unix, not(test)))] use std::fs::File;",
            "#[cfg_attr(test, derive(Debug))] struct S { file: std::fs::File }",
            "#[cfg(test)] mod tests { fn f() {} } use std::fs::File;",
            "#[cfg(test)] const A: u8 = 1; use std::fs::File;",
            "enum E { #[cfg(test)] B, C(std::fs::File) }",
            "struct S { #[cfg(test)] a: u8, file: std::fs::File }",
            "fn f() { #[cfg(test)] let x = 1; std::process::exit(1) }",
        ] {
            assert_eq!(findings_in(text), 1, "{text}");
        }
    }

    /// A crate on disk, from paths and texts.
    fn crate_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder can be made");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("folders can be made");
            fs::write(path, text).expect("files can be written");
        }
        root
    }

    fn check(files: &[(&str, &str)]) -> Report {
        check_crate(crate_of(files).path()).expect("the sample crate can be read")
    }

    #[test]
    fn the_walk_follows_modules_and_names_file_and_line() {
        let report = check(&[
            ("src/lib.rs", "mod a;\nmod b;\nmod c { mod d; }\n"),
            ("src/a.rs", "mod e;\n"),
            ("src/a/e.rs", "\n\nuse std::fs;\n"),
            ("src/b/mod.rs", "mod f;\n"),
            ("src/b/f.rs", "use std::thread;\n"),
            ("src/c/d.rs", "use std::env;\n"),
        ]);
        assert_eq!(report.files, 6);
        let places: Vec<_> = report.findings.iter().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(places, ["src/a/e.rs:3", "src/b/f.rs:1", "src/c/d.rs:1"]);
    }

    #[test]
    fn files_of_test_modules_are_left_out_with_all_below_them() {
        let report = check(&[
            ("src/lib.rs", "#[cfg(test)] mod tests;\nmod a;\n"),
            ("src/tests.rs", "mod more; use std::fs;"),
            ("src/tests/more.rs", "use std::fs;"),
            ("src/a.rs", "#![cfg(test)]\nuse std::fs;"),
        ]);
        assert_eq!((report.files, report.findings), (1, vec![]));
    }

    #[test]
    fn a_file_that_no_module_declares_and_a_module_without_a_file_are_findings() {
        let report = check(&[("src/lib.rs", "mod gone;"), ("src/stray.rs", "")]);
        assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
        assert!(report.findings.iter().any(|line| line.starts_with("src/stray.rs:1: no module declares")));
        assert!(report.findings.iter().any(|line| line.contains("`gone` has no file")));
    }

    #[test]
    fn a_crate_that_is_not_there_or_not_rust_is_an_error() {
        assert!(check_crate(Path::new("/nowhere/at/all")).is_err());
        assert!(check_crate(crate_of(&[("src/lib.rs", "fn (")]).path()).is_err());
    }
}
