//! The kinds of callers: a column of the table for each.

use deputize_tests::TestRequest;

use super::world::World;

/// What a caller presents.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    Nothing,
    /// In the `Authorization` header.
    Bearer(String),
    ApiKey(String),
    /// A client's id and secret, by HTTP Basic.
    Client(String, String),
    /// Of a browser session.
    Cookie(String),
}

#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The head of the column.
    pub(super) name: &'static str,
    pub(super) credential: Credential,
}

impl Caller {
    /// The request with the caller's credential.
    pub(super) fn send(&self, request: TestRequest) -> TestRequest {
        match &self.credential {
            Credential::Nothing => request,
            Credential::Bearer(token) => request.bearer(token),
            Credential::ApiKey(key) => request.header("x-runlayer-api-key", key),
            Credential::Client(id, secret) => request.basic(id, secret),
            Credential::Cookie(cookie) => request.header("cookie", cookie),
        }
    }
}

/// All kinds, in the order of the columns. The table says what each is.
pub(super) async fn all(world: &World) -> Vec<Caller> {
    let World { app, bot, former, ada, olga, bob, carol, dan, auditor, operator, .. } = world;
    let key = |text: &str| Credential::ApiKey(text.to_owned());
    let m2m = app.m2m(bot).await;
    let obo = app.obo(bot, bob).await;
    let other = app.token_for(bot, &[("resource", "https://deputize.test/api/v1/proxy/other/mcp")]).await;
    // The delegation is revoked after the token was issued.
    let delegation = app.delegate(former, bob).await;
    let revoked = app.obo(former, bob).await;
    app.delete(format!("/api/v1/delegations/{delegation}")).as_user(bob).await.ok();
    let callers = [
        ("nobody", Credential::Nothing),
        ("client", Credential::Client(bot.id.to_string(), bot.secret.clone())),
        ("M2M", Credential::Bearer(m2m)),
        ("OBO", Credential::Bearer(obo)),
        ("elsewhere", Credential::Bearer(other.access_token())),
        ("key", key(&bob.api_key)),
        ("tools key", key(&world.tools_key)),
        ("read key", key(&world.read_key)),
        ("manage key", key(&world.manage_key)),
        ("server key", key(&world.server_key)),
        ("JWT", Credential::Bearer(app.login.token("bob"))),
        ("browser", Credential::Cookie(world.cookie.clone())),
        ("app", Credential::Bearer(world.allowed.token.clone())),
        ("tools app", Credential::Bearer(app.allow_tools(bob).await.token)),
        ("another", key(&carol.api_key)),
        ("owner", key(&olga.api_key)),
        ("auditor", key(&auditor.api_key)),
        ("operator", key(&operator.api_key)),
        ("admin", key(&ada.api_key)),
        ("inactive", key(&dan.api_key)),
        ("old key", key(&world.revoked_key)),
        ("old token", Credential::Bearer(revoked)),
    ];
    callers.into_iter().map(|(name, credential)| Caller { name, credential }).collect()
}
