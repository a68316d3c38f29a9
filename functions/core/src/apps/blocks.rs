//! Apps that an admin blocked, by `client_id` or by the host that they are from. Each call that an app's token makes
//! reads both ([`crate::tokens::AppToken`]), so a block counts from the next call on.

use super::{App, BlockedHost, app_id};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    entities::app::Block,
    error::{Error, Result},
    ids::AppId,
    paging::{Listing, PageRequest},
    secret::sha256_hex,
    table::{Key, Partition, retry_on_conflict},
};

/// What a block is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    App(AppId),
    Host(String),
}

impl Blocked {
    pub fn app(client_id: &str) -> Result<Self> {
        if client_id.is_empty() || client_id.len() > super::registration::MAX_CLIENT_ID {
            return Err(Error::invalid("client_id must be that of an app"));
        }
        Ok(Self::App(app_id(client_id)))
    }

    /// A host as it is in URLs, and without a port: it is blocked at every port. No app is from a host that ends with a
    /// dot.
    pub fn host(host: &str) -> Result<Self> {
        let same = url::Url::parse(&format!("https://{host}/")).ok();
        if same.is_some_and(|url| url.host_str() == Some(host)) && !host.ends_with('.') {
            Ok(Self::Host(host.to_owned()))
        } else {
            Err(Error::invalid("host must be a host name in lower case, such as app.example.com"))
        }
    }

    /// Names the block in addresses: the hash of an app's id, since that may be a URL, or the host.
    pub fn id(&self) -> String {
        match self {
            Self::App(id) => sha256_hex(id.as_str().as_bytes()),
            Self::Host(host) => host.clone(),
        }
    }

    fn about(&self) -> (&'static str, &str) {
        match self {
            Self::App(id) => ("app", id.as_str()),
            Self::Host(host) => ("app_host", host),
        }
    }
}

impl Block {
    pub fn of(&self) -> Result<Blocked> {
        match (&self.app, &self.host) {
            (Some(app), None) => Ok(Blocked::App(app.clone())),
            (None, Some(host)) => Ok(Blocked::Host(host.clone())),
            _ => Err(Error::internal("a block is of an app or of a host")),
        }
    }
}

/// Blocks an app or a host. Doing it again changes nothing. Admins only.
pub async fn add(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    blocked: &Blocked,
) -> Result<Block> {
    caller.require(Power::Operate)?;
    let entry = Key::app_block(&blocked.id());
    retry_on_conflict(|| async {
        if let Some(block) = core.table.read_one::<Block>(entry.clone()).await? {
            return Ok(block.value);
        }
        let now = core.clock.now();
        let mut change = caller.change()?;
        let (app, host) = match blocked {
            Blocked::App(id) => {
                let key = Key::app(id);
                let was = core.table.read_one::<App>(key.clone()).await?;
                let app = was.as_ref().map(|was| was.value.clone());
                let app = app.unwrap_or(App {
                    id: id.clone(),
                    registration: None,
                    blocked_at: None,
                    created_at: now,
                });
                change.write(key, &App { blocked_at: Some(now), ..app }, was.as_ref())?;
                (Some(id.clone()), None)
            }
            Blocked::Host(host) => {
                change.create(Key::app_host(host), &BlockedHost { host: host.clone(), blocked_at: now })?;
                (None, Some(host.clone()))
            }
        };
        let block = Block { app, host, blocked_at: now };
        let (kind, id) = blocked.about();
        let event = caller.event(core, request, Action::AppBlock)?.about(kind, id);
        change.create(entry.clone(), &block)?.record(&event)?;
        core.table.commit(change).await?;
        Ok(block)
    })
    .await
}

/// All blocks. Admins only.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<Block>> {
    caller.require(Power::Read)?;
    let blocks = page.list_items::<Block>(core, &Partition::app_blocks()).await?;
    Ok(blocks.map(|stored| stored.value))
}

/// Ends a block. Tokens that are still within their time are good again. Admins only.
pub async fn remove(core: &Core, caller: &UserCaller, request: &RequestContext, id: &str) -> Result<()> {
    caller.require(Power::Operate)?;
    let entry = Key::app_block(id);
    retry_on_conflict(|| async {
        let block = core.table.read_one::<Block>(entry.clone()).await?.ok_or(Error::NotFound("block"))?;
        let blocked = block.of()?;
        let mut change = caller.change()?;
        match &blocked {
            Blocked::App(id) => {
                let key = Key::app(id);
                if let Some(was) = core.table.read_one::<App>(key.clone()).await? {
                    if was.registration.is_some() {
                        change.replace(key, &App { blocked_at: None, ..was.value.clone() }, was.rev)?;
                    } else {
                        change.delete(&key, was.rev)?;
                    }
                }
            }
            Blocked::Host(host) => {
                change.remove(&Key::app_host(host))?;
            }
        }
        let (kind, id) = blocked.about();
        let event = caller.event(core, request, Action::AppUnblock)?.about(kind, id);
        change.delete(&entry, block.rev)?.record(&event)?;
        core.table.commit(change).await
    })
    .await
}
