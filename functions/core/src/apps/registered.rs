//! Apps that an admin registers. The registration is an item, so what it says counts from the next request on.

use deputize_api::reason::Reason;
use secrecy::SecretString;

use super::{
    App, AppAuth, AppKey, AppKind, AppMetadata, AppRegistration,
    redirect_uri::{self, RedirectUri},
    shown_name,
};
use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    entities::app::AppEntry,
    error::{Error, Result, Told},
    gone,
    ids::AppId,
    once::{Holds, once},
    paging::{Listing, PageRequest},
    secret::{NotedSecret, new_client_secret},
    table::{Change, Key, Partition, Stored, retry_on_conflict},
};

/// An app to register.
#[derive(Debug)]
pub struct NewApp {
    pub name: String,
    pub redirect_uris: Vec<String>,
    pub proof: NewProof,
    pub trusted: bool,
}

/// How the app proves itself at the token endpoint.
#[derive(Debug)]
pub enum NewProof {
    /// Not at all: a public client.
    None,
    /// By a secret, which is made.
    Secret,
    Keys {
        keys: Vec<AppKey>,
        jwks_uri: Option<String>,
    },
}

/// What to change of an app; `None` leaves it as it is.
#[derive(Debug, Default)]
pub struct AppUpdate {
    pub name: Option<String>,
    pub redirect_uris: Option<Vec<String>>,
    pub trusted: Option<bool>,
    /// Also makes a new secret. The old one is good no more.
    pub new_secret: bool,
}

/// What the `client_id` of such an app begins with.
const PREFIX: &str = "app-";

/// Whether a `client_id` may be such an app's. Its item is at the hash of it, so this only spares a read.
pub(super) fn can_be(client_id: &str) -> bool {
    client_id.strip_prefix(PREFIX).is_some_and(|id| id.parse::<uuid::Uuid>().is_ok())
}

impl App {
    /// What is known of an app that an admin registered.
    pub fn metadata(&self) -> Option<AppMetadata> {
        let AppRegistration { name, redirect_uris, auth, trusted } = self.registration.clone()?;
        Some(AppMetadata {
            id: self.id.clone(),
            client_id: self.id.as_str().to_owned(),
            kind: AppKind::Registered,
            name: Some(name),
            host: None,
            redirect_uris,
            auth,
            trusted,
        })
    }
}

/// Checks what an admin says of an app, and puts its parts into their form.
fn checked(core: &Core, registration: AppRegistration) -> Result<AppRegistration> {
    let name = shown_name(&registration.name).filter(|name| *name == registration.name);
    let name = name.ok_or_else(|| {
        Error::invalid("name must have 1 to 60 characters, none of them hidden, and no spaces around them")
    })?;
    let uris = &registration.redirect_uris;
    if uris.is_empty() || uris.len() > redirect_uri::MAX_COUNT {
        return Err(Error::invalid(format!(
            "redirect_uris must be a list of 1 to {} addresses",
            redirect_uri::MAX_COUNT
        )));
    }
    let is_public = matches!(registration.auth, AppAuth::None);
    for uri in uris {
        let uri = RedirectUri::check(&core.settings, uri, is_public);
        let uri = uri.map_err(|refused| Error::invalid(format!("redirect_uris: {refused}")))?;
        if registration.trusted && uri.host().is_none() {
            return Err(Error::invalid(format!(
                "trusted is for apps whose redirect_uris are all https: any program of the user's computer can take \
                 the answer that goes to {}",
                uri.as_str()
            )));
        }
    }
    if let AppAuth::Keys { keys, jwks_uri } = &registration.auth {
        let is_https = |uri: &String| {
            uri.len() <= redirect_uri::MAX_LENGTH
                && url::Url::parse(uri).is_ok_and(|url| url.scheme() == "https")
        };
        if keys.is_empty() == jwks_uri.is_none() || !jwks_uri.as_ref().is_none_or(is_https) {
            return Err(Error::invalid(
                "private_key_jwt needs either jwks with public keys that can be used, or a jwks_uri with https",
            ));
        }
    }
    Ok(AppRegistration { name, ..registration })
}

/// Registers an app. Admins only. Its secret, if it has one, is shown once.
pub async fn register(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    new: NewApp,
) -> Result<(Stored<App>, Option<SecretString>)> {
    caller.require(Power::Manage)?;
    let made = once(core, caller, request, Holds::Secret, || async {
        let (auth, secret) = match &new.proof {
            NewProof::None => (AppAuth::None, None),
            NewProof::Secret => {
                let made = new_client_secret(&core.random)?;
                (AppAuth::Secret { hash: made.hash }, Some(NotedSecret(made.text)))
            }
            NewProof::Keys { keys, jwks_uri } => {
                (AppAuth::Keys { keys: keys.clone(), jwks_uri: jwks_uri.clone() }, None)
            }
        };
        let NewApp { name, redirect_uris, trusted, .. } = &new;
        let (name, redirect_uris, trusted) = (name.clone(), redirect_uris.clone(), *trusted);
        let registration = checked(core, AppRegistration { name, redirect_uris, auth, trusted })?;
        let id = AppId(format!("{PREFIX}{}", core.random.uuid()?));
        let app =
            App { id, registration: Some(registration), blocked_at: None, created_at: core.clock.now() };
        let mut change = caller.change()?;
        change.create(Key::app(&app.id), &app)?;
        change.create(Key::app_entry(&app.id), &AppEntry { id: app.id.clone() })?;
        let event = caller.event(core, request, Action::AppRegister)?.about("app", &app.id);
        change.record(&event.note(told(&app)).changed(&(), &app.recorded())?)?;
        Ok((change, (app, secret)))
    })
    .await?;
    let Stored { rev, value: (app, secret) } = made;
    Ok((Stored { rev, value: app }, secret.map(|NotedSecret(text)| text)))
}

/// What the trail says of an app.
fn told(app: &App) -> String {
    let Some(registration) = &app.registration else { return String::new() };
    let trusted = if registration.trusted { ", trusted" } else { "" };
    format!("{}{trusted}, {}", registration.name, registration.redirect_uris.join(" "))
}

/// The app of an id, if an admin registered it.
async fn stored(core: &Core, id: &AppId) -> Result<Stored<App>> {
    let app = core.table.read_one::<App>(Key::app(id)).await?;
    app.filter(|app| app.registration.is_some()).ok_or(Error::NotFound(AppId::WHAT))
}

/// An app that an admin registered. Admins only.
pub async fn get(core: &Core, caller: &UserCaller, id: &AppId) -> Result<Stored<App>> {
    caller.require(Power::Read)?;
    stored(core, id).await
}

/// All apps that admins registered. Admins only.
pub async fn list(core: &Core, caller: &UserCaller, page: &PageRequest) -> Result<Listing<App>> {
    caller.require(Power::Read)?;
    page.list_entries(core, &Partition::apps(), |entry: &AppEntry| Key::app(&entry.id)).await
}

/// Changes an app. Admins only.
pub async fn update(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: &AppId,
    update: AppUpdate,
) -> Result<(Stored<App>, Option<SecretString>)> {
    caller.require(Power::Manage)?;
    let changed = once(core, caller, request, Holds::Secret, || async {
        let was = stored(core, id).await?;
        request.require_match(&Key::app(id), was.rev)?;
        let mut app = was.value.clone();
        let mut registration = app.registration.ok_or(Error::NotFound(AppId::WHAT))?;
        registration.name = update.name.clone().unwrap_or(registration.name);
        registration.redirect_uris = update.redirect_uris.clone().unwrap_or(registration.redirect_uris);
        registration.trusted = update.trusted.unwrap_or(registration.trusted);
        let mut secret = None;
        if update.new_secret {
            if !matches!(registration.auth, AppAuth::Secret { .. }) {
                let why = "This app has no secret: register another one that has";
                return Err(Error::Conflict(Told::of(Reason::StateConflict, why).by_thing("app", id)).into());
            }
            let made = new_client_secret(&core.random)?;
            registration.auth = AppAuth::Secret { hash: made.hash };
            secret = Some(NotedSecret(made.text));
        }
        app.registration = Some(checked(core, registration)?);
        let event = caller.event(core, request, Action::AppUpdate)?.about("app", id);
        let mut change = caller.change()?;
        let event = event.note(told(&app)).changed(&was.recorded(), &app.recorded())?;
        change.replace(Key::app(id), &app, was.rev)?.record(&event)?;
        Ok((change, (was.rev + 1, app, secret)))
    })
    .await?;
    let (rev, app, secret) = changed.value;
    Ok((Stored { rev, value: app }, secret.map(|NotedSecret(text)| text)))
}

/// Deletes an app. That ends every token that it has. Admins only.
pub async fn delete(core: &Core, caller: &UserCaller, request: &RequestContext, id: &AppId) -> Result<()> {
    caller.require(Power::Manage)?;
    let key = Key::app(id);
    let deleted = retry_on_conflict(|| async {
        let was = stored(core, id).await?;
        request.require_match(&Key::app(id), was.rev)?;
        let left = was.blocked_at.map(|_| unregistered(&was));
        let after = left.as_ref().map(App::recorded);
        let event = caller.event(core, request, Action::AppDelete)?.about("app", id);
        let event = event.changed(&was.recorded(), &after)?;
        let mut change = caller.change()?;
        forget(&mut change, &was)?;
        change.remove(&Key::app_entry(id))?.record(&event)?;
        gone::note(core, &mut change, &key)?;
        core.table.commit(change).await
    });
    gone::or_before(core, &key, AppId::WHAT, deleted.await).await
}

fn unregistered(app: &App) -> App {
    App { registration: None, ..app.clone() }
}

/// Deletes what was registered. That the app is blocked stays.
fn forget(change: &mut Change, was: &Stored<App>) -> Result<()> {
    let key = Key::app(&was.id);
    if was.blocked_at.is_some() {
        change.replace(key, &unregistered(was), was.rev)?;
    } else {
        change.delete(&key, was.rev)?;
    }
    Ok(())
}
