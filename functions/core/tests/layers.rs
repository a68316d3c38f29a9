//! The modules of this crate read from the ground up: each imports only what is below it. `--nocapture` prints the
//! picture.
//!
//! The crate's root (`Core`, `Settings`) is what everything runs in, and is put together of everything. So it is in no
//! layer, and any module may name it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// From the ground up. The modules of a layer may import each other, but not in a circle.
const LAYERS: [(&str, &[&str]); 6] = [
    (
        "values",
        &[
            "ids",
            "scope",
            "audience",
            "checked",
            "case_folding",
            "clock",
            "denial",
            "origins",
            "error",
            "secret",
            "email",
            "unambiguous_json",
            "idempotency_key",
            "wording",
            "epoch",
            "retention",
            "trace",
            "in_flight",
            "network",
            "jwt",
            "jwk",
        ],
    ),
    ("the table", &["table", "vault", "preconditions", "paging", "listed", "audit", "control"]),
    ("who calls", &["entities", "caller", "once", "gone", "deleted"]),
    (
        "what is managed",
        &[
            "users",
            "agents",
            "client_keys",
            "api_keys",
            "app_standing",
            "apps",
            "browser_sessions",
            "issuers",
            "lookup",
            "identities",
            "servers",
            "pins",
            "delegations",
            "trail",
        ],
    ),
    ("credentials", &["tasks", "sessions", "connections", "session_grants", "mcp_sessions", "sign_in"]),
    (
        "decisions",
        &[
            "policies",
            "tokens",
            "authorizations",
            "authenticate",
            "access",
            "explain",
            "prefetch_hints",
            "bootstrap",
            "reindex",
            "seed",
            "offboarding",
            "deletion",
        ],
    ),
];

/// Folders whose files import each other in no circle either. A folder's `mod.rs` puts them together.
const WITHOUT_CIRCLES: [&str; 3] = ["connections", "tokens", "trail"];

/// Which module imports which others, and one place where it does.
type Imports = BTreeMap<String, BTreeMap<String, String>>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            sources(&path, found);
        } else if !matches!(name, "tests" | "fuzzing" | "fixture") {
            found.push(path);
        }
    }
}

/// The first names of all paths that begin with `root` (`crate::`, `super::`), with their lines.
fn named(text: &str, root: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices(root) {
        let is_whole = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + root.len()..];
        let tops = if is_whole { first_names(rest) } else { Vec::new() };
        named.extend(tops.into_iter().map(|top| (line, top)));
    }
    named
}

/// `a::b` names `a`; `{a::b, c::{d, e}}` names `a` and `c`.
fn first_names(path: &str) -> Vec<String> {
    let first =
        |path: &str| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![first(path)] };
    let (mut names, mut depth, mut begins) = (Vec::new(), 1, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && c == ',' {
            names.push(first(group[begins..at].trim_start()));
            begins = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// A file without its comments and its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    code.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

fn add(imports: &mut Imports, from: &str, to: &str, place: String) {
    imports.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert(place);
}

/// Imports among the modules of the crate, and among the files of each folder.
fn imports() -> (Imports, BTreeMap<String, Imports>) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let (mut crate_wide, mut folders) = (Imports::new(), BTreeMap::<String, Imports>::new());
    for path in files {
        let place = path.strip_prefix(&src).unwrap().with_extension("");
        let parts: Vec<&str> = place.iter().map(|part| part.to_str().unwrap()).collect();
        let top = parts[0];
        let at = |line: usize| format!("{}:{line}", path.strip_prefix(&src).unwrap().display());
        let text = code(&path);
        if top != "lib" {
            crate_wide.entry(top.to_owned()).or_default();
        }
        for (line, name) in named(&text, "crate::") {
            // What begins with an upper-case letter is of the root.
            if top != "lib" && name != top && name != "fresh_id" && name.starts_with(char::is_lowercase) {
                add(&mut crate_wide, top, &name, at(line));
            }
        }
        if let [folder, file] = parts[..]
            && file != "mod"
        {
            for (line, name) in named(&text, "super::") {
                let inner = folders.entry(folder.to_owned()).or_default();
                if name.starts_with(char::is_lowercase)
                    && src.join(folder).join(format!("{name}.rs")).exists()
                {
                    add(inner, file, &name, at(line));
                }
            }
        }
    }
    (crate_wide, folders)
}

/// Some circle, if there is one.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    fn visit(at: &str, imports: &Imports, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(begin) = way.iter().position(|seen| seen == at) {
            way.drain(..begin);
            return true;
        }
        if done.contains(at) {
            return false;
        }
        way.push(at.to_owned());
        let next = imports.get(at).into_iter().flat_map(BTreeMap::keys);
        for to in next {
            if visit(to, imports, way, done) {
                return true;
            }
        }
        way.pop();
        done.insert(at.to_owned());
        false
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    imports.keys().any(|from| visit(from, imports, &mut way, &mut done)).then_some(way)
}

#[test]
fn each_module_imports_only_what_is_below_it() {
    let (imports, _) = imports();
    let layer = |module: &str| LAYERS.iter().position(|(_, modules)| modules.contains(&module));
    let mut wrong = Vec::new();
    for (from, targets) in &imports {
        let Some(of) = layer(from) else {
            wrong.push(format!("{from} is in no layer"));
            continue;
        };
        for (to, place) in targets {
            match layer(to) {
                Some(below) if below <= of => {}
                Some(_) => {
                    wrong.push(format!("{place}: {from} must not import {to}, which is of a higher layer"));
                }

                None => wrong.push(format!("{place}: {from} imports {to}, which is in no layer")),
            }
        }
    }
    for (name, modules) in LAYERS.iter().rev() {
        println!("{name}");
        for module in *modules {
            let targets: Vec<&str> =
                imports.get(*module).into_iter().flatten().map(|(to, _)| &**to).collect();
            println!("    {module:14} {}", targets.join(", "));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(circle(&imports), None, "modules import each other in a circle");
}

#[test]
fn the_files_of_a_folder_import_each_other_in_no_circle() {
    let (_, folders) = imports();
    for folder in WITHOUT_CIRCLES {
        assert_eq!(circle(&folders[folder]), None, "{folder}");
    }
}

#[test]
fn every_way_of_naming_a_module_is_read() {
    for (text, tops) in [
        ("use crate::a::B;", vec!["a"]),
        ("use crate::{\n    Core,\n    a::{B, c::D},\n    e,\n};", vec!["Core", "a", "e"]),
        ("let x = crate::a::b();", vec!["a"]),
        ("fn f(x: &crate::a::B) -> crate::c::D {}", vec!["a", "c"]),
        ("use other_crate::a;", vec![]),
    ] {
        let read: Vec<String> = named(text, "crate::").into_iter().map(|(_, top)| top).collect();
        assert_eq!(read, tops, "{text}");
    }
    let imports = |edges: &[(&str, &str)]| {
        let mut imports = Imports::new();
        for (from, to) in edges {
            add(&mut imports, from, to, String::new());
        }
        imports
    };
    assert_eq!(circle(&imports(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(circle(&imports(&[("a", "b"), ("b", "c"), ("c", "b")])), Some(vec!["b".into(), "c".into()]));
}
