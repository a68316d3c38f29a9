//! Groups and a role, of a token's claims.
//!
//! An issuer gives them only if its settings name the claims. They are read strictly: what is dropped here could be what
//! a policy forbids by. So a token whose groups cannot be read proves nobody.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{jwt::JwtError, users::Role};

/// How many groups one issuer can give a user. Entra names 200 in a token at most
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference>).
pub const MAX_GROUPS: usize = 200;
/// How long a group's name can be, in characters.
const MAX_GROUP_LENGTH: usize = 128;
/// How deep a claim can lie.
const MAX_DEPTH: usize = 5;
/// How many of a claim's values can be given a role.
const MAX_ROLE_VALUES: usize = 100;

/// Where a claim is: its name, or the names that lead to it. A name is a name, whatever dots or slashes it has, since
/// Auth0's are URLs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct ClaimPath(Vec<String>);

impl TryFrom<Value> for ClaimPath {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let names = match value {
            Value::String(name) => vec![name],
            Value::Array(names) => names
                .into_iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let fits = (1..=MAX_DEPTH).contains(&names.len()) && names.iter().all(|name| !name.is_empty());
        fits.then_some(Self(names)).ok_or_else(|| {
            format!("a claim is named by a text, or by a list of 1 to {MAX_DEPTH} texts that lead to it")
        })
    }
}

impl ClaimPath {
    /// The claim. `None` if there is none, or it is `null`.
    fn of<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        let found = self.0.iter().try_fold(claims, |within, name| within.get(name))?;
        (!found.is_null()).then_some(found)
    }

    /// Whether the token says that the claim is elsewhere: Entra's overage
    /// (<https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference#groups-overage-claim>), by
    /// the distributed claims of OpenID Connect Core section 5.6.2.
    fn is_elsewhere(&self, claims: &Value) -> bool {
        let [name] = self.0.as_slice() else { return false };
        let says_so = |claim: &str| matches!(&claims[claim], Value::Bool(true)) || claims[claim] == "true";
        claims["_claim_names"].get(name).is_some() || name == "groups" && says_so("hasgroups")
    }

    /// The claim's texts: a text, a list of them, or the names of an object's members, as Zitadel has roles
    /// (<https://zitadel.com/docs/apis/openidoauth/claims>).
    fn texts(&self, claims: &Value) -> Result<Vec<String>, JwtError> {
        let Some(found) = self.of(claims) else {
            return if self.is_elsewhere(claims) { Err(JwtError::GroupsElsewhere) } else { Ok(Vec::new()) };
        };
        let texts: Option<Vec<String>> = match found {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
            Value::Object(members) => Some(members.keys().cloned().collect()),
            _ => None,
        };
        texts.ok_or(JwtError::BadGroups)
    }

    /// The groups that the claim names, each once.
    pub(super) fn groups(&self, claims: &Value) -> Result<Vec<String>, JwtError> {
        let mut groups = self.texts(claims)?;
        groups.sort_unstable();
        groups.dedup();
        let fits = |group: &String| (1..=MAX_GROUP_LENGTH).contains(&group.chars().count());
        if groups.len() <= MAX_GROUPS && groups.iter().all(fits) {
            Ok(groups)
        } else {
            Err(JwtError::BadGroups)
        }
    }
}

/// Which role a claim's values give.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleClaim {
    claim: ClaimPath,
    /// The values that give a role. Of several, the greatest role counts.
    values: BTreeMap<String, Role>,
}

impl RoleClaim {
    pub(super) fn check(&self) -> Result<(), String> {
        if (1..=MAX_ROLE_VALUES).contains(&self.values.len()) {
            Ok(())
        } else {
            Err(format!("role_claim: values must give a role to 1 to {MAX_ROLE_VALUES} values of the claim"))
        }
    }

    pub(super) fn role(&self, claims: &Value) -> Result<Option<Role>, JwtError> {
        let roles = self.claim.texts(claims)?;
        let roles = roles.iter().filter_map(|value| self.values.get(value).copied());
        Ok(roles.max())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(value: Value) -> ClaimPath {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn groups_are_read_as_real_issuers_write_them() {
        let read = |at: Value, claims: Value| path(at).groups(&claims);
        let both = Ok(vec!["dev".to_owned(), "ops".to_owned()]);
        assert_eq!(read(json!("groups"), json!({ "groups": ["ops", "dev", "ops"] })), both);
        let keycloak = json!({ "realm_access": { "roles": ["dev", "ops"] } });
        assert_eq!(read(json!(["realm_access", "roles"]), keycloak), both);
        let auth0 = json!({ "https://acme.example/groups": ["dev", "ops"] });
        assert_eq!(read(json!("https://acme.example/groups"), auth0), both);
        let zitadel = json!({ "urn:zitadel:iam:org:project:roles": { "ops": {}, "dev": {} } });
        assert_eq!(read(json!("urn:zitadel:iam:org:project:roles"), zitadel), both);
        assert_eq!(read(json!("role"), json!({ "role": "dev" })), Ok(vec!["dev".to_owned()]));
        for none in [json!({}), json!({ "groups": null }), json!({ "groups": [] })] {
            assert_eq!(read(json!("groups"), none), Ok(Vec::new()));
        }
    }

    #[test]
    fn groups_that_cannot_be_read_are_not_dropped() {
        let many: Vec<String> = (0..=MAX_GROUPS).map(|n| format!("g{n}")).collect();
        for odd in
            [json!([1]), json!(["a", null]), json!(true), json!([""]), json!(["g".repeat(129)]), json!(many)]
        {
            assert_eq!(
                path(json!("groups")).groups(&json!({ "groups": odd })),
                Err(JwtError::BadGroups),
                "{odd}"
            );
        }
    }

    #[test]
    fn entras_overage_is_told_and_a_list_that_is_there_is_read() {
        let elsewhere = Err(JwtError::GroupsElsewhere);
        let named = json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} } });
        assert_eq!(path(json!("groups")).groups(&named), elsewhere);
        assert_eq!(path(json!("groups")).groups(&json!({ "hasgroups": true })), elsewhere);
        assert_eq!(path(json!("groups")).groups(&json!({ "hasgroups": "true" })), elsewhere);
        assert_eq!(path(json!("roles")).groups(&json!({ "hasgroups": true })), Ok(Vec::new()));
        let there = json!({ "groups": ["a"], "_claim_names": {} });
        assert_eq!(path(json!("groups")).groups(&there), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn the_greatest_role_counts_and_an_unknown_value_gives_none() {
        let claim: RoleClaim = serde_json::from_value(
            json!({ "claim": "roles", "values": {
                "Deputize.Admin": "admin", "Deputize.Operator": "operator", "Deputize.Auditor": "auditor", "Deputize.User": "user",
            } }),
        )
        .unwrap();
        let role = |value: Value| claim.role(&json!({ "roles": value })).unwrap();
        assert_eq!(role(json!(["Deputize.User", "Deputize.Admin", "x"])), Some(Role::Admin));
        assert_eq!(role(json!("Deputize.User")), Some(Role::User));
        assert_eq!(role(json!(["Deputize.Operator", "Deputize.Auditor"])), Some(Role::Operator));
        assert_eq!(role(json!(["Deputize.User", "Deputize.Auditor"])), Some(Role::Auditor));
        assert_eq!(role(json!(["deputize.admin", "admin"])), None);
    }

    #[test]
    fn a_claim_is_named_by_a_text_or_the_texts_that_lead_to_it() {
        for wrong in [json!(""), json!([]), json!(["a", 1]), json!(1), json!(["a", "b", "c", "d", "e", "f"])]
        {
            assert!(serde_json::from_value::<ClaimPath>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
