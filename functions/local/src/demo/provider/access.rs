//! Access tokens: signed JWTs (RFC 9068) for the one MCP server, which runs in the same process and reads them.

use std::io;

use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Issued, Provider,
    families::Family,
    handle::{FamilyId, Handle},
    scopes::{OFFLINE, Scopes},
};
use crate::demo_servers::Access;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    email: String,
    scope: Scopes,
    /// The family. The token ends with it.
    sid: FamilyId,
    jti: Uuid,
    iat: i64,
    exp: i64,
}

impl Provider {
    /// A token with some of a family's scopes, together with the family's refresh token if it has one.
    pub(super) fn issue(
        &self,
        client_id: &str,
        handle: &Handle,
        family: &Family,
        scopes: &Scopes,
        refreshable: bool,
    ) -> io::Result<Issued> {
        let lifetime = self.0.access_token_lifetime;
        let now = self.now();
        let claims = Claims {
            iss: self.0.url.clone(),
            sub: family.user.clone(),
            aud: family.resource.clone(),
            client_id: client_id.to_owned(),
            email: family.user.clone(),
            // An access token cannot refresh, so it does not get this scope.
            scope: Scopes::which(|scope| scope != OFFLINE && scopes.has(scope)),
            sid: handle.family(),
            jti: Uuid::new_v4(),
            iat: now.as_seconds(),
            exp: now.plus(lifetime).as_seconds(),
        };
        let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.0.signing).map_err(io::Error::other)?;
        Ok(Issued {
            access_token: SecretString::from(token),
            refresh_token: refreshable.then(|| handle.text()),
            expires_in: lifetime.as_secs(),
            client_id: client_id.to_owned(),
            issuer: self.0.url.clone(),
            scope: scopes.to_string(),
            resource: family.resource.clone(),
        })
    }

    /// The user and scopes of an access token. `None` if it is not valid.
    pub fn access(&self, token: &str) -> Option<Access> {
        let claims = self.read(token)?;
        // The same clock issued it, so no leeway is needed.
        let good = claims.exp > self.now().as_seconds() && self.0.families.get(&claims.sid).is_some();
        let scopes = claims.scope.iter().map(str::to_owned).collect();
        good.then_some(Access { user: claims.email, scopes })
    }

    /// The family of an access token, even of an expired one.
    pub(super) fn family_of(&self, token: &str) -> Option<FamilyId> {
        Some(self.read(token)?.sid)
    }

    fn read(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&self.0.url]);
        validation.set_audience(&[&self.0.resource]);
        validation.validate_exp = false;
        Some(jsonwebtoken::decode::<Claims>(token, &self.0.verifying, &validation).ok()?.claims)
    }
}
