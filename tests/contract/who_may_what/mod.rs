//! Who may what: every operation of the API's description, asked by every kind of caller, held to the table in
//! `tests/contract/who_may_what.md`.
//!
//! Each request is a good one, about things that exist ([`World`]). So a refusal is one of the caller. Each pair starts
//! from the same state: after a request that changed something, the store is restored.
//!
//! To add an operation, run the test with `UPDATE_WHO_MAY_WHAT=1`, which writes the file anew, and read its rows. An
//! operation with a body or another kind of id also needs a line in `requests.rs` or `World::path`. A kind of caller is
//! a line in `callers.rs`.

mod callers;
mod requests;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::PathBuf,
};

use deputize_tests::TestResponse;
use http::Method;
use serde_json::Value;

use self::{callers::Caller, requests::Asked, world::World};

/// An operation of the description.
struct Operation {
    id: String,
    tag: String,
    method: Method,
    path: String,
    takes_body: bool,
}

/// All operations, in the order of their tags, paths and methods.
async fn operations(world: &World) -> Vec<Operation> {
    let document = world.app.get("/openapi.json").await.ok().json();
    let tags: Vec<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                tag: operation["tags"][0].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                takes_body: operation["requestBody"]["required"] == true,
            });
        }
    }
    assert!(operations.len() > 60, "there is a description");
    operations.sort_by_key(|operation| tags.iter().position(|tag| *tag == operation.tag));
    operations
}

/// A row's tag and name, and the outcome for each caller.
type Rows = Vec<(String, String, Vec<String>)>;

/// Asks everything.
async fn ask_everything() -> (Vec<Caller>, Rows) {
    let mut world = World::build().await;
    let callers = callers::all(&world).await;
    let operations = operations(&world).await;
    let snapshot = world.app.snapshot();
    let mut rows = Rows::new();
    for Operation { id, tag, method, path, takes_body } in &operations {
        for row in 0..requests::of(&world, id, &callers[0]).len() {
            let mut outcomes = Vec::new();
            let mut what = "";
            for caller in &callers {
                let asked: Asked = requests::of(&world, id, caller).swap_remove(row);
                let is_without_body = matches!(asked.body, requests::Body::Nothing);
                assert!(!takes_body || !is_without_body, "who_may_what/requests.rs has no body for {id}");
                what = asked.what;
                let send = async { Box::pin(world.request(method, path, &asked, caller)).await.await };
                let (answer, round_trips) = Box::pin(world.app.round_trips(send)).await;
                outcomes.push(outcome(&answer, asked.shows.as_deref()));
                // A change is a transaction. Other writes only add to the audit trail.
                if round_trips.iter().any(|(kind, _)| *kind == "TransactWriteItems") {
                    world.restore(&snapshot).await;
                }
            }
            let name = if what.is_empty() { format!("`{id}`") } else { format!("`{id}` {what}") };
            rows.push((tag.clone(), name, outcomes));
        }
    }
    (callers, rows)
}

/// Status and reason of a refusal; `yes`, or `part` if what the request is about is not in the answer.
fn outcome(answer: &TestResponse, shows: Option<&str>) -> String {
    let body = serde_json::from_str::<Value>(&answer.text).unwrap_or_default();
    let refusal =
        if body["jsonrpc"].is_string() && body["error"].is_object() { &body["error"]["data"] } else { &body };
    match refusal["reason"].as_str() {
        Some(reason) if refusal["error"].is_string() || !answer.status.is_success() => {
            format!("{} `{reason}`", answer.status.as_u16())
        }
        _ if answer.status == 303 && !answer.header("location").unwrap_or_default().contains("/sign-in?") => {
            YES.to_owned()
        }
        _ if !answer.status.is_success() || body["error"].is_object() => answer.status.as_u16().to_string(),
        _ if shows.is_none_or(|text| answer.text.contains(text)) => YES.to_owned(),
        _ => PART.to_owned(),
    }
}

const YES: &str = "yes";
const PART: &str = "part";

/// The file, read.
struct Table {
    /// From its beginning to the first section of rows.
    introduction: String,
    /// The answers that its words stand for.
    words: BTreeMap<String, String>,
    /// The outcomes in words, by row and column.
    cells: BTreeMap<(String, String), String>,
    rows: BTreeSet<String>,
}

impl Table {
    fn read(text: &str) -> Self {
        let end = text.find("\n### ").unwrap_or(text.len());
        let introduction = text[..end].to_owned();
        let words = cells(&introduction).filter_map(|cells| match &cells[..] {
            ["cell", ..] => None,
            [word, answer, _] => Some((word.trim_matches('`').to_owned(), (*answer).to_owned())),
            _ => None,
        });
        let mut table =
            Self { words: words.collect(), introduction, cells: BTreeMap::new(), rows: BTreeSet::new() };
        let mut head: Vec<&str> = Vec::new();
        for row in cells(&text[end..]) {
            let name = row[0].to_owned();
            if name == "operation" {
                head = row;
                continue;
            }
            for (column, word) in head.iter().zip(&row).skip(1) {
                table.cells.insert((name.clone(), (*column).to_owned()), (*word).to_owned());
            }
            table.rows.insert(name);
        }
        table
    }

    /// The answer for which a word of the table stands. A word that is not explained stands for itself.
    fn answer<'a>(&'a self, word: &'a str) -> &'a str {
        self.words.get(word).map_or(word, String::as_str)
    }

    /// The word for an answer, as short as the file has one.
    fn word<'a>(&'a self, answer: &'a str) -> &'a str {
        self.words.iter().find(|(_, meant)| *meant == answer).map_or(answer, |(word, _)| word)
    }

    /// What the table says otherwise than these rows, as sentences.
    fn differences(&self, callers: &[Caller], rows: &Rows) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut left = self.rows.clone();
        for (_, name, outcomes) in rows {
            if !left.remove(name) {
                wrong.push(format!("{name} has no row"));
                continue;
            }
            for (caller, outcome) in callers.iter().zip(outcomes) {
                let told = self.cells.get(&(name.clone(), caller.name.to_owned()));
                let told = told.map(|word| self.answer(word)).unwrap_or_default();
                if told != outcome {
                    let by = caller.name;
                    wrong.push(format!("{name} by {by}: the table says {told:?}, the service {outcome:?}"));
                }
            }
        }
        wrong.extend(left.iter().map(|name| format!("{name} has a row, and is no operation")));
        wrong
    }

    /// The file with these rows.
    fn write(&self, callers: &[Caller], rows: &Rows) -> String {
        let mut text = self.introduction.trim_end().to_owned() + "\n";
        let mut section = "";
        let names = rows.iter().map(|(_, name, _)| name.len());
        let width = names.chain(["operation".len()]).max().unwrap_or_default();
        let widths = callers.iter().enumerate().map(|(column, caller)| {
            let words = rows.iter().map(|(_, _, outcomes)| self.word(&outcomes[column]).len());
            words.chain([caller.name.len()]).max().unwrap_or_default()
        });
        let widths: Vec<usize> = widths.collect();
        let line = |text: &mut String, first: &str, cells: &mut dyn Iterator<Item = &str>| {
            write!(text, "| {first:width$} |").unwrap();
            for (cell, width) in cells.zip(&widths) {
                write!(text, " {cell:width$} |").unwrap();
            }
            text.push('\n');
        };
        for (tag, name, outcomes) in rows {
            if tag != section {
                write!(text, "\n### {tag}\n\n").unwrap();
                line(&mut text, "operation", &mut callers.iter().map(|caller| caller.name));
                let rule = |width: usize| "-".repeat(width);
                let rules: Vec<String> = widths.iter().copied().map(rule).collect();
                line(&mut text, &rule(width), &mut rules.iter().map(String::as_str));
                section = tag;
            }
            line(&mut text, name, &mut outcomes.iter().map(|outcome| self.word(outcome)));
        }
        text
    }
}

/// The cells of each line of a Markdown table, without the rules below heads.
fn cells(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("| -"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[tokio::test]
async fn who_may_what_is_as_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contract/who_may_what.md");
    let text = fs::read_to_string(&path).unwrap();
    let table = Table::read(&text);
    let (callers, rows) = Box::pin(ask_everything()).await;
    if std::env::var_os("UPDATE_WHO_MAY_WHAT").is_some() {
        fs::write(&path, table.write(&callers, &rows)).unwrap();
        return;
    }
    let wrong = table.differences(&callers, &rows);
    assert!(wrong.is_empty(), "who_may_what.md (see who_may_what/mod.rs):\n{}", wrong.join("\n"));
    assert_eq!(
        table.write(&callers, &rows),
        text,
        "who_may_what.md is not as UPDATE_WHO_MAY_WHAT=1 writes it"
    );
    let used: BTreeSet<_> = rows.iter().flat_map(|(.., outcomes)| outcomes).cloned().collect();
    for (word, answer) in &table.words {
        assert!(used.contains(answer), "who_may_what.md explains {word}, and no row has it");
    }
    for Caller { name, .. } in &callers {
        assert!(
            text.contains(&format!("\n| {name} | ")),
            "who_may_what.md does not explain the caller {name}"
        );
    }
}

/// A table of two operations and two callers, and the rows that it has.
fn example() -> (&'static str, Table, [Caller; 2], Rows) {
    let text = "\
# Head

| cell | answer | means |
| --- | --- | --- |
| `yes` | yes | it is done |
| `no` | 403 `admin_required` | an admin must |

### things

| operation | nobody | admin |
| --------- | ------ | ----- |
| `one`     | no     | yes   |
| `two` so  | 401    | yes   |
";
    let callers = ["nobody", "admin"].map(|name| Caller { name, credential: callers::Credential::Nothing });
    let row = |name: &str, outcomes: [&str; 2]| {
        ("things".to_owned(), name.to_owned(), outcomes.map(str::to_owned).to_vec())
    };
    let rows = vec![row("`one`", ["403 `admin_required`", "yes"]), row("`two` so", ["401", "yes"])];
    (text, Table::read(text), callers, rows)
}

#[test]
fn a_table_is_read_as_it_is_written() {
    let (text, table, callers, rows) = example();
    assert_eq!(table.differences(&callers, &rows), Vec::<String>::new());
    assert_eq!(table.write(&callers, &rows), text);
}

#[test]
fn what_the_table_lacks_or_says_otherwise_is_named() {
    let (_, table, callers, mut rows) = example();
    rows[0].2[0] = "yes".to_owned();
    rows[1].1 = "`three`".to_owned();
    let expected = [
        r#"`one` by nobody: the table says "403 `admin_required`", the service "yes""#,
        "`three` has no row",
        "`two` so has a row, and is no operation",
    ];
    assert_eq!(table.differences(&callers, &rows), expected);
    // A kind of caller that it has no column for.
    let caller = Caller { name: "auditor", ..callers[0].clone() };
    let expected = [r#"`one` by auditor: the table says "", the service "yes""#];
    assert_eq!(table.differences(&[caller], &vec![rows.swap_remove(0)])[..1], expected);
}
