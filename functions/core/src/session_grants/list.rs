//! Which grants somebody may see: their own, with who displaced them, and the shared ones.

use std::collections::BTreeSet;

use super::{Displaced, Grant, GrantState, GrantView, Pair, Promotion, view};
use crate::{
    Core,
    agents::{self, AgentAccount},
    app_standing::{self, Standing},
    caller::UserCaller,
    error::{Error, Result},
    ids::{AgentAccountId, ServerId, UserId},
    paging::{Listing, PageRequest},
    table::{Key, Partition, Stored, retry_on_conflict},
    users::User,
};

/// Which grants of an agent account. A grant must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub server_id: Option<ServerId>,
    pub grantor_user_id: Option<UserId>,
    /// Whether they are in force.
    pub active: Option<bool>,
}

impl Filter {
    fn is_of(&self, grantor: UserId) -> bool {
        self.grantor_user_id.is_none_or(|wanted| wanted == grantor)
    }
}

/// The grants for an agent account that the caller may see: their own and the shared ones. The same for
/// admins.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Listing<GrantView>> {
    let listing = list_visible(core, caller, agent, filter, page).await?;
    Ok(listing.only(|view| filter.active.is_none_or(|active| active == view.is_active)))
}

async fn list_visible(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Listing<GrantView>> {
    if let Some(server) = &filter.server_id {
        return list_for_server(core, caller, agent, server, filter).await;
    }
    // The caller's own grants come first, by server; then others' shared ones, by server.
    let (grants, pairs) = (Partition::grants_by(agent, caller.user.id), Partition::pairs(agent));
    let begins =
        page.cursor().is_none_or(|cursor| cursor.starts_with(&grants.prefix)) && filter.is_of(caller.user.id);
    let own =
        async { if begins { page.list_items::<Grant>(core, &grants).await.map(Some) } else { Ok(None) } };
    let (account, own) = futures::try_join!(agents::get(core, agent), own)?;
    let account = account.value;
    if !account.is_visible_to(caller) {
        return list_own(core, caller, &account, page).await;
    }
    let mut items = Vec::new();
    if let Some(own) = own {
        items = with_pairs(core, caller, &account, own.items).await?;
        if own.next.is_some() || filter.grantor_user_id.is_some() {
            return Ok(Listing { items, next: own.next });
        }
        if items.len() >= page.limit() {
            return Ok(Listing { items, next: Some(PageRequest::encode(&pairs.prefix)) });
        }
    }
    let rest = page.rest(page.limit() - items.len(), &pairs);
    let pairs = rest.list_items::<Pair>(core, &pairs).await?;
    let next = pairs.next;
    let pairs: Vec<Pair> = pairs.items.into_iter().map(|pair| pair.value).collect();
    items.extend(others_shared(core, caller, &account, &pairs, filter).await?);
    Ok(Listing { items, next })
}

/// The caller's own grants for an account that they may not know of, except by these.
async fn list_own(
    core: &Core,
    caller: &UserCaller,
    account: &AgentAccount,
    page: &PageRequest,
) -> Result<Listing<GrantView>> {
    let own = page.list_items::<Grant>(core, &Partition::grants_by(account.id, caller.user.id)).await?;
    if own.items.is_empty() {
        return Err(Error::NotFound(AgentAccountId::WHAT));
    }
    let items = with_pairs(core, caller, account, own.items).await?;
    Ok(Listing { items, next: own.next })
}

/// The caller's own grants, judged by their pairs.
async fn with_pairs(
    core: &Core,
    caller: &UserCaller,
    account: &AgentAccount,
    grants: Vec<Stored<Grant>>,
) -> Result<Vec<GrantView>> {
    let pair_of = |grant: &Grant| Key::pair(account.id, &grant.server_id);
    let made = grants.iter().map(|grant| (grant.grantor_user_id, grant.made_by.as_ref()));
    let (mut found, standing) = futures::try_join!(
        core.table.read(grants.iter().map(|grant| pair_of(grant)).collect()),
        app_standing::read(core, made),
    )?;
    let views = grants.into_iter().map(|grant| {
        let pair = found.take::<Pair>(&pair_of(&grant))?.map(|pair| pair.value).unwrap_or_default();
        Ok(own_view(account, caller, grant.value, &pair, &standing))
    });
    let mut views = views.collect::<Result<Vec<_>>>()?;
    tell_displaced(core, &mut views).await?;
    Ok(views)
}

/// A grant of the caller's own, whether or not it stands.
fn own_view(
    account: &AgentAccount,
    caller: &UserCaller,
    grant: Grant,
    pair: &Pair,
    standing: &Standing,
) -> GrantView {
    let stands = grant.is_of(&caller.user) && standing.of(grant.made_by.as_ref());
    let may_serve = account.is_shared_by(&caller.user, grant.made_by.is_some());
    view(grant, pair, caller.user.email.clone(), may_serve, stands)
}

async fn list_for_server(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    server: &ServerId,
    filter: &Filter,
) -> Result<Listing<GrantView>> {
    let state = retry_on_conflict(|| GrantState::read(core, agent, server, caller.user.id)).await?;
    let is_visible = state.account()?.is_visible_to(caller);
    if !is_visible && state.grant.is_none() {
        return Err(Error::NotFound(AgentAccountId::WHAT));
    }
    let pair = Pair { server_id: Some(server.clone()), ..state.pair() };
    let GrantState { account, grant, standing, .. } = state;
    let account = &account.ok_or(Error::NotFound(AgentAccountId::WHAT))?;
    let own = grant.filter(|own| filter.is_of(own.grantor_user_id));
    let own = own.map(|grant| own_view(account, caller, grant.value, &pair, &standing));
    let mut items: Vec<GrantView> = own.into_iter().collect();
    tell_displaced(core, &mut items).await?;
    if is_visible {
        items.extend(others_shared(core, caller, account, &[pair], filter).await?);
    }
    Ok(Listing { items, next: None })
}

/// The shared grants of these pairs, without the caller's own and without those that may no longer serve
/// other users.
async fn others_shared(
    core: &Core,
    caller: &UserCaller,
    account: &AgentAccount,
    pairs: &[Pair],
    filter: &Filter,
) -> Result<Vec<GrantView>> {
    let shared: Vec<(&Pair, &ServerId, UserId)> = pairs
        .iter()
        .filter_map(|pair| Some((pair, pair.server_id.as_ref()?, pair.shared.as_ref()?.grantor_user_id)))
        .filter(|(_, _, grantor)| *grantor != caller.user.id && filter.is_of(*grantor))
        .collect();
    let grant_keys: Vec<Key> =
        shared.iter().map(|(_, server, grantor)| Key::grant(account.id, server, *grantor)).collect();
    let user_keys: Vec<Key> = shared.iter().map(|(_, _, grantor)| Key::user(*grantor)).collect();
    let (grants, users) = futures::try_join!(
        core.table.read_all::<Grant>(&grant_keys),
        core.table.read_all::<User>(&user_keys),
    )?;
    let made = grants.iter().map(|grant| (grant.grantor_user_id, grant.made_by.as_ref()));
    let standing = app_standing::read(core, made).await?;
    let views = grants.into_iter().filter_map(|grant| {
        let (pair, ..) = shared.iter().find(|(_, server, _)| **server == grant.server_id)?;
        let user = users.iter().find(|user| user.id == grant.grantor_user_id)?;
        // The grant can have changed between the two reads. One that is no longer shared is not shown.
        let shared = grant.is_shared(pair)
            && user.active
            && grant.is_of(user)
            && account.is_shared_by(&core.counting_claims(user.value.clone()), grant.made_by.is_some())
            && standing.of(grant.made_by.as_ref());
        shared.then(|| view(grant.value, pair, user.email.clone(), shared, true))
    });
    Ok(views.collect())
}

/// Adds to displaced grants by whom and when. Only for views of their own grantors and of admins.
pub(super) async fn tell_displaced(core: &Core, views: &mut [GrantView]) -> Result<()> {
    let mut found = core.table.read(views.iter().filter_map(GrantView::displacement).collect()).await?;
    for view in &mut *views {
        let promotion = match view.displacement() {
            Some(key) => found.take::<Promotion>(&key)?,
            None => None,
        };
        view.displaced = promotion.map(|promotion| {
            let Promotion { by_user_id, at } = promotion.value;
            Displaced { by_user_id, by_email: None, at }
        });
    }
    let by: BTreeSet<UserId> =
        views.iter().filter_map(|view| Some(view.displaced.as_ref()?.by_user_id)).collect();
    let users: Vec<Key> = by.into_iter().map(Key::user).collect();
    let users = core.table.read_all::<User>(&users).await?;
    for displaced in views.iter_mut().filter_map(|view| view.displaced.as_mut()) {
        let by = users.iter().find(|user| user.id == displaced.by_user_id);
        displaced.by_email = by.and_then(|user| user.email.clone());
    }
    Ok(())
}
