//! The API description of all functions together.
//!
//! It is generated from the handlers and kept in `functions/admin/openapi.json`. The admin function serves it from
//! there, without linking the other functions. The test here fails when the two differ.
//! `UPDATE_OPENAPI=1 cargo test -p deputize-local openapi` writes it anew.

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path, sync::Arc};

    use deputize_core::{Core, Settings, issuers::Issuers, vault::Vault};
    use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
    use deputize_service::{
        address::AddressPolicy,
        fetch::HttpFetch,
        openapi::{Document, complete},
        outbound::{Outbound, Times},
    };
    use serde_json::Value;
    use utoipa::OpenApi;
    use zeroize::Zeroizing;

    use crate::{server::functions, store::Store};

    /// The document that the handlers generate.
    async fn generated() -> String {
        let table = Store::in_memory().unwrap().table().await.unwrap();
        let issuers = Issuers::new(Vec::new(), Arc::new(HttpFetch::new()));
        let vault = Vault::local(&Zeroizing::new([0; 32])).unwrap();
        let http = Arc::new(Outbound::new(AddressPolicy::PUBLIC, Times::default()));
        let settings = Settings::at("https://deputize.example.com");
        let core = Arc::new(Core::new(table, settings, issuers, vault, http));
        let upstream = UpstreamClient::new(UpstreamConfig::default());
        let document = complete(functions(&core, upstream).describe(Document::openapi()));
        serde_json::to_string_pretty(&document).unwrap() + "\n"
    }

    /// Each operation, by its method and path.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        operations.collect()
    }

    #[tokio::test]
    async fn the_openapi_document_is_the_one_that_the_handlers_generate() {
        let generated = generated().await;
        assert!(generated.contains(r#""openapi": "3.1.0""#));

        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../admin/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == generated, "stale: run UPDATE_OPENAPI=1 cargo test -p deputize-local openapi");
    }

    #[tokio::test]
    async fn every_operation_of_the_openapi_document_says_what_tools_need() {
        let document: Value = serde_json::from_str(&generated().await).unwrap();
        let operations = operations(&document);
        assert!(operations.len() > 60, "there is a description");
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
        let mut wrong = Vec::new();
        for (name, operation) in &operations {
            let id = operation["operationId"].as_str().unwrap_or_default();
            // It becomes a function's name in generated clients.
            let verb = id.split('_').next().unwrap_or_default();
            if !VERBS.contains(&verb) || !id.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()) {
                wrong.push(format!(
                    "{name}: the id {id:?} is no function's name that begins with a known verb"
                ));
            }
            if !ids.insert(id) {
                wrong.push(format!("{name}: another operation has the id {id} too"));
            }
            match operation["tags"].as_array().map(Vec::as_slice) {
                Some([tag]) if tags.contains(&tag) => drop(used.insert(tag.as_str().unwrap())),
                other => {
                    wrong
                        .push(format!("{name}: it needs one tag that the document describes, not {other:?}"));
                }
            }
            if operation["security"].as_array().is_none_or(Vec::is_empty) {
                wrong.push(format!("{name}: no `security` (`security(())` if no credential is needed)"));
            }
            if operation["summary"].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{name}: no summary"));
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                if !response["description"].as_str().is_some_and(|text| text.ends_with(['.', ':'])) {
                    wrong.push(format!("{name}: the response {status} has no sentence for its description"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(used.len(), tags.len(), "a tag is described that no operation has: {tags:?}");
        assert_eq!(document["servers"].as_array().map(Vec::len), Some(1));
    }

    #[tokio::test]
    async fn an_object_of_no_known_fields_is_said_to_have_any() {
        let document: Value = serde_json::from_str(&generated().await).unwrap();
        let mut wrong = Vec::new();
        find_closed_objects(&document["paths"], "paths", &mut wrong);
        find_closed_objects(&document["components"], "components", &mut wrong);
        // Generators of types take it for an object that has none: `value_type = HashMap<String, Value>` says better.
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn find_closed_objects(schema: &Value, at: &str, found: &mut Vec<String>) {
        let types = &schema["type"];
        let is_object =
            types == "object" || types.as_array().is_some_and(|types| types.contains(&"object".into()));
        let is_open = ["properties", "additionalProperties"].iter().any(|name| !schema[*name].is_null());
        if is_object && !is_open {
            found.push(at.to_owned());
        }
        for (name, inner) in schema.as_object().into_iter().flatten() {
            find_closed_objects(inner, &format!("{at}/{name}"), found);
        }
        for (index, inner) in schema.as_array().into_iter().flatten().enumerate() {
            find_closed_objects(inner, &format!("{at}/{index}"), found);
        }
    }

    /// What the names of operations begin with.
    const VERBS: [&str; 33] = [
        "add",
        "answer",
        "approve",
        "authorize",
        "batch",
        "block",
        "call",
        "check",
        "confirm",
        "connect",
        "create",
        "delete",
        "end",
        "export",
        "find",
        "offboard",
        "erase",
        "restore",
        "finish",
        "follow",
        "get",
        "introspect",
        "list",
        "open",
        "probe",
        "register",
        "replace",
        "revoke",
        "rotate",
        "send",
        "toggle",
        "unblock",
        "update",
    ];
}
