//! The documents: each relative link leads to a file and a heading that exist, each test that a document names exists, and
//! the two documents that a newcomer reads first stay short.
//!
//! Every `*.md` of the repository is read. Of a document only inline links (`[text](target)`) and reference
//! definitions (`[name]: target`) are looked at, outside of code. Anchors are compared with the headings as GitHub
//! names them. Links to other hosts are not followed.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fs,
    path::{Component, Path, PathBuf},
};

use deputize_api::reason::Reason;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The most bytes that a document may have.
const SIZES: [(&str, usize); 2] = [("README.md", 8_000), ("ARCHITECTURE.md", 15_000)];

/// Folders with other projects' documents, or with a build's output.
const SKIPPED: [&str; 6] = ["target", "node_modules", "data", "pkg", "pkg.new", "cdk.out"];

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() -> Result<()> {
    let documents = documents()?;
    let mut broken = Vec::new();
    for (path, text) in &documents {
        for (line, target) in links(text) {
            if let Some(reason) = is_broken(path, &target, &documents) {
                broken.push(format!("{}:{line}: {target}: {reason}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{} broken links:\n{}", broken.len(), broken.join("\n"));
    Ok(())
}

#[test]
fn the_first_documents_stay_short() -> Result<()> {
    for (name, most) in SIZES {
        let size = fs::read(root().join(name))?.len();
        assert!(
            size <= most,
            "{name} has {size} bytes; at most {most}. Move what people look up into docs/."
        );
    }
    Ok(())
}

#[test]
fn every_reason_of_an_error_is_in_the_troubleshooting_page() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md"))?;
    let missing: Vec<_> =
        Reason::ALL.iter().filter(|reason| !page.contains(&format!("`{}`", reason.as_str()))).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md has no row for {missing:?}");
    Ok(())
}

#[test]
fn every_page_is_in_the_index() -> Result<()> {
    let documents = documents()?;
    let index = documents.get(Path::new("docs/README.md")).ok_or("docs/README.md is missing")?;
    let listed: Vec<String> = links(index).into_iter().map(|(_, target)| target).collect();
    let is_page = |path: &&PathBuf| path.starts_with("docs") && !path.ends_with("README.md");
    for page in documents.keys().filter(is_page) {
        let name = page.strip_prefix("docs")?.to_string_lossy().into_owned();
        assert!(listed.contains(&name), "docs/README.md has no link to {name}");
    }
    Ok(())
}

/// What these documents claim is shown by tests, which they name as `folder/file.rs::name`. Without `::name`, the whole file
/// is meant.
#[test]
fn every_test_that_a_document_names_exists() -> Result<()> {
    let mut wrong = Vec::new();
    for document in ["SECURITY.md", "docs/attacks.md"] {
        let text = fs::read_to_string(root().join(document))?;
        for (number, line) in prose(&text) {
            let told = named_tests(line);
            wrong.extend(told.iter().filter_map(|named| {
                missing_test(named).map(|why| format!("{document}:{number}: {named}: {why}"))
            }));
            let is_row = line.starts_with("| ") && !line.starts_with("| ---") && !line.ends_with("| test |");
            if document == "docs/attacks.md" && is_row && told.is_empty() {
                wrong.push(format!("{document}:{number}: names no test"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} tests are not there:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn a_test_is_found_where_it_is_and_only_there() {
    let line =
        "| a | `b.rs` shows `documents/x.rs::a_b`, fuzz target `client_id`, `not.this` | `c/d.py::e` |";
    assert_eq!(named_tests(line), ["b.rs", "documents/x.rs::a_b", "fuzz target client_id", "c/d.py::e"]);
    let here = "tests/documents/main.rs::a_test_is_found_where_it_is_and_only_there";
    assert_eq!(missing_test(here), None);
    assert_eq!(missing_test("fuzz target client_id"), None);
    // A function that is no test shows nothing.
    for missing in [&here[..here.len() - 1], "tests/documents/main.rs::root", "no/file.rs", "fuzz target no"]
    {
        assert!(missing_test(missing).is_some(), "{missing}");
    }
}

/// The tests that a line names: `file.rs`, `file.rs::name`, the same with `.py`, and `fuzz target name`.
fn named_tests(line: &str) -> Vec<String> {
    let parts: Vec<&str> = line.split('`').collect();
    let spans = parts.iter().enumerate().skip(1).step_by(2);
    spans
        .filter_map(|(at, span)| {
            let file = span.split("::").next().unwrap_or_default();
            let is_file = [".rs", ".py"].iter().any(|end| file.ends_with(end)) && !file.contains(' ');
            let is_target = parts[at - 1].ends_with("fuzz target ");
            (is_file || is_target)
                .then(|| if is_target { format!("fuzz target {span}") } else { (*span).to_owned() })
        })
        .collect()
}

/// Why a test is not there. Those without another place are in `tests/contract`.
fn missing_test(named: &str) -> Option<String> {
    if let Some(target) = named.strip_prefix("fuzz target ") {
        let is_there = root().join(format!("fuzz/fuzz_targets/{target}.rs")).exists();
        return (!is_there).then(|| "there is no such target".to_owned());
    }
    let (file, name) = named.split_once("::").map_or((named, None), |(file, name)| (file, Some(name)));
    let is_elsewhere = ["functions/", "tests/"].iter().any(|place| file.starts_with(place));
    let path = if is_elsewhere { root().join(file) } else { root().join("tests/contract").join(file) };
    let Ok(text) = fs::read_to_string(path) else { return Some("there is no such file".to_owned()) };
    let name = name?;
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        is_test |=
            line.starts_with("#[test]") || line.starts_with("#[tokio::test") || line.starts_with("def ");
        let after = ["fn ", "async fn ", "def "].iter().find_map(|begin| line.strip_prefix(begin));
        if let Some(after) = after {
            if is_test && after.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')) {
                return None;
            }
            is_test = false;
        }
    }
    Some("there is no such test in the file".to_owned())
}

#[test]
fn links_and_anchors_are_read_as_github_reads_them() {
    let text = "\
# The `first` title, & more
See [one](a.md#b), ![two](<c d.png> \"title\") and `[code](no.md)`.
```sh
# no heading
[no](no.md)
```
[three]: e.md
## Twice
## Twice
## With a [link](f.md) and_underscore
";
    let targets: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["a.md#b", "c d.png", "e.md", "f.md"]);
    assert_eq!(anchors(text), ["the-first-title--more", "twice", "twice-1", "with-a-link-and_underscore"]);
}

/// Every document, by its path from the repository's root.
fn documents() -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&&*name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.strip_prefix(root())?.to_owned(), fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Why a link of the document is broken; `None` if it is not.
fn is_broken(document: &Path, target: &str, documents: &BTreeMap<PathBuf, String>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() {
        document.to_owned()
    } else {
        let Some(path) = normalized(&document.with_file_name("").join(file)) else {
            return Some("it leads out of the repository".into());
        };
        path
    };
    if !root().join(&path).exists() {
        return Some("there is no such file".into());
    }
    let anchor = anchor?;
    let Some(text) = documents.get(&path) else {
        return Some("the file is no document, so it has no headings".into());
    };
    (!anchors(text).iter().any(|known| known == anchor)).then(|| "there is no such heading".into())
}

/// The path without `.` and `..`. `None` if it leads out of the repository.
fn normalized(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// The document's lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((index + 1, line))
    })
}

/// The targets of the document's links, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        if let Some((_, target)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) {
            found.push((number, destination(target)));
        }
        for (start, opening) in line.match_indices("](") {
            found.push((number, destination(&line[start + opening.len()..])));
        }
    }
    found
}

/// The target of a link, from the text after its opening bracket.
fn destination(text: &str) -> String {
    let of_it = match text.strip_prefix('<') {
        Some(text) => text.split('>').next(),
        None => text.split([')', ' ']).next(),
    };
    of_it.unwrap_or_default().to_owned()
}

/// The line without its code spans (the text between two backticks).
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("")
}

/// The anchors of the document's headings, as GitHub makes them: lower case, without punctuation, with hyphens for
/// spaces, and numbered where one occurs again.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len() && title.starts_with(' ')).then_some(title.trim())
    });
    headings
        .map(|title| {
            let anchor: String = visible(title)
                .to_lowercase()
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect();
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
        })
        .collect()
}

/// A heading's text as a reader sees it. Of a link, only its text.
fn visible(title: &str) -> String {
    let mut text = String::new();
    let mut rest = title;
    while let Some((before, link)) = rest.split_once("](") {
        text += before;
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    text + rest
}
