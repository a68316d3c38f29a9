//! Structs to items and back. An item is its struct's fields as attributes, and beside them the key
//! (`pk`, `sk`), its `kind` for whoever looks at the table, and a revision `rev` that conditional writes
//! compare.

use std::{collections::HashMap, ops::Deref};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Serialize, de::DeserializeOwned};

use super::key::Key;
use crate::{
    clock::Timestamp,
    error::{Error, Result},
};

pub type Item = HashMap<String, AttributeValue>;

/// A struct that is stored as an item.
pub trait Entity: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

/// An entity as it was read, with the revision that a change to it must find unchanged.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    pub rev: u64,
    pub value: T,
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A struct as an item at `key`.
pub fn to_item<T: Entity>(key: Key, value: &T, rev: u64, ttl: Option<Timestamp>) -> Result<Item> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(Error::internal)?;
    item.insert("pk".to_owned(), AttributeValue::S(key.pk));
    item.insert("sk".to_owned(), AttributeValue::S(key.sk));
    item.insert("kind".to_owned(), AttributeValue::S(T::KIND.to_owned()));
    item.insert("rev".to_owned(), AttributeValue::N(rev.to_string()));
    if let Some(at) = ttl {
        item.insert("ttl".to_owned(), AttributeValue::N(at.as_seconds().to_string()));
    }
    Ok(item)
}

pub(super) fn from_item<T: Entity>(item: Item) -> Result<Stored<T>> {
    let rev = item.get("rev").and_then(|rev| rev.as_n().ok()).and_then(|rev| rev.parse().ok());
    let rev = rev.ok_or_else(|| Error::Internal(format!("a {} item has no revision", T::KIND)))?;
    let value = serde_dynamo::from_item(item)
        .map_err(|why| Error::Internal(format!("a {} item cannot be read: {why}", T::KIND)))?;
    Ok(Stored { rev, value })
}

pub(super) fn key_of(item: &Item) -> Option<Key> {
    Some(Key { pk: item.get("pk")?.as_s().ok()?.clone(), sk: item.get("sk")?.as_s().ok()?.clone() })
}

pub(super) fn key_attributes(key: &Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.pk.clone())),
        ("sk".to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}
