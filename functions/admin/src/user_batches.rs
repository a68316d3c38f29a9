//! `/api/v1/users:batch`: many users at once, and who is in which group.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    audit::RequestContext,
    caller::{Power, UserCaller},
    ids::UserId,
    users::{self, Email, Regrouping, UserUpdate},
};
use deputize_service::{
    Batch, BatchOutcomes, Done, Errors, KeyReused, MAX_BATCH_BODY, Once, Result,
    bounds::{Groups, Name},
    extract,
    extract::object,
    handlers,
    routes::Routes,
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::users::{CreateUser, Role, User};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(batch))
}

/// 1 to 1,000 entries.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the entries are read one by one; this describes them")]
struct UserBatch {
    #[schema(min_items = 1, max_items = 1000)]
    entries: Vec<UserEntry>,
}

/// Either `create` or `update`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    #[serde(default, deserialize_with = "object")]
    create: Option<CreateUser>,
    #[serde(default, deserialize_with = "object")]
    update: Option<UserChange>,
}

/// The user, and the fields to change. A field that is left out or `null` stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    #[schema(value_type = Uuid)]
    user_id: UserId,
    /// Another address, in any case. A deactivated user keeps theirs.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Option<Email>,
    #[serde(default)]
    name: Option<Name>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    active: Option<bool>,
    /// All groups that the user is to be in.
    #[serde(default)]
    groups: Option<Groups>,
    /// The user is to be in these too, whatever others they are in.
    #[serde(default)]
    add_groups: Option<Groups>,
    /// The user is not to be in these any more.
    #[serde(default)]
    remove_groups: Option<Groups>,
}

/// Create and change many users
///
/// Admins only. Each entry is carried out as if it had come alone, and `outcomes` has what each came to, in their order.
/// An entry for which there was no time is a 503: send it again. With an `Idempotency-Key`, the whole batch can be sent
/// again.
#[utoipa::path(
    post,
    path = path::USER_BATCH,
    operation_id = "batch_users",
    tag = "users",
    request_body = UserBatch,
    responses((status = 200, description = "What each entry came to.", body = BatchOutcomes), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn batch(
    State(core): State<Arc<Core>>,
    extract::User(caller): extract::User,
    Once(request, batch): Once<Batch, MAX_BATCH_BODY>,
) -> Result<BatchOutcomes> {
    caller.require(Power::Manage)?;
    let caller = Arc::new(caller);
    let carry_out = move |request, entry| {
        let (core, caller) = (Arc::clone(&core), Arc::clone(&caller));
        async move { carry_out(&core, &caller, &request, entry).await }
    };
    Ok(batch.each(&request, carry_out).await)
}

async fn carry_out(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    entry: UserEntry,
) -> Result<Done> {
    match entry {
        UserEntry { create: Some(create), update: None } => {
            let made = users::create(core, caller, request, create.into()).await?;
            Done::showing(StatusCode::CREATED, &User::seen_by(caller, made.value))
        }
        UserEntry { create: None, update: Some(change) } => {
            let UserChange { user_id, email, name, role, active, groups, add_groups, remove_groups } = change;
            let update = UserUpdate {
                email,
                name: name.map(String::from),
                role: role.map(users::Role::from),
                active,
                groups: groups.map(Vec::from),
                identities: None,
                regrouping: Regrouping {
                    add: add_groups.unwrap_or_default().into(),
                    remove: remove_groups.unwrap_or_default().into(),
                },
            };
            let changed = users::update(core, caller, request, user_id, update).await?;
            Done::showing(StatusCode::OK, &User::seen_by(caller, changed.value))
        }
        _ => Err(Error::invalid("an entry must have either create or update").into()),
    }
}
