//! Filling a table without a caller: a deployment's first admin, the demo organization, test data.

use secrecy::SecretString;

use crate::{
    Core,
    agents::{self, AgentAccount, NewAgentAccount, Owner, Visibility},
    api_keys::{self, NewApiKey},
    control::{Control, Digest, InForce},
    delegations::{self, Delegator, NewDelegation},
    epoch::Epoch,
    error::Result,
    ids::{AgentAccountId, UserId},
    policies::{self, Mode, NewPolicy},
    servers::{self, NewServer, Server},
    table::{Change, CommitError},
    users::{self, NewUser, User},
};

/// Items to create together, all or none.
#[derive(Debug)]
pub struct Seed<'a> {
    core: &'a Core,
    change: Change,
    policies: Vec<Digest>,
}

impl<'a> Seed<'a> {
    pub fn new(core: &'a Core) -> Self {
        Self { core, change: Change::new(), policies: Vec::new() }
    }

    pub fn user(&mut self, new: NewUser) -> Result<User> {
        users::add_user(self.core, &mut self.change, new)
    }

    pub fn api_key(&mut self, user: UserId, name: &str) -> Result<SecretString> {
        let new = NewApiKey::for_everything(self.core, name);
        Ok(api_keys::add_key(self.core, &mut self.change, (user, Epoch::default()), new)?.1)
    }

    pub fn agent(&mut self, name: &str, owner: UserId) -> Result<(AgentAccount, SecretString)> {
        let new = NewAgentAccount {
            name: name.to_owned(),
            description: None,
            url: None,
            owner_user_id: None,
            owners: None,
            groups: Vec::new(),
            allowed_origins: None,
            shared_grants: None,
            visibility: Visibility::Everyone,
        };
        let (account, issued) =
            agents::add_agent(self.core, &mut self.change, vec![Owner::User(owner)], new, None)?;
        Ok((account, issued.text))
    }

    pub fn delegation(&mut self, agent: AgentAccountId, user: UserId) -> Result<()> {
        let new = NewDelegation::default();
        let by = Delegator { user, epoch: Epoch::default(), made_by: None };
        delegations::add_delegation(self.core, &mut self.change, None, agent, by, new).map(drop)
    }

    pub fn server(&mut self, new: NewServer) -> Result<Server> {
        servers::add_server(self.core, &mut self.change, new)
    }

    pub fn policy(&mut self, name: &str, text: &str) -> Result<()> {
        let new = NewPolicy { name: name.to_owned(), text: text.to_owned(), mode: Mode::Enforce };
        let policy = policies::add_policy(self.core, &mut self.change, new)?;
        self.policies.push(policy.digest());
        Ok(())
    }

    /// Writes everything in one transaction.
    pub async fn plant(mut self) -> Result<(), CommitError> {
        if !self.policies.is_empty() {
            let control = Control::read(self.core).await?;
            let count = control.policies + self.policies.len();
            let digest = control.policies_digest;
            let digest = digest.map(|digest| self.policies.into_iter().fold(digest, Digest::flip));
            control.with_policies(count, digest).replace(&mut self.change, control.rev)?;
        }
        self.core.table.commit(self.change).await
    }
}
