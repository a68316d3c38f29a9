//! `/api/v1/users`: people.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    caller::{Power, UserCaller},
    clock::Timestamp,
    ids::UserId,
    table::{Key, Stored},
    users::{self, Email, MAX_IDENTITIES, NewUser, UserFilter, UserOrder, UserUpdate},
};
use deputize_service::{
    Changed, Errors, IfMatch, KeyReused, Once, Paged, Result, Tagged,
    bounds::{EmailPrefix, Group, Groups, HttpUrl, Name, Subject},
    extract::{self, Json, Paging, PagingParams, Path, Query},
    handlers,
    routes::Routes,
};
use http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::agent_accounts::DisabledBy;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list(ListFilter, PagingParams), create)).mount(handlers!(get, update))
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    #[schema(value_type = Uuid)]
    id: UserId,
    /// In lower case. The same address in another spelling belongs to the same user.
    #[schema(required)]
    email: Option<String>,
    #[schema(required)]
    name: Option<String>,
    role: Role,
    /// A deactivated user can do nothing, and no agent can act for them.
    active: bool,
    /// The same as `active`.
    is_active: bool,
    /// Who deactivated them, while they are deactivated. Only an admin can reactivate them if an `admin` did, or if it is
    /// `null`; if an `operator` did, an operator too. `null` if they were deactivated before this was kept.
    #[schema(required)]
    deactivated_by: Option<DisabledBy>,
    /// When they were deactivated, while they are. `null` if that was before this was kept.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    deactivated_at: Option<Timestamp>,
    /// The groups that policies can name.
    groups: Vec<String>,
    /// The issuers' names for the user. Only auditors, operators and admins see them, and only if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    identities: Vec<Identity>,
    /// What issuers' tokens said of the user's groups and role, if any did. It counts beside what admins have set, for as
    /// long as the deployment says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    claims: Vec<Claims>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl User {
    fn tagged(caller: &UserCaller, Stored { rev, value }: Stored<users::User>) -> Tagged<Self> {
        let key = Key::user(value.id);
        let shown = Self::seen_by(caller, value);
        if caller.has(Power::Manage) { Tagged::new(&key, rev, shown) } else { Tagged::shown(shown) }
    }

    /// The user with the fields that the caller may see.
    pub(crate) fn seen_by(caller: &UserCaller, user: users::User) -> Self {
        let users::User {
            id,
            email,
            name,
            role,
            active,
            deactivated_by,
            epoch: _,
            deactivated_at,
            groups,
            identities,
            claims,
            counted: _,
            created_at,
            updated_at,
        } = user;
        let identities = if caller.has(Power::Read) { identities } else { Vec::new() };
        Self {
            id,
            email: email.map(String::from),
            name,
            role: role.into(),
            active,
            is_active: active,
            deactivated_by: deactivated_by.map(DisabledBy::from),
            deactivated_at: deactivated_at.filter(|_| !active),
            groups,
            identities: identities.into_iter().map(Identity::from).collect(),
            claims: claims.into_iter().map(Claims::from).collect(),
            created_at,
            updated_at,
        }
    }
}

/// What an issuer's token said of a user.
#[derive(Debug, Serialize, ToSchema)]
struct Claims {
    issuer: String,
    /// When the token was issued.
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    groups: Vec<String>,
    #[schema(required)]
    role: Option<Role>,
}

impl From<users::IssuerClaims> for Claims {
    fn from(users::IssuerClaims { issuer, issued_at, groups, role }: users::IssuerClaims) -> Self {
        Self { issuer, issued_at, groups, role: role.map(Role::from) }
    }
}

/// What a user may do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Manages their own things.
    User,
    /// Sees everything, and changes what is their own.
    Auditor,
    /// Sees everything, stops and revokes what is other people's, and lets go on what operators stopped.
    Operator,
    /// Manages everything.
    Admin,
}

impl From<users::Role> for Role {
    fn from(role: users::Role) -> Self {
        match role {
            users::Role::User => Self::User,
            users::Role::Auditor => Self::Auditor,
            users::Role::Operator => Self::Operator,
            users::Role::Admin => Self::Admin,
        }
    }
}

impl From<Role> for users::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Auditor => Self::Auditor,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only users whose email address begins so, in any case.
    #[param(value_type = Option<String>, max_length = 254)]
    email_prefix: Option<EmailPrefix>,
    /// Only users whose name begins so, in any case.
    #[param(value_type = Option<String>, max_length = 200)]
    name_prefix: Option<Name>,
    active: Option<bool>,
    /// Only users whom an admin gave this role. What issuers say is not looked at.
    #[param(inline)]
    role: Option<Role>,
    /// Only users whom an admin put into this group. What issuers say is not looked at.
    #[param(value_type = Option<String>, max_length = 128)]
    group: Option<Group>,
    /// By `id`, `email` or `name`. If left out, by what is filtered (`email_prefix` by email; `name_prefix`, `role`, `group`
    /// and `active=false` by name), or else by id. Users without a name are among the others by their email.
    #[param(inline)]
    sort: Option<Order>,
}

/// What users are sorted by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Id,
    Email,
    Name,
}

impl From<ListFilter> for UserFilter {
    fn from(filter: ListFilter) -> Self {
        let ListFilter { email_prefix, name_prefix, active, role, group, sort } = filter;
        Self {
            email_prefix: email_prefix.map(String::from),
            name_prefix: name_prefix.map(String::from),
            active,
            role: role.map(users::Role::from),
            group: group.map(String::from),
            sort: sort.map(|order| match order {
                Order::Id => UserOrder::Id,
                Order::Email => UserOrder::Email,
                Order::Name => UserOrder::Name,
            }),
        }
    }
}

/// All users
///
/// Auditors, operators and admins. A page can hold fewer users than asked for while there are more: follow `Link`.
#[utoipa::path(
    get,
    path = path::USERS,
    operation_id = "list_users",
    tag = "users",
    params(ListFilter, PagingParams),
    responses((status = 200, body = Vec<User>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Query(filter): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<User>> {
    let users = users::list(&core, &caller, &filter.into(), &page).await?;
    Ok(Paged::new(&uri, users, |user| User::seen_by(&caller, user)))
}

/// A new user, with an `email` or an `identity`, or both. Their JWTs are matched to them by `identity`, or by `email` if the
/// issuer is configured so.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateUser {
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Option<Email>,
    #[serde(default)]
    name: Option<Name>,
    /// `user` if left out.
    #[serde(default)]
    role: Option<Role>,
    /// No groups if left out.
    #[serde(default)]
    groups: Option<Groups>,
    #[serde(default, deserialize_with = "extract::object")]
    identity: Option<NewIdentity>,
}

impl From<CreateUser> for NewUser {
    fn from(CreateUser { email, name, role, groups, identity }: CreateUser) -> Self {
        Self {
            email,
            name: name.map(String::from),
            role: role.unwrap_or(Role::User).into(),
            groups: groups.unwrap_or_default().into(),
            identity: identity.map(users::Identity::from),
        }
    }
}

/// An issuer's name for a user: the `iss` and `sub` of their JWTs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Identity {
    issuer: String,
    subject: String,
}

impl From<users::Identity> for Identity {
    fn from(users::Identity { issuer, subject }: users::Identity) -> Self {
        Self { issuer, subject }
    }
}

/// An issuer's name for a user: the `iss` and `sub` of their JWTs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewIdentity {
    issuer: HttpUrl,
    subject: Subject,
}

impl From<NewIdentity> for users::Identity {
    fn from(NewIdentity { issuer, subject }: NewIdentity) -> Self {
        Self { issuer: issuer.into(), subject: subject.into() }
    }
}

/// The issuers' names for a user: at most one subject for each issuer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(try_from = "Vec<NewIdentity>")]
#[schema(value_type = HashSet<NewIdentity>, max_items = 10)]
struct Identities(Vec<NewIdentity>);

impl TryFrom<Vec<NewIdentity>> for Identities {
    type Error = String;

    fn try_from(identities: Vec<NewIdentity>) -> Result<Self, String> {
        if identities.len() <= MAX_IDENTITIES {
            Ok(Self(identities))
        } else {
            Err(format!("must be at most {MAX_IDENTITIES} identities"))
        }
    }
}

/// Create a user
///
/// Admins only. 409 if there is a user with that email or identity.
#[utoipa::path(
    post,
    path = path::USERS,
    operation_id = "create_user",
    tag = "users",
    request_body = CreateUser,
    responses((status = 201, body = User), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Once(request, Json(body)): Once<Json<CreateUser>>,
) -> Result<Tagged<User>> {
    let user = users::create(&core, &caller, &request, body.into()).await?;
    let address = core.settings.address(path::USER, user.id);
    Ok(User::tagged(&caller, user).made_at(address))
}

/// A user
///
/// Auditors, operators and admins see every user. Other users see themselves.
#[utoipa::path(
    get,
    path = path::USER,
    operation_id = "get_user",
    tag = "users",
    params(("user_id" = Uuid, Path)),
    responses((status = 200, body = User), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Path(id): Path<UserId>,
) -> Result<Tagged<User>> {
    caller.require_self_or(id, Power::Read)?;
    Ok(User::tagged(&caller, users::get(&core, id).await?))
}

/// The fields to change. A field that is left out or `null` stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateUser {
    /// Another address, in any case. A deactivated user keeps theirs. `identities` stay as they are: if a wrong person was
    /// bound by the former address, take them out too.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Option<Email>,
    #[serde(default)]
    name: Option<Name>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    groups: Option<Groups>,
    /// All identities that the user is to have. An issuer that is left out no longer knows the user. If that issuer
    /// links by email, its next subject with the user's email may be bound to the user.
    #[serde(default)]
    identities: Option<Identities>,
}

/// Change a user
///
/// Admins, and operators to change `active` alone. An operator can neither deactivate nor reactivate an admin, nor
/// reactivate whom an admin deactivated. Takes effect from the user's next call. 409 if users would deactivate or demote themselves, if an
/// identity or email belongs to another user, whom the text names, and if one would be taken from a deactivated user.
#[utoipa::path(
    patch,
    path = path::USER,
    operation_id = "update_user",
    tag = "users",
    params(("user_id" = Uuid, Path)),
    request_body = UpdateUser,
    responses((status = 200, body = User), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn update(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    IfMatch(request): IfMatch,
    Path(id): Path<UserId>,
    Json(body): Json<UpdateUser>,
) -> Result<Tagged<User>> {
    let UpdateUser { email, name, role, active, groups, identities } = body;
    let update = UserUpdate {
        email,
        name: name.map(String::from),
        role: role.map(users::Role::from),
        active,
        groups: groups.map(Vec::from),
        identities: identities.map(|Identities(all)| all.into_iter().map(users::Identity::from).collect()),
        ..UserUpdate::default()
    };
    Ok(User::tagged(&caller, users::update(&core, &caller, &request, id, update).await?))
}

#[cfg(test)]
mod tests {
    use deputize_service::extract::parse_json;

    use super::*;

    #[test]
    fn a_wrong_field_of_a_new_user_is_named() {
        let refusal = |body: &str| parse_json::<CreateUser>(body.as_bytes()).unwrap_err().to_string();
        for (body, field) in [
            (r#"{"email":"alice"}"#, "email: "),
            (r#"{"role":"owner"}"#, "role: "),
            (r#"{"identity":{"issuer":"https://id.example"}}"#, "identity.subject: "),
            (r#"{"identity":{"issuer":"id.example","subject":"1"}}"#, "identity.issuer: "),
            (r#"{"identity":["https://id.example","1"]}"#, "identity: "),
            (r#"{"groups":"staff"}"#, "groups: "),
        ] {
            let refusal = refusal(body);
            assert!(refusal.starts_with(field), "{body}: {refusal}");
        }
    }
}
