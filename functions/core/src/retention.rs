//! How long the table keeps what has ended.
//!
//! An item that ends has a time, `ttl`, after which DynamoDB deletes it: the end, and the retention of its kind after
//! that. DynamoDB takes its time, up to two days, so nothing rests on it: whether something is over is said by what is
//! in the item, as if `ttl` were not there. What lives again is written without one.
//!
//! | kept | its end | for so long after it, in days |
//! | --- | --- | --- |
//! | audit events | when they were stored | `audit`: 400 |
//! | API keys | `expires_at`; a revoked one is deleted at once | `api_keys`: 90 |
//! | delegations, with their entry and pointers | `expires_at` or `revoked_at`; of a pointer to one that was replaced, when it was | `delegations`: 90 |
//! | session grants, with their pointers | `revoked_at`; of a pointer to one that was replaced, when it was | `grants`: 90 |
//! | who began a generation of grants | when the generation began | `grants`: 90 |
//!
//! What is over by itself goes then, whatever is configured: a connection under way (10 minutes), a note of a revoked
//! token (as long as what it ends could live), of a used assertion (as long as it would be believed), an MCP session
//! key (three weeks), a browser session (at its end), a note of a finished sign-in or a used logout token (15 minutes), an
//! authorization code (a minute; a redeemed one as long as what it gave could live), what a user allowed an app, and its
//! refresh tokens (at most a year after the user last allowed it).
//!
//! What has no `ttl` has another bound, which the table in `table/key.rs` names. A *pair* never has one: its generation
//! must not begin anew while there are grants of an older one. A grant that somebody else's sharing has ended is not
//! written then, so it stays; there is one for each user and pair at most. Expired secrets and keys of agent accounts
//! are in the account's item, and go when the next one is added. Signing keys are in force together, so it is a
//! rotation that drops them.

use std::{fmt, str::FromStr, time::Duration};

use crate::clock::Timestamp;

/// The kinds of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionClass {
    Audit,
    ApiKeys,
    Delegations,
    Grants,
}

impl RetentionClass {
    const ALL: [Self; 4] = [Self::Audit, Self::ApiKeys, Self::Delegations, Self::Grants];

    fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::ApiKeys => "api_keys",
            Self::Delegations => "delegations",
            Self::Grants => "grants",
        }
    }
}

/// The end of something, and the kind of retention that begins then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub class: RetentionClass,
    pub at: Timestamp,
}

/// The longest retention, in days: a hundred years.
const LONGEST: u32 = 36_525;

/// How many days each is kept after its end. `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub audit: Option<u32>,
    pub api_keys: Option<u32>,
    pub delegations: Option<u32>,
    pub grants: Option<u32>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { audit: Some(400), api_keys: Some(90), delegations: Some(90), grants: Some(90) }
    }
}

impl Retention {
    fn of(&mut self, class: RetentionClass) -> &mut Option<u32> {
        match class {
            RetentionClass::Audit => &mut self.audit,
            RetentionClass::ApiKeys => &mut self.api_keys,
            RetentionClass::Delegations => &mut self.delegations,
            RetentionClass::Grants => &mut self.grants,
        }
    }

    /// When an item with this end may be removed.
    pub(crate) fn removed_at(mut self, ends: Ends) -> Option<Timestamp> {
        let days = (*self.of(ends.class))?;
        Some(ends.at.plus(Duration::from_hours(24 * u64::from(days))))
    }
}

/// Names and days, such as `audit=400, grants=30`. 0 means for ever. Names that are left out keep their
/// defaults.
impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut retention = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, days) = part.split_once('=').map(|(name, days)| (name.trim(), days.trim())).unzip();
            let class = RetentionClass::ALL.into_iter().find(|class| Some(class.name()) == name);
            let days = days.and_then(|days| days.parse::<u32>().ok()).filter(|days| *days <= LONGEST);
            let (Some(class), Some(days)) = (class, days) else {
                return Err(format!(
                    "must be names and days, such as audit=400,grants=30 (of {}; 0 for ever, {LONGEST} at most)",
                    RetentionClass::ALL.map(RetentionClass::name).join(", ")
                ));
            };
            if seen.contains(&class) {
                return Err(format!("names {} twice", class.name()));
            }
            seen.push(class);
            *retention.of(class) = (days > 0).then_some(days);
        }
        Ok(retention)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut retention = *self;
        let parts = RetentionClass::ALL
            .map(|class| format!("{}={}", class.name(), retention.of(class).unwrap_or_default()));
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_reads_back_and_what_is_left_out_keeps_its_default() {
        assert_eq!("".parse(), Ok(Retention::default()));
        let short = Retention { audit: Some(7), grants: None, ..Retention::default() };
        assert_eq!(" grants = 0 , audit=7,".parse(), Ok(short));
        assert_eq!(short.to_string(), "audit=7,api_keys=90,delegations=90,grants=0");
        assert_eq!(short.to_string().parse(), Ok(short));
        for wrong in [
            "7",
            "audit",
            "audit=",
            "audit=-1",
            "audit=1.5",
            "Audit=1",
            "all=1",
            "audit=36526",
            "audit=1,audit=2",
        ] {
            assert!(wrong.parse::<Retention>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_kept_for_ever_is_never_removed() {
        let ends = Ends { class: RetentionClass::Grants, at: Timestamp::from_seconds(0) };
        let days = |days| Retention { grants: days, ..Retention::default() }.removed_at(ends);
        assert_eq!(days(Some(2)), Some(Timestamp::from_seconds(2 * 86_400)));
        assert_eq!(days(None), None);
    }
}
