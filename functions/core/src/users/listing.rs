//! Lists of users: sorted, and by what admins know of them.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;

use super::{Role, User, UserPointer};
use crate::{
    Core,
    caller::{Power, UserCaller},
    case_folding::folded,
    error::Result,
    ids::UserId,
    listed::{self, Index, Listed, cut, label},
    paging::{Listing, PageRequest},
    table::{Key, Partition},
};

/// What users are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserOrder {
    Id,
    Email,
    /// Without case. Users without a name are sorted by their email.
    Name,
}

/// Which users, and in which order. A user must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    pub email_prefix: Option<String>,
    pub name_prefix: Option<String>,
    pub active: Option<bool>,
    /// Set by an admin, like `group`.
    pub role: Option<Role>,
    pub group: Option<String>,
    /// If none is asked for, that of the list that answers the filter.
    pub sort: Option<UserOrder>,
}

impl Listed for User {
    const INDEX: Index = Index::Users;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn key_of(id: &str) -> Option<Key> {
        Some(Key::user(UserId(id.parse().ok()?)))
    }

    fn entries(&self) -> BTreeSet<Key> {
        let id = self.id();
        let email = self.email.as_ref().map(|email| cut(email.canonical()));
        let by = match &self.name {
            Some(name) => label(name),
            None => email.clone().unwrap_or_default(),
        };
        let mut by_name = vec![Partition::users_by_name()];
        by_name.extend(self.groups.iter().map(|group| Partition::users_in_group(group)));
        if self.role != Role::User {
            by_name.push(Partition::users_of_role(self.role.name()));
        }
        if !self.active {
            by_name.push(Partition::inactive_users());
        }
        let mut entries: BTreeSet<Key> = by_name.iter().map(|list| Key::sorted(list, &by, &id)).collect();
        entries.extend(email.map(|email| Key::sorted(&Partition::users_by_email(), &email, &id)));
        entries
    }
}

/// The beginning of an address in the form by which addresses are found.
fn email_prefix(text: &str) -> String {
    text.to_lowercase().nfc().collect()
}

impl UserFilter {
    fn keeps(&self, user: &User) -> bool {
        let has_email = |prefix: &String| {
            user.email.as_ref().is_some_and(|email| email.canonical().starts_with(&email_prefix(prefix)))
        };
        let has_name = |prefix: &String| {
            user.name.as_ref().is_some_and(|name| folded(name).starts_with(&*folded(prefix)))
        };
        self.email_prefix.as_ref().is_none_or(has_email)
            && self.name_prefix.as_ref().is_none_or(has_name)
            && self.active.is_none_or(|active| active == user.active)
            && self.role.is_none_or(|role| role == user.role)
            && self.group.as_ref().is_none_or(|group| user.groups.contains(group))
    }

    /// The list that leaves the least to ask of the users. `None`: the one by id.
    fn list(&self) -> Option<Partition> {
        let by_email = || {
            let prefix = self.email_prefix.as_deref().map(email_prefix).unwrap_or_default();
            Partition::users_by_email().beginning(cut(&prefix))
        };
        let by_name =
            |list: Partition| list.beginning(self.name_prefix.as_deref().map(label).unwrap_or_default());
        match self.sort {
            Some(UserOrder::Id) => return None,
            Some(UserOrder::Email) => return Some(by_email()),
            Some(UserOrder::Name) | None => {}
        }
        if let Some(group) = &self.group {
            return Some(by_name(Partition::users_in_group(group)));
        }
        if let Some(role) = self.role.filter(|role| *role != Role::User) {
            return Some(by_name(Partition::users_of_role(role.name())));
        }
        if self.active == Some(false) {
            return Some(by_name(Partition::inactive_users()));
        }
        if self.sort.is_some() || (self.name_prefix.is_some() && self.email_prefix.is_none()) {
            return Some(by_name(Partition::users_by_name()));
        }
        self.email_prefix.is_some().then(by_email)
    }

    /// Whether another order than the one by id is asked for.
    fn is_sorted(&self) -> bool {
        self.sort.is_some_and(|order| order != UserOrder::Id)
    }
}

/// Users, by id if no filter and no order is asked for. Admins and auditors only.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    filter: &UserFilter,
    page: &PageRequest,
) -> Result<Listing<User>> {
    caller.require(Power::Read)?;
    let keep = |user: &User| filter.keeps(user);
    if let Some(list) = filter.list() {
        if let Some(users) = listed::page(core, page, &list, keep).await? {
            return Ok(users.map(|user| core.counting_claims(user)));
        }
        if filter.is_sorted() {
            return Err(listed::incomplete());
        }
    }
    let follow = |pointer: &UserPointer| Key::user(pointer.user_id);
    let users = page.list_entries(core, &Partition::users(), follow).await?;
    Ok(users.only(keep).map(|user| core.counting_claims(user)))
}
