//! `/api/v1/users`: people.

use std::sync::Arc;

use axum::extract::State;
use deputize_core::{
    Core,
    clock::Timestamp,
    ids::UserId,
    users::{self, Email, NewUser, UserUpdate},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{self, Context, Json, Paging, PagingParams, Path},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bounds::{Groups, HttpUrl, Name, Subject};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list, create)).mount(handlers!(get, update))
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    #[schema(value_type = Uuid)]
    id: UserId,
    /// In lower case.
    #[schema(required)]
    email: Option<String>,
    #[schema(required)]
    name: Option<String>,
    role: Role,
    /// A deactivated user can do nothing, and nobody can act for them.
    active: bool,
    /// The same as `active`.
    is_active: bool,
    /// The groups that policies can name.
    groups: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        let users::User { id, email, name, role, active, groups, created_at, updated_at } = user;
        Self {
            id,
            email: email.map(String::from),
            name,
            role: role.into(),
            active,
            is_active: active,
            groups,
            created_at,
            updated_at,
        }
    }
}

/// What a user may do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// Manages what is their own.
    User,
    /// Manages everything.
    Admin,
}

impl From<users::Role> for Role {
    fn from(role: users::Role) -> Self {
        match role {
            users::Role::User => Self::User,
            users::Role::Admin => Self::Admin,
        }
    }
}

impl From<Role> for users::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Admin => Self::Admin,
        }
    }
}

/// All users
///
/// Admins only.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    operation_id = "list_users",
    tag = "users",
    params(PagingParams),
    responses((status = 200, body = Vec<User>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<User>> {
    Ok(Paged::new(&uri, users::list(&core, &caller, &page).await?, User::from))
}

/// A new user. By `identity`, or by `email` where the issuer is configured so, their JWTs lead to them.
#[derive(Debug, Deserialize, ToSchema)]
struct CreateUser {
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Option<Email>,
    #[serde(default)]
    name: Option<Name>,
    /// `user` if left out.
    #[serde(default)]
    role: Option<Role>,
    /// None if left out.
    #[serde(default)]
    groups: Option<Groups>,
    #[serde(default, deserialize_with = "extract::object")]
    identity: Option<Identity>,
}

/// An issuer's name for a user: the `iss` and `sub` of their JWTs.
#[derive(Debug, Deserialize, ToSchema)]
struct Identity {
    issuer: HttpUrl,
    subject: Subject,
}

impl From<Identity> for users::Identity {
    fn from(Identity { issuer, subject }: Identity) -> Self {
        Self { issuer: issuer.into(), subject: subject.into() }
    }
}

/// Create a user
///
/// Admins only. 409 if there is a user with that email or identity.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    operation_id = "create_user",
    tag = "users",
    request_body = CreateUser,
    responses((status = 201, body = User), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn create(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Context(request): Context,
    Json(body): Json<CreateUser>,
) -> Result<(StatusCode, Json<User>)> {
    let CreateUser { email, name, role, groups, identity } = body;
    let new = NewUser {
        email,
        name: name.map(String::from),
        role: role.unwrap_or(Role::User).into(),
        groups: groups.unwrap_or_default().into(),
        identity: identity.map(users::Identity::from),
    };
    let user = users::create(&core, &caller, &request, new).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// A user
///
/// Anybody for admins, themselves for others.
#[utoipa::path(
    get,
    path = "/api/v1/users/{user_id}",
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
) -> Result<Json<User>> {
    caller.require_self_or_admin(id)?;
    Ok(Json(users::get(&core, id).await?.value.into()))
}

/// What to change; what is left out or `null` stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
struct UpdateUser {
    #[serde(default)]
    name: Option<Name>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    groups: Option<Groups>,
}

/// Change a user
///
/// Admins only. In force from the user's next call on. 409 for admins who would deactivate or demote
/// themselves.
#[utoipa::path(
    patch,
    path = "/api/v1/users/{user_id}",
    operation_id = "update_user",
    tag = "users",
    params(("user_id" = Uuid, Path)),
    request_body = UpdateUser,
    responses((status = 200, body = User), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn update(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Context(request): Context,
    Path(id): Path<UserId>,
    Json(body): Json<UpdateUser>,
) -> Result<Json<User>> {
    let UpdateUser { name, role, active, groups } = body;
    let update = UserUpdate {
        name: name.map(String::from),
        role: role.map(users::Role::from),
        active,
        groups: groups.map(Vec::from),
    };
    Ok(Json(users::update(&core, &caller, &request, id, update).await?.into()))
}

#[cfg(test)]
mod tests {
    use deputize_service::extract::parse_json;

    use super::*;

    #[test]
    fn a_wrong_field_of_a_new_user_is_named() {
        let refusal = |body: &str| parse_json::<CreateUser>(body.as_bytes()).unwrap_err().0.to_string();
        for (body, field) in [
            (r#"{"email":"alice"}"#, "email: "),
            (r#"{"role":"owner"}"#, "role: "),
            (r#"{"identity":{"issuer":"https://id.example"}}"#, "identity: "),
            (r#"{"identity":{"issuer":"id.example","subject":"1"}}"#, "identity.issuer: "),
            (r#"{"identity":["https://id.example","1"]}"#, "identity: "),
            (r#"{"groups":"staff"}"#, "groups: "),
        ] {
            let refusal = refusal(body);
            assert!(refusal.starts_with(field), "{body}: {refusal}");
        }
    }
}
