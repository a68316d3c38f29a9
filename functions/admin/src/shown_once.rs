//! A new secret on its way to the one answer that shows it.

use std::borrow::Cow;

use deputize_core::secret;
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Object, ObjectBuilder, RefOr, Schema, Type},
};

/// A secret that serializes as its text. It cannot be printed otherwise, and it is wiped when dropped.
#[derive(Debug)]
pub(crate) struct ShownOnce(pub(crate) SecretString);

impl Serialize for ShownOnce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret::shown_once(&self.0))
    }
}

impl PartialSchema for ShownOnce {
    fn schema() -> RefOr<Schema> {
        let object: Object =
            ObjectBuilder::new().schema_type(Type::String).description(Some("Shown this once.")).build();
        object.into()
    }
}

impl ToSchema for ShownOnce {
    fn name() -> Cow<'static, str> {
        "ShownOnce".into()
    }
}
