//! Who is in the demo organization, and how it is made once.
//!
//! Its secrets are written to a file of mode 0600 before the organization is made in one transaction. A crash in
//! between leaves a file of secrets that were never valid, and the next start makes both anew. The auditor and the operator
//! are made in another transaction, since a data directory may be from before they were part of it.

use std::time::Duration;

use deputize_core::{
    Core, Error, Result,
    connections::registration::adopt,
    error::{Cause, because},
    ids::{AgentAccountId, ServerId, UserId},
    seed::Seed,
    servers::{NewServer, Server, ServerAuth},
    sessions::{self, NewSession, ProviderRef, Session},
    table::{Change, CommitError, Key, Stored, retry_on_conflict},
    users::{Email, NewUser, Role, User, UserPointer},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{env, issuer::DemoIssuer, provider::Provider};
use crate::data_dir::DataDir;

const SECRETS: &str = "demo-secrets.json";

/// Everybody, by name and email address. Erin is an auditor, and Frank an operator.
pub(super) const PEOPLE: [(&str, &str); 5] = [
    ("Alice", "alice@example.com"),
    ("Bob", "bob@example.com"),
    ("Carol", "carol@example.com"),
    ("Erin", "erin@example.com"),
    ("Frank", "frank@example.com"),
];

/// The demo organization's ids and secrets.
#[derive(Serialize, Deserialize)]
pub struct Organization {
    pub agent_account_id: AgentAccountId,
    pub client_secret: String,
    pub alice: Person,
    pub bob: Person,
    pub carol: Person,
    /// Those with a role beside Alice. Missing if somebody else signed in as one of them before they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staff: Option<Staff>,
}

/// Who oversees the organization without being its admin.
#[derive(Serialize, Deserialize)]
pub struct Staff {
    /// An auditor.
    pub erin: Person,
    /// An operator.
    pub frank: Person,
}

#[derive(Serialize, Deserialize)]
pub struct Person {
    pub id: UserId,
    pub email: String,
    pub api_key: String,
}

// Written by hand, since the values are secret.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Staff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staff").field("erin", &self.erin).field("frank", &self.frank).finish()
    }
}

impl std::fmt::Debug for Organization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Organization")
            .field("agent_account_id", &self.agent_account_id)
            .finish_non_exhaustive()
    }
}

/// The two built-in MCP servers.
fn servers(base_url: &str) -> [(&'static str, &'static str, String, ServerAuth); 2] {
    [
        ("demo", "Demo repositories", format!("{base_url}/demo/mcp"), ServerAuth::None),
        ("demo-oauth", "Demo chat (OAuth)", format!("{base_url}/demo/oauth-mcp"), ServerAuth::OAuth),
    ]
}

impl Organization {
    /// The demo organization. Makes it if this data directory has none, renews everything that expires, and
    /// writes `demo.env`.
    pub async fn open(
        core: &Core,
        data: &DataDir,
        base_url: &str,
        issuer: &DemoIssuer,
        provider: &Provider,
    ) -> Result<Self, Cause> {
        let made = Self::made(core, data).await?;
        let is_made = made.is_some();
        let mut organization = match made {
            Some(organization) => organization,
            None => Self::make(core, data, base_url).await?,
        };
        if is_made {
            renew_servers(core, base_url).await?;
        }
        // A data directory from before they were part of it gets them too. Once they were made they can be deleted.
        if organization.staff.is_none() {
            organization.add_staff(core, data).await?;
        }
        organization.renew_sessions(core, provider, !is_made).await?;
        env::write(data, base_url, issuer, &organization).map_err(|error| because("demo.env", error))?;
        Ok(organization)
    }

    /// The organization, if it was made. Since then, an admin may have deleted some of it, and it may have been erased. So it
    /// is there if anything of it is, or if somebody has Alice's address.
    async fn made(core: &Core, data: &DataDir) -> Result<Option<Self>, Cause> {
        let [(_, alice), ..] = PEOPLE;
        let email: Email = alice.parse().map_err(Error::internal)?;
        let pointer = core.table.read_one::<UserPointer>(Key::user_by_email(&email)).await?;
        let path = data.file(SECRETS);
        if pointer.is_none() && !path.exists() {
            return Ok(None);
        }
        let at = |error: Cause| because(path.display().to_string(), error);
        let json = std::fs::read(&path).map_err(|error| at(error.into()))?;
        let organization: Self = serde_json::from_slice(&json).map_err(|error| at(error.into()))?;
        let people = [&organization.alice, &organization.bob, &organization.carol];
        let keys = people.map(|person| Key::user(person.id)).into_iter();
        let keys = keys.chain([Key::agent(organization.agent_account_id)]).collect::<Vec<_>>();
        let found = core.table.read(keys.clone()).await?;
        let is_there = pointer.is_some() || keys.iter().any(|key| found.contains(key));
        Ok(is_there.then_some(organization))
    }

    async fn make(core: &Core, data: &DataDir, base_url: &str) -> Result<Self, Cause> {
        let mut seed = Seed::new(core);
        let [alice, bob, carol, ..] = PEOPLE;
        let alice = person(&mut seed, alice, Role::Admin)?;
        let bob = person(&mut seed, bob, Role::User)?;
        let carol = person(&mut seed, carol, Role::User)?;
        let (agent, secret) = seed.agent("Support Bot", alice.id)?;
        for delegator in [&alice, &bob, &carol] {
            seed.delegation(agent.id, delegator.id)?;
        }
        for (id, name, url, auth) in servers(base_url) {
            let id = Some(id.parse()?);
            seed.server(NewServer {
                id,
                name: name.to_owned(),
                url,
                auth,
                pinning: deputize_core::pins::Pinning::Off,
            })?;
        }
        for (name, policy) in policies(agent.id) {
            seed.policy(name, &policy)?;
        }
        let organization = Self {
            agent_account_id: agent.id,
            client_secret: secret.expose_secret().to_owned(),
            alice,
            bob,
            carol,
            staff: None,
        };
        organization.keep(data)?;
        match seed.plant().await {
            Ok(()) => Ok(organization),
            Err(CommitError::ConditionFailed) => {
                Err("the data directory holds half a demo organization".into())
            }
            Err(CommitError::Failed(error)) => Err(error.into()),
        }
    }

    /// Writes the file of secrets.
    fn keep(&self, data: &DataDir) -> Result<(), Cause> {
        let json = serde_json::to_vec_pretty(self)?;
        data.write(SECRETS, &json).map_err(|error| because(SECRETS, error))
    }

    /// Adds those with a role beside Alice, in one transaction.
    async fn add_staff(&mut self, core: &Core, data: &DataDir) -> Result<(), Cause> {
        let mut seed = Seed::new(core);
        let [_, _, _, erin, frank] = PEOPLE;
        let erin = person(&mut seed, erin, Role::Auditor)?;
        let frank = person(&mut seed, frank, Role::Operator)?;
        match seed.plant().await {
            Ok(()) => {
                self.staff = Some(Staff { erin, frank });
                self.keep(data)
            }
            // Somebody has signed in with one of their addresses, and so has it.
            Err(CommitError::ConditionFailed) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error.into()),
        }
    }

    /// Connects Alice and Carol to the OAuth-protected server at the first start, as if they had agreed in a browser.
    /// Later their sessions are refreshed as they are used. After a start at another address, the provider's tokens are
    /// not valid there. Then the users who were connected are connected again, if they are still active.
    async fn renew_sessions(&self, core: &Core, provider: &Provider, first: bool) -> Result<()> {
        let server_id: ServerId = "demo-oauth".parse().map_err(Error::internal)?;
        let server = core.table.read_one::<Server>(Key::server(&server_id)).await?;
        // An admin has deleted it.
        let Some(server) = server else { return Ok(()) };
        for person in [&self.alice, &self.bob, &self.carol] {
            let (key, user_key) = (Key::session(person.id, &server_id), Key::user(person.id));
            let found = core.table.read(vec![key.clone(), user_key.clone()]).await?;
            if !found.get::<User>(&user_key)?.is_some_and(|user| user.active) {
                continue;
            }
            let renew = match found.get::<Session>(&key)? {
                Some(session) => session.resource != server.url,
                None => first && person.id != self.bob.id,
            };
            if renew {
                let issued = provider.connect(&person.email).await.map_err(Error::internal)?;
                adopt(core, &server, &issued.client_id, provider.metadata()).await?;
                let now = core.clock.now();
                let from = ProviderRef {
                    issuer: issued.issuer,
                    client_id: issued.client_id,
                    resource: Some(issued.resource),
                };
                let session = NewSession {
                    access_token: issued.access_token,
                    refresh_token: issued.refresh_token,
                    issued_at: now,
                    expires_at: Some(now.plus(Duration::from_secs(issued.expires_in))),
                    scope: Some(issued.scope),
                    provider: Some(from),
                };
                sessions::store(core, person.id, &server, session).await?;
            }
        }
        Ok(())
    }
}

fn person(seed: &mut Seed<'_>, (name, email): (&str, &str), role: Role) -> Result<Person> {
    let parsed: Email = email.parse().map_err(Error::internal)?;
    let new = NewUser {
        email: Some(parsed),
        name: Some(name.to_owned()),
        role,
        groups: Vec::new(),
        identity: None,
    };
    let user = seed.user(new)?;
    let api_key = seed.api_key(user.id, "demo")?.expose_secret().to_owned();
    Ok(Person { id: user.id, email: email.to_owned(), api_key })
}

/// The bot may do everything. Users may do everything except delete, which only admins may. So the bot may
/// delete for itself and for Alice, but not for Bob: an OBO token gives the intersection.
fn policies(bot: AgentAccountId) -> [(&'static str, String); 3] {
    [
        (
            "Support Bot may use the demo servers",
            format!(
                "permit(principal == Agent::\"{bot}\", action == Action::\"call_tool\", resource)\n\
                 when {{ resource in Server::\"demo\" || resource in Server::\"demo-oauth\" }};"
            ),
        ),
        (
            "People may use the demo servers",
            "permit(principal is User, action == Action::\"call_tool\", resource)\n\
             when { resource in Server::\"demo\" || resource in Server::\"demo-oauth\" };"
                .to_owned(),
        ),
        (
            "Only admins may delete",
            "forbid(principal is User, action == Action::\"call_tool\", resource == Tool::\"demo/delete_repo\")\n\
             unless { principal.role == \"admin\" };"
                .to_owned(),
        ),
    ]
}

/// The built-in servers have this process's address, whose port may differ from the last start.
async fn renew_servers(core: &Core, base_url: &str) -> Result<()> {
    for (id, _, url, _) in servers(base_url) {
        let id: ServerId = id.parse().map_err(Error::internal)?;
        retry_on_conflict(|| async {
            let Some(was) = core.table.read_one::<Server>(Key::server(&id)).await? else { return Ok(()) };
            renew(core, &was, &url).await
        })
        .await?;
    }
    Ok(())
}

async fn renew(core: &Core, was: &Stored<Server>, url: &str) -> Result<(), CommitError> {
    if was.url == url {
        return Ok(());
    }
    let mut server = was.value.clone();
    url.clone_into(&mut server.url);
    let mut change = Change::new();
    change.replace(Key::server(&server.id), &server, was.rev)?;
    core.table.commit(change).await
}
