//! `/keys`: the person's API keys. A new one is shown once, in the answer to the form that made it: a form that is sent
//! again makes no other key, and is told that it was shown. A deleted key can be restored.

use std::{collections::HashMap, sync::Arc};

use axum::{extract::State, response::Response};
use deputize_api::{API_KEY_HEADER, path};
use deputize_core::{
    Core,
    api_keys::{self, ApiKey, NewApiKey},
    audit::{RequestContext, Terms},
    browser_sessions::SignedIn,
    clock::Timestamp,
    deletion::{self, Kind},
    idempotency_key::IdempotencyKey,
    ids::ApiKeyId,
    paging::{Listing, PageRequest},
    scope::Scopes,
    secret::{sha256_hex, shown_once},
    servers::{self, Server, ServerFilter, ServerOrder},
    trail,
};
use deputize_service::{
    Result,
    bounds::Name,
    extract::{Context, Form, Query},
};
use futures::future::try_join3;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::choices::{SERVERS, Until, Where};
use deputize_pages::{
    answer::{gone, id, see_other, told},
    browser::{Person, SamePage, require_form_token},
    frame::{Page, Place},
    page,
    parts::{Tone, at, capitalized, empty, form, joined, next_page, note, with_query},
    when::{date, moment, until},
};

/// How many of the person's newest events are looked at for the last use of their keys.
const LOOKED_AT: usize = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeysQuery {
    cursor: Option<String>,
    /// The key that was just deleted.
    deleted: Option<ApiKeyId>,
}

pub(crate) async fn keys(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    query: Result<Query<KeysQuery>>,
) -> Response {
    let shown = async {
        let Query(query) = query?;
        let page = PageRequest::new(None, query.cursor.as_deref())?;
        let keys = Keys::read(&core, &person, &page).await?;
        let outcome = keys.deleted(query.deleted).await?;
        Ok(keys.shown(&Wanted::new(&core)?, &outcome, StatusCode::OK))
    };
    told(&core, "This page cannot be shown", shown.await)
}

/// What is chosen in the form.
struct Wanted {
    name: String,
    scopes: Scopes,
    where_: Where,
    until: Until,
    /// Made anew with each page: a form that is sent again is known by it.
    once: String,
}

impl Wanted {
    fn new(core: &Core) -> Result<Self> {
        Ok(Self {
            name: String::new(),
            scopes: Scopes { tools_call: true, ..Scopes::default() },
            where_: Where::of(None),
            until: Until::new(),
            once: core.random.uuid()?.to_string(),
        })
    }

    fn sent(form: &Form) -> Self {
        let is_for = |scope: &str| form.get(scope).is_some();
        Self {
            name: form.get("name").unwrap_or_default().trim().to_owned(),
            scopes: Scopes {
                tools_call: is_for("tools_call"),
                manage_read: is_for("manage_read"),
                manage: is_for("manage"),
                offline_access: false,
            },
            where_: Where::sent(form),
            until: Until::sent(form),
            once: form.get("once").unwrap_or_default().to_owned(),
        }
    }

    fn key(&self, now: Timestamp) -> Result<NewApiKey, String> {
        let name = Name::try_from(self.name.clone()).map_err(|why| format!("The name {why}."))?;
        if self.scopes.is_empty() {
            return Err("Choose what the key is for.".to_owned());
        }
        Ok(NewApiKey {
            name: name.into(),
            scopes: Some(self.scopes),
            server_ids: self.where_.server_ids()?,
            expires_at: self.until.expires_at(None, now)?,
        })
    }

    /// The request under the form's name, so that it is carried out once.
    fn once(&self, request: RequestContext, new: &NewApiKey) -> RequestContext {
        let NewApiKey { name, scopes, server_ids, expires_at: _ } = new;
        let what = format!("{name}\0{scopes:?}\0{server_ids:?}\0{}", self.until.text());
        let key = IdempotencyKey::new(format!("form {}", self.once), sha256_hex(what.as_bytes()));
        request.under(Some(Terms::Once(key)))
    }
}

/// All that the page shows.
struct Keys<'a> {
    core: &'a Core,
    person: &'a SignedIn,
    now: Timestamp,
    keys: Listing<ApiKey>,
    servers: Listing<Server>,
    last_used: HashMap<ApiKeyId, Timestamp>,
}

impl<'a> Keys<'a> {
    async fn read(core: &'a Core, person: &'a SignedIn, page: &PageRequest) -> Result<Self> {
        let (caller, now) = (&person.caller, core.clock.now());
        let me = caller.user.id;
        let by_name =
            ServerFilter { active: Some(true), sort: Some(ServerOrder::Name), ..ServerFilter::default() };
        let of_mine = trail::Filter { user_id: Some(me), ..trail::Filter::default() };
        let (most, newest) =
            (PageRequest::new(Some(SERVERS), None)?, PageRequest::new(Some(LOOKED_AT), None)?);
        let (mut keys, servers, events) = try_join3(
            Box::pin(api_keys::list(core, caller, me, page)),
            Box::pin(servers::list(core, caller, &by_name, &most)),
            Box::pin(trail::list(core, caller, of_mine, &newest)),
        )
        .await?;
        keys.items.sort_by_cached_key(|key| (std::cmp::Reverse(key.created_at), key.name.clone()));
        let mut last_used = HashMap::new();
        for event in &events.items {
            let key = event.credential.as_deref().and_then(|used| used.strip_prefix("api_key:"));
            if let Some(key) = key.and_then(|key| key.parse().ok()) {
                last_used.entry(key).or_insert(event.at);
            }
        }
        Ok(Self { core, person, now, keys, servers, last_used })
    }

    /// The key that was just deleted, with what restores it.
    async fn deleted(&self, id: Option<ApiKeyId>) -> Result<Markup> {
        let Some(id) = id else { return Ok(html! {}) };
        let caller = &self.person.caller;
        let Ok(deleted) = deletion::get(self.core, caller, Kind::ApiKey, &id.to_string()).await else {
            return Ok(html! {});
        };
        if deleted.of_user != Some(caller.user.id) {
            return Ok(html! {});
        }
        let undo = form(
            self.person,
            &at(&self.core.settings, path::RESTORE_KEY),
            &restore_of(id),
            &html! {
                button.button name="key" value=(id) { "Undo" }
            },
        );
        let name = deleted.name.clone().unwrap_or_default();
        Ok(note(
            Tone::Done,
            &html! { "The key " b { (name) } " is deleted: it is refused from now on." },
            &undo,
        ))
    }

    fn shown(&self, wanted: &Wanted, outcome: &Markup, status: StatusCode) -> Response {
        let settings = &self.core.settings;
        let here = at(settings, path::MY_KEYS);
        let next = self.keys.next.as_deref().map(|next| with_query(&here, &[("cursor", Some(next))]));
        let main = html! {
            (outcome)
            @if self.keys.items.is_empty() && next.is_none() {
                (empty(&html! { "You have no API key. With one, a script does what you can do here." }))
            } @else {
                ul.rows role="list" { @for key in &self.keys.items { li { (self.row(key)) } } }
            }
            (next_page(next.as_deref()))
            h2 #new { "Create a key" }
            (form(self.person, &here, CREATE, &self.fields(wanted)))
        };
        let lead = html! { "A key is you, in a script. It works until it is deleted or runs out." };
        Page::of(Place::Keys, main).lead(lead).answer(self.core, self.person, status)
    }

    fn row(&self, key: &ApiKey) -> Markup {
        html! {
            div.what {
                div {
                    p {
                        b { (key.name) }
                        @if !key.is_live(self.now) { " " span.tag { "Ran out" } }
                    }
                    p.small.muted {
                        (purposes(key.scopes()))
                        @if let Some(servers) = &key.server_ids {
                            @let names: Vec<String> = servers.iter().map(|id| self.server_name(id)).collect();
                            ", at " (joined(&names, 3))
                        }
                        ". Made on " (date(key.created_at)) ", "
                        @match key.expires_at {
                            Some(ends) => { "ends on " (date(ends)) @if key.is_live(self.now) { " (" (until(ends, self.now)) ")" } },
                            None => "without an end",
                        }
                        ". "
                        @match self.last_used.get(&key.id) {
                            Some(at) => { "Last used " (moment(*at, self.now)) "." },
                            None => "Not used of late, as far as that is recorded: reading is not.",
                        }
                    }
                }
            }
            (form(self.person, &at(&self.core.settings, path::DELETE_KEY), &delete_of(key.id), &html! {
                button.button name="key" value=(key.id) aria-label={ "Delete " (key.name) } { "Delete" }
            }))
        }
    }

    fn server_name(&self, id: &deputize_core::ids::ServerId) -> String {
        let known = self.servers.items.iter().find(|server| server.id == *id);
        known.map_or_else(|| id.to_string(), |server| server.name.clone())
    }

    fn fields(&self, wanted: &Wanted) -> Markup {
        let scope = |name: &str, is_chosen: bool, words: &str| {
            html! {
                label.option {
                    input type="checkbox" name=(name) value="yes" checked[is_chosen];
                    span { (words) }
                }
            }
        };
        html! {
            input type="hidden" name="once" value=(wanted.once);
            div.fields {
                label.field {
                    span { "Name" }
                    input type="text" name="name" value=(wanted.name) required maxlength="200" autocomplete="off";
                }
                fieldset {
                    legend { "What it is for" }
                    (scope("tools_call", wanted.scopes.tools_call, "Calling tools"))
                    (scope("manage_read", wanted.scopes.manage_read, "Reading what you can read here"))
                    (scope("manage", wanted.scopes.manage, "Changing what you can change here"))
                }
                (wanted.where_.fields(&self.servers))
                (wanted.until.field(None, self.core.settings.longest_api_key))
                div.row { button.button.primary { "Create" } }
            }
        }
    }
}

fn purposes(scopes: Scopes) -> String {
    let all = [
        (scopes.tools_call, "calls tools"),
        (scopes.manage_read && !scopes.manage, "reads"),
        (scopes.manage, "reads and changes"),
    ];
    let had: Vec<String> =
        all.into_iter().filter(|(had, _)| *had).map(|(_, words)| words.to_owned()).collect();
    capitalized(&joined(&had, all.len()))
}

/// What the form is for that makes a key.
const CREATE: &str = "create-key";

fn delete_of(id: ApiKeyId) -> String {
    format!("delete-key {id}")
}

fn restore_of(id: ApiKeyId) -> String {
    format!("restore-key {id}")
}

/// Makes a key, and shows it in the answer. As every page, that is sent with `no-store`.
pub(crate) async fn create(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let made = async {
        let form = form?;
        require_form_token(&person, CREATE, &form)?;
        let (wanted, now) = (Wanted::sent(&form), core.clock.now());
        let problem = match wanted.key(now) {
            Ok(new) if !wanted.once.is_empty() => {
                let (came, once) = (request.received_at, wanted.once(request, &new));
                match api_keys::create(&core, &person.caller, &once, new).await {
                    Ok((key, _)) if came.is_some_and(|came| key.created_at < came) => {
                        return Ok(was_shown(&core, &person));
                    }
                    Ok((key, text)) => return Ok(shown(&core, &person, &key, shown_once(&text))),
                    Err(deputize_core::Error::IdempotencyKeyReused) => {
                        return Ok(was_shown(&core, &person));
                    }
                    Err(deputize_core::Error::Invalid(why)) => page::sentence(&why.to_string()),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(_) => "Load the page again, and send the form again.".to_owned(),
            Err(problem) => problem,
        };
        let keys = Keys::read(&core, &person, &PageRequest::default()).await?;
        let outcome = note(Tone::Stop, &html! { (problem) }, &html! {});
        Ok(keys.shown(&wanted, &outcome, StatusCode::BAD_REQUEST))
    };
    told(&core, "No key was made", made.await)
}

fn shown(core: &Core, person: &SignedIn, key: &ApiKey, text: &str) -> Response {
    let settings = &core.settings;
    let main = html! {
        (note(Tone::Warn, &html! { b { "Copy it now." } " It is shown once." }, &html! {}))
        p.secret { code { (text) } }
        h2 { "Use it" }
        pre tabindex="0" {
            code {
                "export API_KEY=\"" (text) "\"\n"
                "curl -H \"" (API_KEY_HEADER) ": $API_KEY\" " (settings.issuer) (path::ME)
            }
        }
        div.row { a.button.primary href=(at(settings, path::MY_KEYS)) { "I have copied it" } }
    };
    let title = format!("The key {}", key.name);
    Page::below(Place::Keys, &title, main).show(core, person)
}

fn was_shown(core: &Core, person: &SignedIn) -> Response {
    let again = at(&core.settings, path::MY_KEYS);
    let main = html! {
        p { "The key was made and shown, and is not shown again. If you have not copied it, delete it and make another." }
        div.row { a.button.primary href=(again) { "Your keys" } }
    };
    Page::below(Place::Keys, "It was shown", main).show(core, person)
}

pub(crate) async fn delete(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let deleted = async {
        let form = form?;
        let key: ApiKeyId = id(&form, "key")?;
        require_form_token(&person, &delete_of(key), &form)?;
        gone(api_keys::revoke(&core, &person.caller, &request, person.caller.user.id, key).await)?;
        Ok(see_other(&core, &with_query(path::MY_KEYS, &[("deleted", Some(&key.to_string()))])))
    };
    told(&core, "The key may still work", deleted.await)
}

pub(crate) async fn restore(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let restored = async {
        let form = form?;
        let key: ApiKeyId = id(&form, "key")?;
        require_form_token(&person, &restore_of(key), &form)?;
        deletion::restore_api_key(&core, &person.caller, &request, key).await?;
        Ok(see_other(&core, path::MY_KEYS))
    };
    told(&core, "The key was not restored", restored.await)
}
