//! Why a token of ours is refused that needs no table to be refused.

use std::time::Duration;

use deputize_api::reason::Reason;

use crate::{Settings, clock::Timestamp};

/// Why a token is not from this service, or no longer good. The texts are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentTokenError {
    #[error("The token is malformed")]
    Malformed,
    #[error("The token is not an agent token")]
    NotAgentToken,
    #[error("The token is signed with an unknown key")]
    UnknownKey,
    #[error("The token's signature is wrong")]
    BadSignature,
    #[error("The token is from another issuer")]
    WrongIssuer,
    #[error("The token is for another audience")]
    WrongAudience,
    #[error("The token has expired")]
    Expired,
    #[error("The token is not valid yet")]
    NotYetValid,
}

impl AgentTokenError {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Expired => Reason::TokenExpired,
            Self::WrongAudience => Reason::TokenForOtherAudience,
            Self::UnknownKey => Reason::TokenRevoked,
            _ => Reason::TokenRefused,
        }
    }
}

/// Clocks of two machines may differ by this many seconds.
const LEEWAY: i64 = 5;

/// Requires our issuer, and that a token is good now. It may have expired at most `late_by` ago.
pub(super) fn check_times(
    settings: &Settings,
    iss: &str,
    (iat, exp): (i64, i64),
    now: Timestamp,
    late_by: Duration,
) -> Result<(), AgentTokenError> {
    if iss != settings.issuer {
        return Err(AgentTokenError::WrongIssuer);
    }
    if now.minus(late_by).as_seconds() >= exp {
        return Err(AgentTokenError::Expired);
    }
    if now.as_seconds() + LEEWAY < iat {
        return Err(AgentTokenError::NotYetValid);
    }
    Ok(())
}
