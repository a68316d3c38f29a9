//! `/api/v1/me`: whose credential this is.

use std::sync::Arc;

use deputize_api::path;
use deputize_core::Core;
use deputize_service::{
    Errors, Result,
    extract::{self, Json},
    handlers,
    routes::Routes,
};

use crate::users::User;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(me))
}

/// The user who is calling
#[utoipa::path(
    get,
    path = path::ME,
    operation_id = "get_me",
    tag = "users",
    responses((status = 200, description = "The user.", body = User), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn me(extract::User(caller): extract::User) -> Result<Json<User>> {
    let user = caller.user.clone();
    Ok(Json(User::seen_by(&caller, user)))
}
