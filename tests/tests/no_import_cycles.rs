//! Checks that the imports of the shells' crates have no cycle, neither between the top-level
//! modules of one crate nor between its files: each part can be understood, and moved to a crate of
//! its own, with only those below it.
//!
//! A file depends on the files whose items its paths name, re-exports resolved. A re-export of an
//! item that the file does not use itself is not a dependency. Tests may import anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};

/// Path of a module below its crate; empty for the crate's root.
type Module = Vec<String>;
/// Dependencies by dependent.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Names in one file.
#[derive(Default)]
struct Names {
    /// Imported paths, each with the name that it has here, and whether it is exported again.
    uses: Vec<(Vec<String>, String, bool)>,
    /// All other paths.
    paths: Vec<Vec<String>>,
    idents: BTreeSet<String>,
}

impl Names {
    fn imports(&mut self, tree: &syn::UseTree, mut before: Vec<String>, is_public: bool) {
        let (ident, name) = match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                return self.imports(&path.tree, before, is_public);
            }
            syn::UseTree::Group(group) => {
                let each = group.items.iter();
                return each.for_each(|item| self.imports(item, before.clone(), is_public));
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            syn::UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
            syn::UseTree::Glob(_) => ("*".into(), "*".into()),
        };
        if ident != "self" {
            before.push(ident);
        }
        self.uses.push((before, name, is_public));
    }
}

impl<'a> Visit<'a> for Names {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.imports(&item.tree, Vec::new(), is_public);
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        // `cfg(test)`, alone or with a feature: `cfg(all(test, …))`.
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Meta>().is_ok_and(|meta| match meta {
                    syn::Meta::Path(path) => path.is_ident("test"),
                    syn::Meta::List(list) => {
                        list.path.is_ident("all") && list.tokens.to_string().starts_with("test ")
                    }
                    syn::Meta::NameValue(_) => false,
                })
        };
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        // A single name can be a variable.
        if path.segments.len() > 1 {
            let names = path.segments.iter().map(|segment| segment.ident.to_string());
            self.paths.push(names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, ident: &'a proc_macro2::Ident) {
        self.idents.insert(ident.to_string());
    }
}

fn read(folder: &Path, at: &Module, files: &mut BTreeMap<Module, Names>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_face = ["mod", "lib", "main"].contains(&stem.as_str());
        let module: Module = at.iter().cloned().chain((!is_face).then_some(stem)).collect();
        if module.last().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            read(&path, &module, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let mut names = Names::default();
            names.visit_file(&syn::parse_file(&text).expect("Rust"));
            files.insert(module, names);
        }
    }
}

/// Returns the file that defines what `path` names in the file `at`; `None` for other crates.
fn target(files: &BTreeMap<Module, Names>, at: &Module, path: &[String]) -> Option<Module> {
    let mut found = at.clone();
    let mut rest = path.iter().cloned().collect::<std::collections::VecDeque<_>>();
    match path.first()?.as_str() {
        "crate" => found.clear(),
        "self" | "super" => {}
        _ if files.contains_key(&[&at[..], &path[..1]].concat()) => {}
        _ => return None,
    }
    for _ in 0..100 {
        match rest.front().map(String::as_str) {
            Some("crate" | "self") => {}
            Some("super") => drop(found.pop()),
            Some(name) => {
                let below = [&found[..], &[name.to_owned()]].concat();
                let again = files[&found].uses.iter().find(|(_, here, _)| here == name);
                if files.contains_key(&below) {
                    found = below;
                } else if let Some((path, ..)) = again.filter(|_| found != *at) {
                    let rest = path.iter().chain(rest.iter().skip(1)).cloned();
                    return target(files, &found, &rest.collect::<Vec<_>>());
                } else {
                    break;
                }
            }
            None => break,
        }
        rest.pop_front();
    }
    Some(found)
}

/// Returns the part of a graph that is on cycles or between two.
fn cycles(mut graph: Graph) -> Graph {
    loop {
        let used: BTreeSet<String> = graph.values().flatten().cloned().collect();
        let ends: BTreeSet<String> = graph.keys().cloned().collect();
        let before = graph.len();
        graph.retain(|name, below| {
            below.retain(|other| ends.contains(other));
            used.contains(name) && !below.is_empty()
        });
        if graph.len() == before {
            return graph;
        }
    }
}

/// Returns the dependencies between the files and between the top-level modules of the crate in a
/// folder below the workspace's root.
fn imports(folder: &str) -> (Graph, Graph) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("src");
    let mut files = BTreeMap::new();
    read(&source, &Vec::new(), &mut files);
    let (mut by_file, mut by_module) = (Graph::new(), Graph::new());
    for (at, names) in &files {
        let used =
            names.uses.iter().filter(|(_, name, again)| !again || names.idents.contains(name));
        for path in used.map(|(path, ..)| path).chain(&names.paths) {
            let Some(found) = target(&files, at, path).filter(|found| found != at) else {
                continue;
            };
            by_file.entry(at.join("/")).or_default().insert(found.join("/"));
            if let (Some(one), Some(other)) = (at.first(), found.first())
                && one != other
            {
                by_module.entry(one.clone()).or_default().insert(other.clone());
            }
        }
    }
    (by_file, by_module)
}

#[test]
fn neither_modules_nor_files_of_a_shell_import_each_other_in_a_circle() {
    // For each crate, two files: the first imports the second.
    let crates = [
        ("native", "cli", "cli/settings"),
        ("native/node", "host/start", "host/storage"),
        ("native/store", "open", "held"),
        ("native/wire", "mesh/streams", "mesh/link"),
        ("web", "driver", "driver/known"),
    ];
    for (folder, one, other) in crates {
        let (by_file, by_module) = imports(folder);
        assert!(by_file[one].contains(other), "the search is blind in {folder}: {by_file:?}");
        assert_eq!(cycles(by_module), Graph::new(), "{folder}");
        assert_eq!(cycles(by_file), Graph::new(), "{folder}");
    }
    let (_, by_module) = imports("native/node");
    assert!(by_module["host"].contains("key"), "the search is blind: {by_module:?}");
}

#[test]
fn a_cycle_is_found_among_others() {
    let of = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (one, other) in edges {
            graph.entry((*one).into()).or_default().insert((*other).into());
        }
        graph
    };
    let circle = [("b", "c"), ("c", "d"), ("d", "b")];
    let all = [&circle[..], &[("a", "b"), ("d", "e")]].concat();
    assert_eq!(cycles(of(&all)), of(&circle));
    assert_eq!(cycles(of(&all[1..])), Graph::new());
}
