//! A user, and what leads to one.

use serde::{Deserialize, Serialize};

use super::stopped::StoppedBy;
use crate::{
    clock::Timestamp,
    email::Email,
    epoch::Epoch,
    ids::UserId,
    scope::Scope,
    table::{Entity, Key},
};

/// What a user is to the organization. Each has all the powers of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Manages their own things.
    #[default]
    User,
    /// Sees everything, and changes what is their own.
    Auditor,
    /// Stops and revokes what is other people's, and lets go on what operators stopped.
    Operator,
    /// Manages everything.
    Admin,
}

/// What somebody may do to what is not theirs. Each includes those before it. `docs/roles.md` says which one each
/// endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// See everything.
    Read,
    /// Stop what runs and revoke what is given, let it go on, and rotate keys.
    Operate,
    /// Change everything.
    Manage,
}

impl Power {
    /// Who has it by their role, for texts.
    pub(crate) const fn whose(self) -> &'static str {
        match self {
            Self::Read => "Only an auditor, an operator or an admin may do this",
            Self::Operate => "Only an operator or an admin may do this",
            Self::Manage => "Only an admin may do this",
        }
    }

    /// The scope that an API key must have for it.
    pub(crate) const fn scope(self) -> Scope {
        match self {
            Self::Read => Scope::ManageRead,
            Self::Operate | Self::Manage => Scope::Manage,
        }
    }
}

impl Role {
    /// The most that the role may do.
    fn power(self) -> Option<Power> {
        match self {
            Self::User => None,
            Self::Auditor => Some(Power::Read),
            Self::Operator => Some(Power::Operate),
            Self::Admin => Some(Power::Manage),
        }
    }

    pub fn has(self, power: Power) -> bool {
        self.power().is_some_and(|most| power <= most)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::email::stored")]
    pub email: Option<Email>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub role: Role,
    /// A deactivated user can do nothing, and nobody can act for them.
    pub active: bool,
    /// Who deactivated them, while they are deactivated. Unknown of users who were deactivated before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivated_by: Option<StoppedBy>,
    /// How often they have been deactivated. A token on their behalf says in which epoch it was issued, and is good in
    /// that one only.
    #[serde(default, skip_serializing_if = "crate::epoch::Epoch::is_first")]
    pub epoch: Epoch,
    /// When they were last deactivated, or came back from it if that was before this was kept. It ends what does not say
    /// in which epoch it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivated_at: Option<Timestamp>,
    /// Cedar groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What issuers call them: at most one subject of each issuer. A pointer leads from each to here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// What issuers' tokens said of the user's groups and role, the newest of each issuer. How much of it counts, is in
    /// [`Self::counted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<IssuerClaims>,
    /// What of `claims` counts now. Nothing, until that was looked at.
    #[serde(skip)]
    pub counted: CountedClaims,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What an issuer's token said of a user, beside who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerClaims {
    pub issuer: String,
    /// The token's `iat`. What was issued before says nothing any more.
    pub issued_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What of an issuer's claims counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedClaims {
    pub(crate) groups: Vec<String>,
    /// The greatest of the roles that issuers give.
    pub(crate) role: Role,
}

/// How many issuers can know a user.
pub const MAX_IDENTITIES: usize = 10;

/// What decides about a user whether something of theirs is in force: [`User::vouches_for`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vouching {
    active: bool,
    epoch: Epoch,
    deactivated_at: Option<Timestamp>,
}

impl Vouching {
    pub(crate) fn is_for(self, epoch: Option<Epoch>, made_at: Timestamp) -> bool {
        match epoch {
            Some(epoch) if self.active => epoch == self.epoch,
            Some(epoch) => epoch.is_just_before(self.epoch),
            None => !self.active || self.deactivated_at.is_none_or(|ended| ended < made_at),
        }
    }
}

impl Entity for User {
    const KIND: &'static str = "user";
}

impl User {
    /// What people call them: by their name, or else their address.
    pub fn called(&self) -> Option<String> {
        self.name.clone().or_else(|| self.email.as_ref().map(ToString::to_string))
    }

    /// By an admin's word, or by an issuer's.
    pub fn is_admin(&self) -> bool {
        self.effective_role() == Role::Admin
    }

    /// Their role: the greater one of an admin's word and the issuers'.
    pub fn effective_role(&self) -> Role {
        self.role.max(self.counted.role)
    }

    /// The greatest role that an admin gave them or an issuer ever said that they have, whether it counts now or not.
    pub(crate) fn greatest_role(&self) -> Role {
        self.claims.iter().filter_map(|claims| claims.role).fold(self.role, Role::max)
    }

    /// All of their groups: those that an admin set, and those by issuers. One may be among them twice.
    pub fn effective_groups(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().chain(&self.counted.groups)
    }

    /// Takes over what a token says, if it is newer than what is known of its issuer. `false` if it is not.
    pub(crate) fn learn(&mut self, said: &IssuerClaims) -> bool {
        match self.claims.iter_mut().find(|known| known.issuer == said.issuer) {
            Some(known) if known.issued_at >= said.issued_at => return false,
            Some(known) => known.clone_from(said),
            None => self.claims.push(said.clone()),
        }
        true
    }

    /// Deactivates or reactivates them. Who may do that is for the caller to say.
    pub(crate) fn set_active(&mut self, active: bool, by: StoppedBy, now: Timestamp) {
        if active {
            if !self.active {
                self.deactivated_at.get_or_insert(now);
            }
            self.deactivated_by = None;
        } else {
            if self.active {
                self.epoch.end();
                self.deactivated_at = Some(now);
            }
            self.deactivated_by = by.after(self.active, self.deactivated_by);
        }
        self.active = active;
    }

    /// What the trail shows of them.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            email: &'a Option<Email>,
            name: &'a Option<String>,
            identities: &'a [Identity],
            role: Role,
            active: bool,
            epoch: Epoch,
            deactivated_at: Option<Timestamp>,
            groups: &'a [String],
            claims: &'a [IssuerClaims],
        }
        let Self { email, name, identities, role, active, epoch, deactivated_at, groups, claims, .. } = self;
        let (role, active, epoch, deactivated_at) = (*role, *active, *epoch, *deactivated_at);
        Recorded { email, name, identities, role, active, epoch, deactivated_at, groups, claims }
    }

    /// Whether something of theirs that was made in this epoch is in force, as far as it rests on them: it ended if they
    /// have been deactivated since, and does not come back with them. While they are deactivated, it is what was in force
    /// until then, so that this can be told to be the reason.
    ///
    /// What was stored before it said its epoch ended with the first deactivation after it was made.
    pub(crate) fn vouches_for(&self, epoch: Option<Epoch>, made_at: Timestamp) -> bool {
        self.vouching().is_for(epoch, made_at)
    }

    pub(crate) fn vouching(&self) -> Vouching {
        Vouching { active: self.active, epoch: self.epoch, deactivated_at: self.deactivated_at }
    }

    /// Whether they are in a group, by an admin's word or an issuer's.
    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.effective_groups().any(|theirs| theirs == group)
    }

    /// What an issuer calls them.
    pub(crate) fn identity_at(&self, issuer: &str) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.issuer == issuer)
    }
}

/// An item that leads to a user: by email, by issuer and subject, or in the list of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserPointer {
    pub user_id: UserId,
}

impl Entity for UserPointer {
    const KIND: &'static str = "user pointer";
}

/// An issuer's name for a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

impl Identity {
    pub(crate) fn key(&self) -> Key {
        Key::user_by_identity(&self.issuer, &self.subject)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::audit::PERSONAL_FIELDS;

    /// What the trail shows of a user is either taken out of it with them, or is about what they may do.
    #[test]
    fn each_field_of_users_in_the_trail_is_known_to_be_personal_or_not() {
        let user = json!({
            "id": "01970000-0000-7000-8000-000000000000", "role": "user", "active": true,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        });
        let user: User = serde_json::from_value(user).unwrap();
        let shown = serde_json::to_value(user.recorded()).unwrap();
        let (personal, others): (BTreeSet<&str>, BTreeSet<&str>) = shown
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .partition(|field| PERSONAL_FIELDS.contains(&("user", field)));
        assert_eq!(personal, BTreeSet::from(["email", "identities", "name"]));
        let decides = ["active", "claims", "deactivated_at", "epoch", "groups", "role"];
        assert_eq!(others, BTreeSet::from(decides));
    }
}
