//! Structs to items and back.
//!
//! An item is its struct's fields as attributes. Beside them it has the key (`pk`, `sk`), its `kind` for people who
//! look at the table, and a revision `rev`. Conditional writes compare the revision, and no two states of the item at a
//! key share one.
//!
//! A new item gets a random first revision, and each change adds one. So an item that was deleted and made again never
//! satisfies a condition on the old one. It is random because clocks differ. The last three hexadecimal digits say how
//! often the item was written.

use std::{collections::HashMap, ops::Deref};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Serialize, de::DeserializeOwned};

use super::key::Key;
use crate::{
    clock::Timestamp,
    error::{Error, Result, because},
    retention::Ends,
};

pub type Item = HashMap<String, AttributeValue>;

/// A struct that is stored as an item.
pub trait Entity: Serialize + DeserializeOwned {
    const KIND: &'static str;

    /// When the thing that the item stands for ends, if it does. The item is kept for some time after that
    /// (see [`crate::retention`]). Asked of the item as it is written, so an item that is written without an
    /// end is kept.
    fn ends(&self) -> Option<Ends> {
        None
    }
}

/// An entity as it was read, with its revision. A change of it requires that the revision is still the same.
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
    let mut item = without_rev(key, value, ttl)?;
    set_rev(&mut item, rev);
    Ok(item)
}

pub(super) fn set_rev(item: &mut Item, rev: u64) {
    item.insert("rev".to_owned(), AttributeValue::N(rev.to_string()));
}

/// The same without a revision, which is added when it is written.
pub(super) fn without_rev<T: Entity>(key: Key, value: &T, ttl: Option<Timestamp>) -> Result<Item> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(Error::internal)?;
    item.insert("pk".to_owned(), AttributeValue::S(key.pk));
    item.insert("sk".to_owned(), AttributeValue::S(key.sk));
    item.insert("kind".to_owned(), AttributeValue::S(T::KIND.to_owned()));
    if let Some(at) = ttl {
        set_ttl(&mut item, at);
    }
    Ok(item)
}

pub(super) fn set_ttl(item: &mut Item, at: Timestamp) {
    item.insert("ttl".to_owned(), AttributeValue::N(at.as_seconds().to_string()));
}

pub(super) fn from_item<T: Entity>(item: Item) -> Result<Stored<T>> {
    let rev = item.get("rev").and_then(|rev| rev.as_n().ok()).and_then(|rev| rev.parse().ok());
    let rev = rev.ok_or_else(|| Error::internal(format!("a {} item has no revision", T::KIND)))?;
    let value = serde_dynamo::from_item(item)
        .map_err(|why| Error::internal(because(format!("a {} item cannot be read", T::KIND), why)))?;
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
