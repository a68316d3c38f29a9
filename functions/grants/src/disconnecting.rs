//! `/connections/{server_id}/disconnect`: the page on which a person ends their connection to a server. It asks first: it
//! cannot be undone. It is this function's since it opens the tokens, which are revoked at their provider.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core, connections,
    ids::ServerId,
    paging::{MAX_PAGE_SIZE, PageRequest},
    servers,
    session_grants::{self, GrantFilter},
};
use deputize_pages::{
    answer::{gone, see_other, told},
    browser::{Person, SamePage, require_form_token},
    frame::{Page, Place},
    parts::{at, form, joined, with_query},
};
use deputize_service::{
    Result,
    extract::{Context, Form, Path},
};
use futures::future::try_join;
use maud::html;

/// How many names of agents are in a line.
const MOST_NAMES: usize = 3;

fn disconnect_from(server: &ServerId) -> String {
    format!("disconnect {server}")
}

/// Asks before a connection ends: it cannot be undone.
pub(crate) async fn ask(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    server: Result<Path<ServerId>>,
) -> Response {
    let shown = async {
        let Path(id) = server?;
        let (caller, all) = (&person.caller, PageRequest::new(Some(MAX_PAGE_SIZE), None)?);
        let in_force =
            GrantFilter { active: Some(true), server_id: Some(id.clone()), ..GrantFilter::default() };
        let (server, given) = try_join(
            servers::get(&core, &id),
            session_grants::list_of_user(&core, caller, caller.user.id, &in_force, &all),
        )
        .await?;
        let settings = &core.settings;
        let names = |shared: bool| -> Vec<String> {
            let given = given.items.iter().filter(|given| given.grant.shared == shared);
            given.map(|given| given.agent.name.clone()).collect()
        };
        let (own, shared) = (names(false), names(true));
        let main = html! {
            ul.points {
                @if !own.is_empty() { li { (joined(&own, MOST_NAMES)) " can no longer use it for you." } }
                @if !shared.is_empty() {
                    li { (joined(&shared, MOST_NAMES)) " can no longer use it for you, nor for anybody else who relies on your sharing it." }
                }
                li { (server.name) "’s provider is told to revoke what it gave, if it can be told." }
                li { "It cannot be undone. You can connect again." }
            }
            div.row {
                (form(&person, &settings.address(path::DISCONNECT, &id), &disconnect_from(&id), &html! {
                    button.button.fill { "Disconnect" }
                }))
                a.button href=(at(settings, path::MY_CONNECTIONS)) { "Keep it" }
            }
        };
        let title = format!("Disconnect {}?", server.name);
        Ok(Page::below(Place::Connections, &title, main).show(&core, &person))
    };
    told(&core, "This page cannot be shown", shown.await)
}

pub(crate) async fn disconnect(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    server: Result<Path<ServerId>>,
    form: Result<Form>,
) -> Response {
    let ended = async {
        let (Path(server), form) = (server?, form?);
        require_form_token(&person, &disconnect_from(&server), &form)?;
        let ended = Box::pin(connections::disconnect(&core, &person.caller, &request, &server)).await;
        gone(ended)?;
        let query = [("disconnected", Some(server.as_str()))];
        Ok(see_other(&core, &with_query(path::MY_CONNECTIONS, &query)))
    };
    told(&core, "You may still be connected", ended.await)
}
