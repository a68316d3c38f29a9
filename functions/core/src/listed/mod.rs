//! Lists in several orders, and by what their items say: users by email, agents of a group, and so on.
//!
//! The lists `USERS`, `AGENTS` and `SERVERS` have an entry for each item, by id. Every other order is a partition with
//! entries of its own, whose sort key is what the order is by, and the id: `USERS#EMAIL`, `AGENTS#GROUP#{group}`. So a
//! page of any order is one query, and one read of its items.
//!
//! - **An item says which entries it has** ([`Listed::entries`]). A change of the item writes those that it gets and
//!   removes those that it loses, in its own transaction ([`relist`]). They need no condition: that of the item vouches
//!   for them.
//! - **An entry that its item does not have is not shown.** Entries and items are read one after the other, and the item
//!   may have changed between. Also, a transaction has room for so many removals only. The rest is removed after it
//!   ([`tidy`]), if the process lives.
//! - **A filter that no order answers** is asked of the items. Then a page may hold fewer items than asked for while there
//!   are more; its cursor goes on.
//! - **Groups and roles are those that an admin has set.** What issuers' tokens say of a user changes with each sign-in
//!   and ends by itself, so there are no entries of it.
//! - **A deployment from before there were these orders** has items without entries. Until `deputize reindex` has added
//!   them ([`crate::reindex`]), a list answers by id, and asks its filters of the items; an order that cannot be answered
//!   so is refused. The module `complete` says which lists are complete.

mod complete;
mod page;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::complete::Index;
pub(crate) use self::{
    complete::{CompleteLists, KnownComplete, incomplete, is_complete},
    page::{merged, page, page_with},
};
use crate::{
    case_folding::folded,
    error::Result,
    table::{Change, CommitError, Entity, Key, Table},
};

/// An item that is in lists of several orders.
pub(crate) trait Listed: Entity {
    /// The lists that its entries make up.
    const INDEX: Index;

    fn id(&self) -> String;

    /// The item that an entry with this id leads to.
    fn key_of(id: &str) -> Option<Key>;

    /// Its entries, beside the one by id.
    fn entries(&self) -> BTreeSet<Key>;
}

/// An entry in one of these lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ListEntry {
    id: String,
    /// Its sort key, as it was read.
    #[serde(default, skip_serializing)]
    sk: String,
}

impl Entity for ListEntry {
    const KIND: &'static str = "list entry";
}

/// How many bytes of what an order is by are in the entry.
const MAX_LABEL: usize = 250;

/// A text as lists are sorted by it: without case, as [`folded`] takes it.
pub(crate) fn label(text: &str) -> String {
    cut(&folded(text))
}

/// As much of a text as an entry has.
pub(crate) fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_LABEL)).unwrap_or_default().to_owned()
}

/// How many entries one change removes. A transaction has 100 items, and an item may get 50 groups at once.
const REMOVED_AT_ONCE: usize = 15;

/// Adds to a change of an item that it gets new entries, and loses those that it has no more. Nothing was there before it is
/// made, and nothing is there after it is deleted. Answers the entries for which the change has no room, for [`tidy`].
pub(crate) fn relist<T: Listed>(change: &mut Change, was: Option<&T>, is: Option<&T>) -> Result<Vec<Key>> {
    let [before, after] = [was, is].map(|item| item.map(Listed::entries).unwrap_or_default());
    if let Some(item) = is {
        for key in after.difference(&before) {
            change.put_ending(key.clone(), &entry_of(item), None)?;
        }
    }
    let mut lost: Vec<Key> = before.difference(&after).cloned().collect();
    let rest = lost.split_off(lost.len().min(REMOVED_AT_ONCE));
    for key in &lost {
        change.remove(key)?;
    }
    Ok(rest)
}

pub(crate) fn entry_of<T: Listed>(item: &T) -> ListEntry {
    ListEntry { id: item.id(), sk: String::new() }
}

/// Removes entries for which a change had no room, if the item is as that change left it. No list shows them meanwhile.
pub(crate) async fn tidy(table: &Table, item: &Key, rev: u64, left: &[Key]) {
    for keys in left.chunks(90) {
        let removal = || {
            let mut change = Change::new();
            change.require(item, rev)?;
            for key in keys {
                change.remove(key)?;
            }
            Ok(change)
        };
        let removed = match removal() {
            Ok(change) => table.commit(change).await,
            Err(error) => Err(CommitError::Failed(error)),
        };
        if let Err(CommitError::Failed(error)) = removed {
            tracing::warn!(error = %crate::error::chain(&error), "entries of lists stay that lead nowhere");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_no_case_and_is_cut_between_letters() {
        assert_eq!(label("Zoë"), label("ZOË"));
        assert_eq!(label(&"a".repeat(300)).len(), MAX_LABEL);
        assert_eq!(cut(&format!("{}é", "a".repeat(MAX_LABEL - 1))), "a".repeat(MAX_LABEL - 1));
    }
}
