//! Whose client it is, and what it sends for that.
//!
//! An agent's secret or private key is refused where there is a document, or a worker of one. A key that cannot be
//! extracted is refused too. It cannot be stolen, but every script of the page can sign with it while the page is open,
//! for every user who has delegated to the agent.

use deputize_api::token::{AccessTokenType, ActorTokenType, AssertionType, GrantType, TokenRequest};
use js_sys::{Function, Object, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use zeroize::Zeroizing;

use crate::{assertion::SigningKey, bodies::set, failure::failure, tokens::Unwanted};

pub(crate) enum Credentials {
    /// An agent account.
    Agent {
        client_id: String,
        proof: Proof,
    },
    /// The application's backend, which is the agent's client and gives tokens to this one.
    Tokens(Function),
    User(UserToken),
    ApiKey(Zeroizing<String>),
}

/// The proof of an agent account.
pub(crate) enum Proof {
    Secret(Zeroizing<String>),
    Key(SigningKey),
}

/// A user's own JWT, or a function that gives it.
///
/// The function's answer is not kept: the next user who signs in must not act with the token of the previous
/// one.
pub(crate) enum UserToken {
    Text(Zeroizing<String>),
    Function(Function),
}

impl UserToken {
    /// From JavaScript, which has checked that it is a text or a function.
    pub(crate) fn new(value: JsValue) -> Self {
        match value.dyn_into::<Function>() {
            Ok(function) => Self::Function(function),
            Err(text) => Self::Text(text.as_string().unwrap_or_default().into()),
        }
    }

    pub(crate) async fn text(&self, unwanted: &Unwanted) -> Result<Zeroizing<String>, JsValue> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Function(function) => {
                let text = call(function, unwanted).await?.as_string().map(Zeroizing::new);
                text.filter(|text| !text.is_empty()).ok_or_else(|| no_token("a text that is not empty"))
            }
        }
    }
}

/// Asks the application for a token.
pub(crate) async fn call(function: &Function, unwanted: &Unwanted) -> Result<JsValue, JsValue> {
    let asked = Object::new();
    set(&asked, "renew", !matches!(unwanted, Unwanted::None));
    if let Unwanted::Refused(token) = unwanted {
        set(&asked, "refused", token.as_str());
    }
    let answer = async {
        let answer = function.call1(&JsValue::UNDEFINED, &asked)?;
        JsFuture::from(Promise::resolve(&answer)).await
    };
    answer.await.map_err(|cause| {
        failure(
            "token_function_failed",
            "The application's token function failed",
            "See the cause",
            Some(cause),
        )
    })
}

pub(crate) fn no_token(wanted: &str) -> JsValue {
    let detail = format!("The application's token function must answer {wanted}");
    failure("token_function_failed", &detail, "Look at what it answers", None)
}

/// The request for an agent's token, for itself or on behalf of a user.
pub(crate) fn request<'a>(
    client_id: &'a str,
    proof: &'a Proof,
    assertion: Option<&'a str>,
    actor: Option<(ActorTokenType, &'a str)>,
) -> TokenRequest<'a> {
    TokenRequest {
        client_id: Some(client_id),
        client_secret: match proof {
            Proof::Secret(secret) => Some(secret),
            Proof::Key(_) => None,
        },
        client_assertion_type: assertion.map(|_| AssertionType::JwtBearer),
        client_assertion: assertion,
        actor_token: actor.map(|(_, token)| token),
        actor_token_type: actor.map(|(kind, _)| kind),
        ..TokenRequest::new(GrantType::ClientCredentials)
    }
}

/// The request for a token on behalf of a user, by an agent's own token (RFC 8693).
pub(crate) fn exchange<'a>(agent_token: &'a str, user_token: &'a str) -> TokenRequest<'a> {
    TokenRequest {
        subject_token: Some(agent_token),
        subject_token_type: Some(AccessTokenType::AccessToken),
        actor_token: Some(user_token),
        actor_token_type: Some(ActorTokenType::AccessToken),
        ..TokenRequest::new(GrantType::TokenExchange)
    }
}
