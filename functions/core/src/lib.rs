//! Deputize's domain: identities and credentials, delegations, session grants, OAuth sessions, policies,
//! the decision about a call, and the audit trail; all state in one DynamoDB table.
//!
//! Nothing here knows an HTTP framework or AWS Lambda. Time, randomness and the network come in through
//! [`Core`], so that tests are deterministic.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod access;
pub mod agents;
pub mod api_keys;
mod arguments;
pub mod audit;
pub mod authenticate;
pub mod bootstrap;
pub mod caller;
pub mod client_keys;
pub mod clock;
pub mod connections;
pub mod control;
pub mod delegations;
pub mod error;
pub mod fold;
pub mod grants;
mod hints;
pub mod ids;
pub mod issuers;
pub mod jwk;
pub mod jwt;
pub mod lookup;
pub mod mcp_sessions;
pub mod origins;
pub mod paging;
pub mod pins;
pub mod policies;
pub mod secret;
pub mod seed;
pub mod servers;
pub mod sessions;
pub mod table;
pub mod tokens;
pub mod trace;
pub mod users;
pub mod vault;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

pub use self::error::{Error, Result, TokenError};
use self::{
    clock::{Clock, Random},
    connections::http::Http,
    control::Control,
    hints::Hints,
    issuers::Issuers,
    mcp_sessions::SessionKeys,
    origins::Origin,
    pins::KnownPins,
    policies::Compiled,
    table::{Attempt, Change, Table},
    tokens::{Keyring, VerifiedToken},
    vault::Vault,
};

/// What a deployment is called.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `iss` of agent tokens: where this service is reached, such as `https://deputize.example.com`.
    pub issuer: String,
    /// The `aud` of agent tokens that are good at every server: the proxy.
    pub audience: String,
    /// Whose web pages may call: our own, and those that [`Self::allowing`] adds.
    allowed_origins: Vec<Origin>,
}

impl Settings {
    /// The path of the address; empty if it has none.
    pub fn path(&self) -> &str {
        let after_scheme = self.issuer.find("://").map_or(0, |at| at + 3);
        let path = self.issuer.get(after_scheme..).and_then(|rest| Some(after_scheme + rest.find('/')?));
        path.and_then(|at| self.issuer.get(at..)).unwrap_or_default()
    }

    /// The address without its path, as a browser names a page's origin (RFC 6454 section 6.1).
    pub fn origin(&self) -> &str {
        self.issuer.strip_suffix(self.path()).unwrap_or(&self.issuer)
    }

    /// A deployment that is reached at this address.
    pub fn at(url: &str) -> Self {
        let issuer = url.trim_end_matches('/').to_owned();
        let allowed_origins = Self::own_origin(&issuer);
        Self { audience: format!("{issuer}/api/v1/proxy"), allowed_origins, issuer }
    }
}

/// Everything that the domain works with.
#[derive(Debug)]
pub struct Core {
    pub table: Table,
    pub settings: Settings,
    pub clock: Clock,
    pub random: Random,
    pub issuers: Issuers,
    pub vault: Vault,
    /// The way to authorization servers that MCP servers name.
    pub(crate) http: Arc<dyn Http>,
    hints: Hints,
    keyring: Versioned<Keyring>,
    compiled: Versioned<Compiled>,
    session_keys: SessionKeys,
    pins: KnownPins,
    is_bootstrapped: AtomicBool,
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
            http,
            hints: Hints::default(),
            keyring: Versioned::default(),
            compiled: Versioned::default(),
            session_keys: SessionKeys::default(),
            pins: KnownPins::default(),
            is_bootstrapped: AtomicBool::new(false),
        }
    }

    /// With another clock and source of randomness.
    #[must_use]
    pub fn with(self, clock: Clock, random: Random) -> Self {
        Self { clock, random, ..self }
    }

    /// Makes a new table's control item and first signing key; does nothing to one that has them.
    pub async fn bootstrap(&self) -> Result<()> {
        match Control::read(self).await {
            Ok(_) => return Ok(()),
            Err(Error::NotBootstrapped) => {}
            Err(error) => return Err(error),
        }
        let mut change = Change::new();
        Control { policies_version: 1, policies: 0, keys_version: 1 }.create(&mut change)?;
        tokens::bootstrap_key(self, &mut change).await?;
        match self.table.commit(change).await {
            // Somebody else was faster.
            Ok(()) | Err(Attempt::Raced) => Ok(()),
            Err(Attempt::Failed(error)) => Err(error),
        }
    }

    /// Refuses to go on without what [`Self::bootstrap`] makes. Asked where nothing else of a request would find
    /// out, and of the table once.
    pub(crate) async fn require_bootstrapped(&self) -> Result<()> {
        if !self.is_bootstrapped.load(Ordering::Relaxed) {
            Control::read(self).await?;
            self.is_bootstrapped.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The signing keys of a version.
    pub(crate) async fn keyring_at(&self, version: u64) -> Result<Arc<Keyring>> {
        match self.keyring.kept().filter(|kept| kept.version >= version) {
            Some(kept) => Ok(kept),
            // Boxed, as it is seldom: every future that could wait for it would hold its state.
            None => Ok(self.keyring.keep(Box::pin(Keyring::load(self, version)).await?)),
        }
    }

    /// The signing keys as they are now.
    pub async fn latest_keyring(&self) -> Result<Arc<Keyring>> {
        self.keyring_at(Control::read(self).await?.keys_version).await
    }

    /// The policies of a version.
    pub(crate) async fn policies_at(&self, version: u64) -> Result<Arc<Compiled>> {
        match self.compiled.kept().filter(|kept| kept.version >= version) {
            Some(kept) => Ok(kept),
            None => {
                let (version, policies) = Box::pin(policies::load(self, version)).await?;
                Ok(self.compiled.keep(Compiled::new(version, &policies)?))
            }
        }
    }

    /// The policies as they are now.
    pub async fn latest_policies(&self) -> Result<Arc<Compiled>> {
        self.policies_at(Control::read(self).await?.policies_version).await
    }

    /// Checks everything about an agent token that needs no table. A key that this process does not know
    /// is looked for in the table once.
    pub async fn verify_token(&self, token: &str) -> Result<Result<VerifiedToken, tokens::Refused>> {
        let kept = match self.keyring.kept() {
            Some(kept) => kept,
            None => self.latest_keyring().await?,
        };
        let check = |keyring: &Keyring| tokens::verify(keyring, token, &self.settings, self.clock.now());
        match check(&kept) {
            Err(tokens::Refused::UnknownKey) => Ok(check(&*self.latest_keyring().await?)),
            verified => Ok(verified),
        }
    }
}

/// Turns a lost race into a defect, for changes that only make items under ids that were just drawn.
pub(crate) fn fresh_id(attempt: Attempt) -> Error {
    match attempt {
        Attempt::Raced => Error::internal("a new id is taken"),
        Attempt::Failed(error) => error,
    }
}

/// The newest version of something that this process has read.
#[derive(Debug)]
struct Versioned<T>(RwLock<Option<Arc<T>>>);

impl<T> Default for Versioned<T> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<T> Versioned<T> {
    fn kept(&self) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
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

impl HasVersion for Compiled {
    fn version(&self) -> u64 {
        self.version
    }
}

impl<T: HasVersion> Versioned<T> {
    /// Keeps what was read, unless something newer has been kept meanwhile.
    fn keep(&self, read: T) -> Arc<T> {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(newer) if newer.version() > read.version() => Arc::clone(newer),
            _ => {
                let read = Arc::new(read);
                *kept = Some(Arc::clone(&read));
                read
            }
        }
    }
}
