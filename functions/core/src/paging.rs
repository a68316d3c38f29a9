//! Pages of lists. A page ends with an opaque cursor, which says where the next one begins; it holds no
//! secret and needs no protection, since each page is authorized anew.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    Core,
    error::{Error, Result},
    table::{Entity, Key, Partition, Query, Stored},
};

pub use crate::table::PAGE_SIZE;

/// The most items on a page.
pub const MAX_PAGE_SIZE: usize = 1_000;

/// The most bytes that a cursor stands for. It is a sort key, of which `DynamoDB` takes 1,024 bytes, and what says of which
/// list it is.
const MAX_CURSOR: usize = 1_100;

/// The page that is asked for.
#[derive(Clone, Debug)]
pub struct PageRequest {
    limit: usize,
    cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: PAGE_SIZE, cursor: None }
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// What to pass as `cursor` for the next page, if there may be one.
    pub next: Option<String>,
}

impl<T> Listing<T> {
    pub fn map<U>(self, map: impl FnMut(T) -> U) -> Listing<U> {
        Listing { items: self.items.into_iter().map(map).collect(), next: self.next }
    }

    /// The page without the items that are not to be kept.
    pub(crate) fn only(mut self, keep: impl FnMut(&T) -> bool) -> Self {
        self.items.retain(keep);
        self
    }
}

impl PageRequest {
    /// `limit` is 1 to 1,000, and 100 if left out. `cursor` comes from the page before.
    pub fn new(limit: Option<usize>, cursor: Option<&str>) -> Result<Self> {
        let limit = limit.unwrap_or(PAGE_SIZE);
        if !(1..=MAX_PAGE_SIZE).contains(&limit) {
            return Err(Error::invalid(format!("limit must be from 1 to {MAX_PAGE_SIZE}")));
        }
        let decode = |cursor: &str| {
            let bytes =
                BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().filter(|bytes| bytes.len() <= MAX_CURSOR)?;
            String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
        };
        let cursor = match cursor {
            Some(cursor) => Some(decode(cursor).ok_or_else(|| Error::invalid("cursor is not one of ours"))?),
            None => None,
        };
        Ok(Self { limit, cursor })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The decoded cursor of the page before.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The same request with what is left of its limit, for a list's second part: its cursor counts only if
    /// it is one of that part.
    pub(crate) fn rest(&self, limit: usize, part: &Partition) -> Self {
        Self { limit, cursor: self.cursor.clone().filter(|cursor| cursor.starts_with(&part.prefix)) }
    }

    /// The error for a cursor of another list.
    pub(crate) fn of_another_list() -> Error {
        Error::invalid("cursor is not one of this list")
    }

    /// Encodes a position as a cursor.
    pub fn encode(position: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(position)
    }

    /// A page of the entries of a list, each followed to its item.
    pub(crate) async fn list_entries<E: Entity, T: Entity>(
        &self,
        core: &Core,
        list: &Partition,
        follow: impl Fn(&E) -> Key,
    ) -> Result<Listing<T>> {
        let entries = self.list_items::<E>(core, list).await?;
        let keys: Vec<Key> = entries.items.iter().map(|entry| follow(entry)).collect();
        let items = core.table.read_all::<T>(&keys).await?;
        Ok(Listing { items: items.into_iter().map(|stored| stored.value).collect(), next: entries.next })
    }

    /// A page of the items of a list.
    pub(crate) async fn list_items<T: Entity>(
        &self,
        core: &Core,
        list: &Partition,
    ) -> Result<Listing<Stored<T>>> {
        let Partition { pk, prefix } = list;
        let after = match &self.cursor {
            Some(sk) if sk.starts_with(&**prefix) => Some(Key { pk: pk.clone(), sk: sk.clone() }),
            Some(_) => return Err(Self::of_another_list()),
            None => None,
        };
        let mut query = Query::partition(pk, self.limit).after(after);
        if !prefix.is_empty() {
            query = query.prefix(prefix.as_str());
        }
        let page = core.table.query::<T>(query).await?;
        Ok(Listing { items: page.items, next: page.next.map(|key| Self::encode(&key.sk)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let page = PageRequest::new(Some(5), Some(&PageRequest::encode("USER#1"))).unwrap();
        assert_eq!((page.limit(), page.cursor()), (5, Some("USER#1")));
        for wrong in ["", "%", "////", &"A".repeat(10_000)] {
            assert!(PageRequest::new(None, Some(wrong)).is_err(), "{wrong}");
        }
        for wrong in [0, 1_001, usize::MAX] {
            assert!(PageRequest::new(Some(wrong), None).is_err(), "{wrong}");
        }
    }
}
