//! Deputize's domain: identities and credentials, delegations, session grants, OAuth sessions, policies,
//! the decision about a call, and the audit trail; all state in one DynamoDB table.
//!
//! Nothing here knows an HTTP framework or AWS Lambda. Time, randomness and the network come in through
//! [`Core`], so that tests are deterministic.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod access;
pub mod agents;
pub mod api_keys;
mod app_standing;
pub mod apps;
pub mod audience;
pub mod audit;
pub mod authenticate;
pub mod authorizations;
pub mod bootstrap;
pub mod browser_sessions;
pub mod caller;
pub mod case_folding;
pub mod checked;
pub mod client_keys;
pub mod clock;
pub mod connections;
pub mod control;
pub mod delegations;
pub mod deleted;
pub mod deletion;
mod denial;
mod email;
mod entities;
pub mod epoch;
pub mod error;
pub mod explain;
mod gone;
pub mod idempotency_key;
mod identities;
pub mod ids;
pub mod in_flight;
pub mod issuers;
pub mod jwk;
pub mod jwt;
pub mod listed;
pub mod lookup;
pub mod mcp_sessions;
pub mod network;
pub mod offboarding;
mod once;
pub mod origins;
pub mod paging;
pub mod pins;
pub mod policies;
pub mod preconditions;
mod prefetch_hints;
pub mod reindex;
pub mod retention;
pub mod scope;
pub mod secret;
pub mod seed;
pub mod servers;
pub mod session_grants;
pub mod sessions;
pub mod sign_in;
pub mod table;
mod tasks;
pub mod tokens;
pub mod trace;
pub mod trail;
mod unambiguous_json;
pub mod users;
pub mod vault;
pub mod wording;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;

pub use self::{
    error::{Error, Result, TokenError},
    sign_in::SignInSecrets,
};
use deputize_api::path;

use self::{
    agents::{OwnerlessAgents, SharedGrants},
    apps::{AppSettings, Documents, RegistrationKey},
    browser_sessions::BrowserSessionTimes,
    checked::Checked,
    clock::{Clock, Random},
    control::{Control, Digest, Version},
    in_flight::InFlight,
    issuers::Issuers,
    listed::{CompleteLists, KnownComplete},
    mcp_sessions::SessionKeys,
    network::Http,
    origins::Origin,
    pins::KnownPins,
    policies::CompiledPolicies,
    prefetch_hints::PrefetchHints,
    table::{Change, CommitError, Key, Table},
    tasks::Tasks,
    tokens::{AppKeys, Keyring, OwnToken},
    trail::KnownSince,
    vault::Vault,
};

/// What identifies a deployment, and its defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `iss` of agent tokens: the address of this service, such as `https://deputize.example.com`.
    pub issuer: String,
    /// The `aud` of agent tokens that are good at every server: the proxy's address.
    pub audience: String,
    /// The origins whose web pages may call: the service's own, and those that [`Self::allowing`] adds.
    allowed_origins: Vec<Origin>,
    /// Other origins at which the service is ([`Self::also_at`]).
    pub(crate) other_origins: Vec<String>,
    /// Which apps may act as their users.
    pub apps: AppSettings,
    /// The `shared_grants` of agent accounts that are created without it.
    pub shared_grants: SharedGrants,
    /// What becomes of agent accounts none of whose owners is active.
    pub ownerless_agents: OwnerlessAgents,
    /// How long people's sessions in browsers last.
    pub browser_sessions: BrowserSessionTimes,
    /// How long a refresh token stays good once its successor has been used.
    pub refresh_grace: Duration,
    /// How long API keys may last from when they are made. `None` if one may have no end.
    pub longest_api_key: Option<Duration>,
    /// How old an issuer's word about a user's groups and role can be, and still count.
    pub claims_max_age: Duration,
    /// The secrets with which this service proves itself to the providers by which people sign in.
    pub sign_in_secrets: SignInSecrets,
}

/// How old an issuer's claims can be by default.
pub const CLAIMS_MAX_AGE: Duration = Duration::from_hours(24 * 30);

impl Settings {
    /// The path of the address. Empty if it has none.
    pub fn path(&self) -> &str {
        let after_scheme = self.issuer.find("://").map_or(0, |at| at + 3);
        let path = self.issuer.get(after_scheme..).and_then(|rest| Some(after_scheme + rest.find('/')?));
        path.and_then(|at| self.issuer.get(at..)).unwrap_or_default()
    }

    /// Where one of this service's things is: a path of [`path`] with its id.
    pub fn address(&self, template: &str, id: impl std::fmt::Display) -> String {
        format!("{}{}", self.path(), path::fill(template, &id.to_string()))
    }

    /// Whether the service's address is https.
    pub fn is_https(&self) -> bool {
        url::Url::parse(&self.issuer).is_ok_and(|url| url.scheme() == "https")
    }

    /// The address without its path, as a browser names a page's origin (RFC 6454 section 6.1).
    pub fn origin(&self) -> &str {
        self.issuer.strip_suffix(self.path()).unwrap_or(&self.issuer)
    }

    /// With this as the default of `shared_grants`.
    #[must_use]
    pub fn sharing_by(self, shared_grants: SharedGrants) -> Self {
        Self { shared_grants, ..self }
    }

    /// With these apps.
    #[must_use]
    pub fn taking_apps(self, apps: AppSettings) -> Self {
        Self { apps, ..self }
    }

    /// With this time for refresh tokens whose successor has been used.
    #[must_use]
    pub fn with_refresh_grace(self, refresh_grace: Duration) -> Self {
        Self { refresh_grace, ..self }
    }

    /// The settings of a deployment at this address.
    pub fn at(url: &str) -> Self {
        let issuer = url.trim_end_matches('/').to_owned();
        let allowed_origins = Self::own_origin(&issuer);
        let shared_grants = SharedGrants::default();
        let audience = format!("{issuer}{}", path::PROXY);
        let (other_origins, apps) = (Vec::new(), AppSettings::default());
        let browser_sessions = BrowserSessionTimes::default();
        Self {
            audience,
            allowed_origins,
            other_origins,
            issuer,
            apps,
            shared_grants,
            ownerless_agents: OwnerlessAgents::default(),
            browser_sessions,
            refresh_grace: tokens::REFRESH_GRACE,
            longest_api_key: None,
            claims_max_age: CLAIMS_MAX_AGE,
            sign_in_secrets: SignInSecrets::default(),
        }
    }
}

/// Everything that the domain's functions need.
#[derive(Debug)]
pub struct Core {
    pub table: Table,
    pub settings: Settings,
    pub clock: Clock,
    pub random: Random,
    pub issuers: Issuers,
    pub vault: Vault,
    /// The room for bodies in this process.
    pub in_flight: InFlight,
    /// Requests to authorization servers that MCP servers name.
    pub(crate) http: Arc<dyn Http>,
    prefetch_hints: PrefetchHints,
    keyring: Versioned<Keyring>,
    compiled: Versioned<CompiledPolicies>,
    session_keys: SessionKeys,
    pub(crate) documents: Documents,
    pub(crate) registration_key: RegistrationKey,
    pins: KnownPins,
    entries_since: KnownSince,
    pub(crate) app_keys: AppKeys,
    pub(crate) tasks: Tasks,
    is_bootstrapped: AtomicBool,
    pub(crate) complete_lists: KnownComplete,
}

impl Core {
    pub fn new(
        table: Table,
        settings: Settings,
        issuers: Issuers,
        vault: Vault,
        http: Arc<dyn Http>,
    ) -> Self {
        Self {
            table,
            settings,
            clock: Clock::System,
            random: Random::System,
            issuers,
            vault,
            in_flight: InFlight::default(),
            http,
            prefetch_hints: PrefetchHints::default(),
            keyring: Versioned::default(),
            compiled: Versioned::default(),
            session_keys: SessionKeys::default(),
            documents: Documents::default(),
            registration_key: RegistrationKey::default(),
            pins: KnownPins::default(),
            entries_since: KnownSince::default(),
            app_keys: AppKeys::default(),
            tasks: Tasks::default(),
            is_bootstrapped: AtomicBool::new(false),
            complete_lists: KnownComplete::default(),
        }
    }

    /// The same core with another clock and another source of randomness.
    #[must_use]
    pub fn with(self, clock: Clock, random: Random) -> Self {
        Self { clock, random, ..self }
    }

    /// Makes a new table's control item and first signing key. Does nothing if they exist.
    pub async fn bootstrap(&self) -> Result<()> {
        match Control::read(self).await {
            Ok(_) => return Ok(()),
            Err(Error::NotBootstrapped) => {}
            Err(error) => return Err(error),
        }
        let mut change = Change::new();
        let keys_digest = Some(tokens::bootstrap_key(self, &mut change).await?);
        let policies_digest = Some(Digest::default());
        let versions = Control { policies_version: 1, keys_version: 1, ..Control::default() };
        Control { policies_digest, keys_digest, ..versions }.create(&mut change)?;
        // A deployment that begins has no item without its entries.
        change.create(Key::complete_lists(), &CompleteLists::all())?;
        trail::add_entries_since(&mut change)?;
        match self.table.commit(change).await {
            // Another process was faster.
            Ok(()) | Err(CommitError::ConditionFailed) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
        }
    }

    /// Refuses to go on without what [`Self::bootstrap`] makes. Called where nothing else in a request would
    /// notice it. After the first success, the table is not read again.
    pub(crate) async fn require_bootstrapped(&self) -> Result<()> {
        if !self.is_bootstrapped.load(Ordering::Relaxed) {
            Control::read(self).await?;
            self.is_bootstrapped.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The signing keys of this version, or newer ones.
    pub(crate) async fn keyring_at(&self, version: Version) -> Result<Arc<Keyring>> {
        match self.keyring.kept().filter(|kept| kept.version >= version.number) {
            Some(kept) => Ok(kept),
            // Boxed, since it is rare: every future that could wait for it would hold its state.
            None => Ok(self.keyring.keep(Box::pin(Keyring::load(self, version)).await?)),
        }
    }

    /// The signing keys as they are now.
    pub async fn latest_keyring(&self) -> Result<Arc<Keyring>> {
        self.keyring_at(Control::read(self).await?.version_of_keys()).await
    }

    /// The policies of this version, or newer ones.
    pub(crate) async fn policies_at(&self, version: Version) -> Result<Arc<CompiledPolicies>> {
        match self.compiled.kept().filter(|kept| kept.version >= version.number) {
            Some(kept) => Ok(kept),
            None => {
                let (version, policies) = Box::pin(policies::load(self, version)).await?;
                Ok(self.compiled.keep(CompiledPolicies::new(version, &policies)?))
            }
        }
    }

    /// The policies as they are now.
    pub async fn latest_policies(&self) -> Result<Arc<CompiledPolicies>> {
        self.policies_at(Control::read(self).await?.version_of_policies()).await
    }

    /// Checks everything about a token of ours that needs no table. A key that this process does not know
    /// is looked for in the table once.
    pub async fn verify_token(&self, token: &str) -> Result<Checked<OwnToken, tokens::AgentTokenError>> {
        self.verify_token_late(token, Duration::ZERO).await
    }

    /// [`Self::verify_token`], also for tokens that expired at most this long ago.
    pub(crate) async fn verify_token_late(
        &self,
        token: &str,
        by: Duration,
    ) -> Result<Checked<OwnToken, tokens::AgentTokenError>> {
        let kept = match self.keyring.kept() {
            Some(kept) => kept,
            None => self.latest_keyring().await?,
        };
        let check = |keyring: &Keyring| tokens::verify(keyring, token, &self.settings, self.clock.now(), by);
        Ok(match check(&kept) {
            Err(tokens::AgentTokenError::UnknownKey) => check(&*self.latest_keyring().await?),
            verified => verified,
        }
        .into())
    }
}

/// For changes that only create items under new random ids: a lost race is then a defect.
pub(crate) fn fresh_id(attempt: CommitError) -> Error {
    match attempt {
        CommitError::ConditionFailed => Error::internal("a new id is taken"),
        CommitError::Failed(error) => error,
    }
}

/// The newest version of something that this process has read.
#[derive(Debug)]
struct Versioned<T>(ArcSwapOption<T>);

impl<T> Default for Versioned<T> {
    fn default() -> Self {
        Self(ArcSwapOption::empty())
    }
}

impl<T> Versioned<T> {
    fn kept(&self) -> Option<Arc<T>> {
        self.0.load_full()
    }
}

trait HasVersion {
    fn version(&self) -> u64;
}

impl HasVersion for Keyring {
    fn version(&self) -> u64 {
        self.version
    }
}

impl HasVersion for CompiledPolicies {
    fn version(&self) -> u64 {
        self.version
    }
}

impl<T: HasVersion> Versioned<T> {
    /// Keeps what was read, unless something newer has been kept meanwhile.
    fn keep(&self, read: T) -> Arc<T> {
        let read = Arc::new(read);
        let newer = |kept: &Arc<T>| kept.version() > read.version();
        self.0.rcu(|kept| kept.clone().filter(newer).or_else(|| Some(Arc::clone(&read))));
        self.kept().filter(newer).unwrap_or(read)
    }
}
