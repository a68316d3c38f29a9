//! Authentication of apps: by nothing, by a client secret, or by an assertion that the app has signed.
//!
//! How an app must prove itself is what it was when the user allowed it. That is kept with its codes and refresh tokens.
//! So an app that was shown to the user as one with a secret cannot turn into one without.

use secrecy::ExposeSecret;

use super::{
    ClientAuth,
    assertion::{Assertion, AssertionUse},
};
use crate::{
    Core,
    apps::{self, App, AppAuth, app_id},
    error::{Error, Result, TokenError},
    ids::AppId,
    secret::{SecretHash, hash_client_secret},
};

/// The longest `client_id`, in bytes: that of a dynamic registration, or the address of a document.
const LONGEST: usize = 2_048;

/// The app that a request claims to be from, before anything is proven.
pub(super) struct PresentedApp {
    pub client_id: String,
    pub id: AppId,
    proof: Proof,
}

enum Proof {
    None,
    /// `None` if the text cannot be a client secret.
    Secret(Option<SecretHash>),
    Assertion(Box<Assertion<String>>),
}

impl PresentedApp {
    /// Checks everything that needs no table. `endpoint` is the path that the request was sent to.
    pub(super) fn identify(core: &Core, endpoint: &str, auth: ClientAuth) -> Result<Self, TokenError> {
        let (client_id, proof) = match auth {
            ClientAuth::Named { client_id } => (client_id, Proof::None),
            ClientAuth::Secret { client_id, client_secret } => {
                (client_id, Proof::Secret(hash_client_secret(client_secret.expose_secret())))
            }
            ClientAuth::Assertion { client_id, assertion } => {
                let (now, settings) = (core.clock.now(), &core.settings);
                let parse = |id: &str| Some(id.to_owned());
                let read = Assertion::read(settings, now, endpoint, client_id.as_deref(), assertion, parse)?;
                (read.client.clone(), Proof::Assertion(Box::new(read)))
            }
        };
        if client_id.len() > LONGEST {
            return Err(TokenError::InvalidClient);
        }
        Ok(Self { id: app_id(&client_id), client_id, proof })
    }

    /// Proves the app. All failures have the same text, which is also that of an unknown app.
    pub(super) async fn prove(&self, core: &Core, auth: &AppAuth) -> Result<Option<AssertionUse>> {
        let refused = || TokenError::InvalidClient.into();
        match (auth, &self.proof) {
            (AppAuth::None, Proof::None) => Ok(None),
            (AppAuth::Secret { hash }, Proof::Secret(Some(presented))) if presented.matches(hash) => Ok(None),
            (AppAuth::Keys { keys, jwks_uri }, Proof::Assertion(assertion)) => {
                let is_signed = assertion.is_by(keys)?
                    || match jwks_uri {
                        Some(uri) => core.app_keys.have_signed(core, uri, assertion).await?,
                        None => false,
                    };
                if is_signed { Ok(Some(assertion.assertion_use(&self.id))) } else { Err(refused()) }
            }
            _ => Err(refused()),
        }
    }

    /// The refusal of a code or a token that is none of this app's: an app that cannot be one is told that, since it can
    /// register anew then. Nobody's host is asked for it.
    pub(super) async fn stranger(&self, core: &Core, known: Option<&App>, refusal: TokenError) -> Error {
        match self.may_be(core, known).await {
            Ok(true) => refusal.into(),
            Ok(false) => TokenError::InvalidClient.into(),
            Err(error) => error,
        }
    }

    /// Whether there can be such an app. `known` is what admins have said of it.
    pub(super) async fn may_be(&self, core: &Core, known: Option<&App>) -> Result<bool> {
        apps::prepare(core, &self.client_id).await?;
        Ok(apps::may_be(core, &self.client_id, known))
    }
}

/// How an app proves itself now: if an admin registered it, as the registration says, else as it was when the user
/// allowed it.
pub(super) fn auth_now<'a>(known: Option<&'a App>, kept: &'a AppAuth) -> &'a AppAuth {
    known.and_then(|app| app.registration.as_ref()).map_or(kept, |registration| &registration.auth)
}
