//! The owners of agent accounts, as they come in and go out.

use deputize_core::{
    agents::{self, MAX_OWNERS},
    ids::UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use deputize_service::bounds::Group;

/// An owner of an agent account: a user, or a group, all of whose members own it. It has one of the two fields.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountOwner {
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    #[serde(default)]
    group: Option<Group>,
}

/// Who owns an agent account, beside the admins who manage all of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "Vec<AccountOwner>")]
#[schema(value_type = Vec<AccountOwner>, min_items = 1, max_items = 10)]
pub(crate) struct Owners(Vec<agents::Owner>);

impl TryFrom<Vec<AccountOwner>> for Owners {
    type Error = String;

    fn try_from(owners: Vec<AccountOwner>) -> Result<Self, String> {
        if !(1..=MAX_OWNERS).contains(&owners.len()) {
            return Err(format!("must be 1 to {MAX_OWNERS} users or groups"));
        }
        let owner = |owner: AccountOwner| match owner {
            AccountOwner { user_id: Some(user), group: None } => Ok(agents::Owner::User(user)),
            AccountOwner { user_id: None, group: Some(group) } => Ok(agents::Owner::Group(group.into())),
            _ => Err("each must have a user_id or a group, and not both".to_owned()),
        };
        owners.into_iter().map(owner).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Owners> for Vec<agents::Owner> {
    fn from(owners: Owners) -> Self {
        owners.0
    }
}

/// An owner as it is answered.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ShownOwner(agents::Owner);

impl From<agents::Owner> for ShownOwner {
    fn from(owner: agents::Owner) -> Self {
        Self(owner)
    }
}

#[cfg(test)]
mod tests {
    use deputize_service::extract::parse_json;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        owners: Owners,
    }

    fn parse(owners: &serde_json::Value) -> Result<usize, String> {
        let parsed = parse_json::<Body>(json!({ "owners": owners }).to_string().as_bytes());
        parsed.map(|body| body.owners.0.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_owner_is_a_user_or_a_group_and_there_are_1_to_10() {
        let user = json!({ "user_id": "00000000-0000-4000-8000-000000000001" });
        let group = json!({ "group": "platform" });
        assert_eq!(parse(&json!([user, group])), Ok(2));
        assert_eq!(parse(&json!(vec![&group; 10])), Ok(10));
        let both = json!({ "user_id": "00000000-0000-4000-8000-000000000001", "group": "platform" });
        for wrong in
            [json!([]), json!(vec![&group; 11]), json!([{}]), json!([both]), json!([{ "group": "" }])]
        {
            let refusal = parse(&wrong).unwrap_err();
            assert!(refusal.starts_with("owners"), "{wrong}: {refusal}");
        }
    }
}
