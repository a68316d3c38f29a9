//! As what somebody stopped something, which says who may let it go on.
//!
//! A stop is lifted by those who could have made it, and by those who can do more. So what an admin stopped only an admin
//! lets go on: an operator cannot bring back an account, a person or an app that an admin took out. It is not known of
//! what was stopped before this was kept. It may have been an admin, so it counts as an admin's.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoppedBy {
    /// The owner of an agent account.
    Owner,
    Operator,
    Admin,
}

impl StoppedBy {
    /// As whose stop it stands, once it is stopped again or anew. A lesser stop does not take the place of a greater one.
    pub(crate) fn after(self, runs: bool, was: Option<Self>) -> Option<Self> {
        match was {
            _ if runs => Some(self),
            Some(was) => Some(was.max(self)),
            None => (self == Self::Admin).then_some(self),
        }
    }

    /// Whether those who stop as this may lift a stop.
    pub(crate) fn may_lift(self, was: Option<Self>) -> bool {
        was.unwrap_or(Self::Admin) <= self
    }

    /// Who may lift it, for texts.
    pub(crate) fn lifted_by(was: Option<Self>) -> &'static str {
        match was {
            Some(Self::Owner) => "its owner, an operator or an admin",
            Some(Self::Operator) => "an operator or an admin",
            Some(Self::Admin) | None => "an admin",
        }
    }

    /// Who it was, for texts.
    pub(crate) fn named(was: Option<Self>) -> &'static str {
        match was {
            Some(Self::Owner) => "The owner",
            Some(Self::Operator) => "An operator",
            Some(Self::Admin) | None => "An admin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StoppedBy::{Admin, Operator, Owner};

    #[test]
    fn no_lesser_stop_takes_the_place_of_a_greater_one() {
        assert_eq!(Operator.after(true, None), Some(Operator));
        assert_eq!(Operator.after(false, Some(Owner)), Some(Operator));
        assert_eq!(Operator.after(false, Some(Admin)), Some(Admin));
        assert_eq!(Owner.after(false, Some(Operator)), Some(Operator));
        assert_eq!(Admin.after(false, Some(Owner)), Some(Admin));
    }

    #[test]
    fn a_stop_by_nobody_knows_whom_counts_as_an_admins() {
        assert_eq!(Operator.after(false, None), None);
        assert!(Admin.may_lift(None) && !Operator.may_lift(None) && !Owner.may_lift(None));
        assert!(Operator.may_lift(Some(Operator)) && Operator.may_lift(Some(Owner)));
        assert!(!Operator.may_lift(Some(Admin)) && !Owner.may_lift(Some(Operator)));
    }
}
