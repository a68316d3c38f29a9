//! Reading a page of a list by its entries.

use std::collections::BTreeMap;

use futures::future::{try_join, try_join_all};

use super::{ListEntry, Listed, is_complete};
use crate::{
    Core,
    error::Result,
    paging::{Listing, PageRequest},
    secret::sha256_hex,
    table::{Found, Key, Partition, Query},
};

/// How many lists are queried at the same time.
const AT_ONCE: usize = 50;

/// What the cursors of a list begin with, so that they are good in no other.
fn tag(list: &str) -> String {
    let mut tag = sha256_hex(list.as_bytes());
    tag.truncate(8);
    tag
}

/// The sort key after which a page begins.
fn position(page: &PageRequest, tag: &str, prefix: &str) -> Result<Option<String>> {
    let Some(cursor) = page.cursor() else { return Ok(None) };
    let position = cursor.strip_prefix(tag).filter(|sk| !sk.is_empty() && sk.starts_with(prefix));
    position.map(|sk| Some(sk.to_owned())).ok_or_else(PageRequest::of_another_list)
}

fn query<'a>(list: &'a Partition, limit: usize, after: Option<&String>) -> Query<'a> {
    let after = after.map(|sk| Key { pk: list.pk.clone(), sk: sk.clone() });
    Query::partition(&list.pk, limit).prefix(list.prefix.as_str()).after(after)
}

/// A page of a list, without the items that are not to be kept. `None` if the list is not complete.
pub(crate) async fn page<T: Listed>(
    core: &Core,
    page: &PageRequest,
    list: &Partition,
    keep: impl Fn(&T) -> bool,
) -> Result<Option<Listing<T>>> {
    merged(core, page, std::slice::from_ref(list), keep).await
}

/// A page of several lists that are sorted alike, and begin alike, as if they were one. An item that is in several of them is there once.
/// `None` if the lists are not complete.
pub(crate) async fn merged<T: Listed>(
    core: &Core,
    page: &PageRequest,
    lists: &[Partition],
    keep: impl Fn(&T) -> bool,
) -> Result<Option<Listing<T>>> {
    merged_with(core, page, lists, |_| Vec::new(), |item, _| Ok(keep(item))).await
}

/// [`page`], of items that are judged by others too. `beside` says by an entry's sort key which these are, so that they are
/// read together.
pub(crate) async fn page_with<T: Listed>(
    core: &Core,
    page: &PageRequest,
    list: &Partition,
    beside: impl Fn(&str) -> Vec<Key>,
    keep: impl Fn(&T, &Found) -> Result<bool>,
) -> Result<Option<Listing<T>>> {
    merged_with(core, page, std::slice::from_ref(list), beside, keep).await
}

async fn merged_with<T: Listed>(
    core: &Core,
    page: &PageRequest,
    lists: &[Partition],
    beside: impl Fn(&str) -> Vec<Key>,
    keep: impl Fn(&T, &Found) -> Result<bool>,
) -> Result<Option<Listing<T>>> {
    let (tag, prefix) = match lists {
        [one] => (tag(&one.pk), &*one.prefix),
        _ => (tag(""), lists.first().map_or("", |list| &*list.prefix)),
    };
    let position = position(page, &tag, prefix);
    let entries = async {
        match &position {
            Ok(after) => merge(core, page.limit(), lists, after.as_ref()).await.map(Some),
            // It may be one of the list by id, in whose place this one comes once it is complete.
            Err(_) => Ok(None),
        }
    };
    let (is_complete, entries) = try_join(is_complete(core, T::INDEX), entries).await?;
    if !is_complete {
        return Ok(None);
    }
    let Merged { ids, next } = match (entries, position) {
        (Some(entries), _) => entries,
        (None, Err(refused)) => return Err(refused),
        (None, Ok(_)) => Merged::default(),
    };
    let mut keys: Vec<Key> = ids.values().filter_map(|id| T::key_of(id)).collect();
    keys.extend(ids.keys().flat_map(|sk| beside(sk)));
    let found = core.table.read(keys).await?;
    let mut items = Vec::with_capacity(ids.len());
    for (sk, id) in ids {
        let item = item_of::<T>(&found, &id)?;
        let has_entry = |item: &T| {
            let entries = item.entries();
            lists.iter().any(|list| entries.contains(&Key { pk: list.pk.clone(), sk: sk.clone() }))
        };
        if let Some(item) = item
            && has_entry(&item)
            && keep(&item, &found)?
        {
            items.push(item);
        }
    }
    Ok(Some(Listing { items, next: next.map(|sk| PageRequest::encode(&format!("{tag}{sk}"))) }))
}

fn item_of<T: Listed>(found: &Found, id: &str) -> Result<Option<T>> {
    match T::key_of(id) {
        Some(key) => Ok(found.get::<T>(&key)?.map(|stored| stored.value)),
        None => Ok(None),
    }
}

/// The first entries of several lists together.
#[derive(Debug, Default)]
struct Merged {
    /// Ids by sort keys.
    ids: BTreeMap<String, String>,
    /// The last sort key, if there may be more.
    next: Option<String>,
}

async fn merge(core: &Core, limit: usize, lists: &[Partition], after: Option<&String>) -> Result<Merged> {
    let mut ids = BTreeMap::new();
    // Up to where all lists have been read.
    let mut known_to: Option<String> = None;
    for lists in lists.chunks(AT_ONCE) {
        let pages = lists.iter().map(|list| core.table.query::<ListEntry>(query(list, limit, after)));
        for page in try_join_all(pages).await? {
            ids.extend(page.items.into_iter().map(|entry| (entry.value.sk, entry.value.id)));
            if let Some(Key { sk, .. }) = page.next {
                known_to = Some(known_to.map_or(sk.clone(), |known_to| known_to.min(sk)));
            }
        }
    }
    if let Some(known_to) = &known_to {
        ids.retain(|sk, _| sk <= known_to);
    }
    let rest = ids.keys().nth(limit).cloned();
    if let Some(first) = rest {
        ids.split_off(&first);
        known_to = ids.keys().next_back().cloned();
    }
    Ok(Merged { ids, next: known_to })
}
