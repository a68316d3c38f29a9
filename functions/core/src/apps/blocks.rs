//! Apps that an admin blocked, by `client_id` or by the host that they are from. Each call that an app's token makes
//! reads both ([`crate::tokens::AppToken`]), so a block counts from the next call on.

use deputize_api::reason::Reason;

use super::{App, BlockedHost, app_id};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    entities::app::Block,
    error::{Error, Result, Told},
    gone,
    ids::AppId,
    once::{Holds, once},
    paging::{Listing, PageRequest},
    secret::sha256_hex,
    table::{Key, Partition, retry_on_conflict},
};

/// What it is called that is not found.
const BLOCK: &str = "block";

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

/// Blocks an app or a host. Doing it again changes nothing, but an admin's block takes the place of an operator's.
/// Operators and admins.
pub async fn add(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    blocked: &Blocked,
) -> Result<Block> {
    caller.require(Power::Operate)?;
    let entry = Key::app_block(&blocked.id());
    let made = once(core, caller, request, Holds::NoSecret, || async {
        let mut change = caller.change()?;
        let (kind, id) = blocked.about();
        let event = caller.event(core, request, Action::AppBlock)?.about(kind, id);
        if let Some(was) = core.table.read_one::<Block>(entry.clone()).await? {
            let blocked_by = caller.stops_as().after(false, was.blocked_by);
            if blocked_by == was.blocked_by {
                return Ok((change, was.value));
            }
            let block = Block { blocked_by, ..was.value.clone() };
            change.replace(entry.clone(), &block, was.rev)?.record(&event)?;
            return Ok((change, block));
        }
        let now = core.clock.now();
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
        let blocked_by = caller.stops_as().after(true, None);
        let block = Block { app, host, blocked_at: now, blocked_by };
        let (kind, id) = blocked.about();
        let event = caller.event(core, request, Action::AppBlock)?.about(kind, id);
        let event = event.changed(&(), &block.recorded())?;
        change.create(entry.clone(), &block)?.record(&event)?;
        Ok((change, block))
    })
    .await?;
    Ok(made.value)
}

/// All blocks. Auditors, operators and admins.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<Block>> {
    caller.require(Power::Read)?;
    let blocks = page.list_items::<Block>(core, &Partition::app_blocks()).await?;
    Ok(blocks.map(|stored| stored.value))
}

/// Ends a block. Tokens that are still within their time are good again. Admins, and operators unless an admin made it.
pub async fn remove(core: &Core, caller: &UserCaller, request: &RequestContext, id: &str) -> Result<()> {
    caller.require(Power::Operate)?;
    let entry = Key::app_block(id);
    let ended = retry_on_conflict(|| async {
        let block = core.table.read_one::<Block>(entry.clone()).await?.ok_or(Error::NotFound(BLOCK))?;
        if !caller.stops_as().may_lift(block.blocked_by) {
            let why = "An admin has blocked it; only an admin can end the block";
            return Err(Error::Forbidden(Told::of(Reason::AdminRequired, why)).into());
        }
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
        let event = event.changed(&block.recorded(), &())?;
        change.delete(&entry, block.rev)?.record(&event)?;
        gone::note(core, &mut change, &entry)?;
        core.table.commit(change).await
    });
    gone::or_before(core, &entry, BLOCK, ended.await).await
}
