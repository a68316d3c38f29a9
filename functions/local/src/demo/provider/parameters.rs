//! The parameters of a query or of a form.

use std::collections::HashMap;

use url::form_urlencoded;
use zeroize::Zeroizing;

/// RFC 6749 section 3.1: no parameter occurs twice, and one without a value counts as left out.
pub(super) struct Parameters(HashMap<String, Zeroizing<String>>);

impl Parameters {
    pub(super) fn parse(encoded: &[u8]) -> Result<Self, &'static str> {
        let mut values = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            let value = Zeroizing::new(value.into_owned());
            if !value.is_empty() && values.insert(name.into_owned(), value).is_some() {
                return Err("a parameter occurs twice");
            }
        }
        Ok(Self(values))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }
}
