//! What several functions answer: the domain's views as the bodies of the API.

use deputize_api::{
    connections::{Connection, Status},
    delegations::Delegation,
    session_grants::SessionGrant,
};
use deputize_core::{
    clock::Timestamp,
    delegations::DelegationView,
    ids::ServerId,
    session_grants::{Displaced, GrantView},
    sessions::Session,
};

pub fn delegation(DelegationView { delegation, delegator_email, is_active }: DelegationView) -> Delegation {
    let text = |time: Timestamp| time.to_string();
    Delegation {
        id: delegation.id.to_string(),
        agent_account_id: delegation.agent_account_id.to_string(),
        delegator_user_id: delegation.delegator_user_id.to_string(),
        delegator_email: delegator_email.map(String::from),
        is_active,
        server_ids: delegation.server_ids.map(|ids| ids.iter().map(ServerId::to_string).collect()),
        expires_at: delegation.expires_at.map(text),
        created_at: text(delegation.created_at),
        revoked_at: delegation.revoked_at.map(text),
    }
}

pub fn session_grant(
    GrantView { grant, grantor_email, shared, is_active, displaced }: GrantView,
) -> SessionGrant {
    let (by_user_id, by_email, at) = match displaced {
        Some(Displaced { by_user_id, by_email, at }) => (Some(by_user_id), by_email, Some(at)),
        None => (None, None, None),
    };
    SessionGrant {
        id: grant.id.to_string(),
        agent_account_id: grant.agent_account_id.to_string(),
        server_id: grant.server_id.to_string(),
        grantor_user_id: grant.grantor_user_id.to_string(),
        grantor_email: grantor_email.map(String::from),
        shared,
        is_active,
        displaced_by_user_id: by_user_id.map(|id| id.to_string()),
        displaced_by_email: by_email.map(String::from),
        displaced_at: at.map(|at| at.to_string()),
        created_at: grant.created_at.to_string(),
        updated_at: grant.updated_at.to_string(),
    }
}

pub fn connection(session: Session, has_ended: bool) -> Connection {
    Connection {
        server_id: session.server_id.to_string(),
        status: if has_ended { Status::Expired } else { Status::Connected },
        renewable: session.renewable,
        connected_at: session.connected_at.to_string(),
        expires_at: session.expires_at.map(|at| at.to_string()),
        scope: session.scope,
        ended_because: session.ended_because,
    }
}
