//! Who may know of an agent account: two fields of its body.

use deputize_core::{
    Error,
    agents::{self, MAX_VISIBLE_GROUPS},
};
use deputize_service::Result;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use deputize_service::bounds::Group;

/// Who may know that an agent account exists, and so delegate to it, beside its owner and admins. For all others it is as if
/// it did not exist.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visibility {
    /// Every user.
    Everyone,
    /// The users in one of `visible_to_groups`, by an admin's word or an issuer's.
    Groups,
    /// No other user.
    Owners,
}

impl Visibility {
    /// The two fields.
    pub(crate) fn shown(visibility: agents::Visibility) -> (Self, Vec<String>) {
        match visibility {
            agents::Visibility::Everyone => (Self::Everyone, Vec::new()),
            agents::Visibility::Groups(groups) => (Self::Groups, groups),
            agents::Visibility::Owners => (Self::Owners, Vec::new()),
        }
    }
}

/// Groups whose users may know of an agent account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "Vec<Group>")]
#[schema(value_type = Vec<Group>, min_items = 1, max_items = 10)]
pub(crate) struct VisibleTo(Vec<Group>);

impl TryFrom<Vec<Group>> for VisibleTo {
    type Error = String;

    fn try_from(groups: Vec<Group>) -> Result<Self, String> {
        if (1..=MAX_VISIBLE_GROUPS).contains(&groups.len()) {
            Ok(Self(groups))
        } else {
            Err(format!("must be 1 to {MAX_VISIBLE_GROUPS} groups"))
        }
    }
}

/// What the two fields say together. `None` if neither is there.
pub(crate) fn visibility(
    visibility: Option<Visibility>,
    groups: Option<VisibleTo>,
) -> Result<Option<agents::Visibility>> {
    match (visibility, groups) {
        (None, None) => Ok(None),
        (Some(Visibility::Everyone), None) => Ok(Some(agents::Visibility::Everyone)),
        (Some(Visibility::Owners), None) => Ok(Some(agents::Visibility::Owners)),
        (Some(Visibility::Groups), Some(VisibleTo(groups))) => {
            Ok(Some(agents::Visibility::Groups(groups.into_iter().map(String::from).collect())))
        }
        _ => {
            Err(Error::invalid("visible_to_groups goes with visibility \"groups\", and the other way round")
                .into())
        }
    }
}
