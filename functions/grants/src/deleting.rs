//! `DELETE /api/v1/users/{user_id}`. What else there is of users is another function's.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{Core, deletion, ids::UserId};
use deputize_service::{
    Changed, Errors, IfMatch, Result,
    extract::{NoBody, Path, Query, User},
    handlers,
    routes::Routes,
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(delete(DeleteUserParams)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeleteUserParams {
    /// Offboards the user first: ends all that they have here, and stops the agent accounts that nobody else answers for.
    #[serde(default)]
    cascade: bool,
}

/// Delete a user
///
/// Admins only, and nobody deletes themselves. From then on no credential of theirs is accepted. They can be restored for 30
/// days, deactivated and without what they had. Until they are erased, their email address and identities are taken. 409 with
/// the list if anything depends on them; `cascade=true` ends it (as `POST /api/v1/users/{user_id}/offboard`), and deletes
/// them. If there was too little time for that, a 409 says so: the same request goes on.
#[utoipa::path(
    delete,
    path = path::USER,
    operation_id = "delete_user",
    tag = "users",
    params(("user_id" = Uuid, Path), DeleteUserParams),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete(
    State(core): State<Arc<Core>>,
    User(caller): User,
    IfMatch(request): IfMatch,
    Path(id): Path<UserId>,
    Query(DeleteUserParams { cascade }): Query<DeleteUserParams>,
    _: NoBody,
) -> Result<StatusCode> {
    Box::pin(deletion::delete_user(&core, &caller, &request, id, cascade)).await?;
    Ok(StatusCode::NO_CONTENT)
}
