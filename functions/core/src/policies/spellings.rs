//! How policies spell the names of arguments. The server that gets a call may read names whatever their case, so
//! what policies speak of must be found whatever its case.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    error::{Error, Result},
    fold::folded,
};

/// The names that policies speak of, by what they fold to.
#[derive(Debug, Default)]
pub(crate) struct Spellings(HashMap<String, Vec<String>>);

impl Spellings {
    pub(crate) fn of_all(names: impl IntoIterator<Item = String>) -> Self {
        let mut spellings: HashMap<String, Vec<String>> = HashMap::new();
        for name in names {
            let known = spellings.entry(folded(&name).into_owned()).or_default();
            if !known.contains(&name) {
                known.push(name);
            }
        }
        Self(spellings)
    }

    /// All spellings of `name` that policies use; none if they do not speak of it.
    pub(crate) fn of(&self, name: &str) -> &[String] {
        if self.0.is_empty() {
            return &[];
        }
        self.0.get(&*folded(name)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The names of arguments in a policy.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) literal: Vec<String>,
    /// Whether one is computed, so that it is not known before a call.
    pub(super) any_computed: bool,
}

impl Names {
    /// From the policy's JSON ([JSON policy format](https://docs.cedarpolicy.com/policies/json-format.html)).
    pub(super) fn of(policy: &cedar_policy::Policy) -> Result<Self> {
        let mut names = Self::default();
        names.visit(&policy.to_json().map_err(Error::internal)?);
        Ok(names)
    }

    fn visit(&mut self, json: &Value) {
        match json {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    if let ("hasTag" | "getTag", Some(operand)) = (name.as_str(), inner.get("right")) {
                        match operand.get("Value") {
                            Some(Value::String(name)) => self.literal.push(name.clone()),
                            _ => self.any_computed = true,
                        }
                    }
                    self.visit(inner);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            _ => {}
        }
    }
}
