//! `/api/v1/delegations:batch`: many delegations at once.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    caller::UserCaller,
    clock::Timestamp,
    delegations::{self, NewDelegation},
    ids::{AgentAccountId, DelegationId, ServerId},
};
use deputize_service::{
    ApiError, Batch, BatchOutcomes, Done, Errors, KeyReused, MAX_BATCH_BODY, Once, Result,
    extract::{User, object},
    handlers,
    routes::Routes,
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::shown;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(batch))
}

/// 1 to 1,000 entries.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the entries are read one by one; this describes them")]
struct DelegationBatch {
    #[schema(min_items = 1, max_items = 1000)]
    entries: Vec<DelegationEntry>,
}

/// Either `create` or `revoke`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DelegationEntry {
    #[serde(default, deserialize_with = "object")]
    create: Option<DelegateTo>,
    #[serde(default, deserialize_with = "object")]
    revoke: Option<RevokeDelegation>,
}

/// What the caller delegates, and to whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DelegateTo {
    #[schema(value_type = Uuid)]
    agent_account_id: AgentAccountId,
    /// As in a request of its own.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 50)]
    server_ids: Option<Vec<ServerId>>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RevokeDelegation {
    #[schema(value_type = Uuid)]
    delegation_id: DelegationId,
}

/// Delegate to many agent accounts, and revoke many delegations
///
/// Each entry is carried out as if it had come alone, and `outcomes` has what each came to, in their order. An entry for
/// which there was no time is a 503: send it again. With an `Idempotency-Key`, the whole batch can be sent again.
#[utoipa::path(
    post,
    path = path::DELEGATION_BATCH,
    operation_id = "batch_delegations",
    tag = "delegations",
    request_body = DelegationBatch,
    responses((status = 200, description = "What each entry came to.", body = BatchOutcomes), Errors, KeyReused),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn batch(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Once(request, batch): Once<Batch, MAX_BATCH_BODY>,
) -> Result<BatchOutcomes> {
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
    request: &deputize_core::audit::RequestContext,
    entry: DelegationEntry,
) -> Result<Done, ApiError> {
    match entry {
        DelegationEntry { create: Some(create), revoke: None } => {
            let DelegateTo { agent_account_id, server_ids, expires_at } = create;
            let new = NewDelegation { server_ids, expires_at };
            let made = delegations::create(core, caller, request, agent_account_id, new).await?;
            let made = shown::delegation(made);
            Done::showing(StatusCode::CREATED, &made)
        }
        DelegationEntry { create: None, revoke: Some(RevokeDelegation { delegation_id }) } => {
            delegations::revoke(core, caller, request, delegation_id).await?;
            Ok(Done::without_body())
        }
        _ => Err(Error::invalid("an entry must have either create or revoke").into()),
    }
}
