//! What forms ask: at which servers, and until when.

use std::{collections::BTreeSet, time::Duration};

use deputize_api::path;
use deputize_core::{
    clock::Timestamp,
    ids::ServerId,
    paging::Listing,
    servers::{MAX_NAMED, Server},
};
use deputize_service::extract::Form;
use maud::{Markup, html};

use deputize_pages::when::{DAY, day};

/// Of how many servers one can choose.
pub(super) const SERVERS: usize = 200;

/// At which servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Where {
    is_everywhere: bool,
    servers: BTreeSet<ServerId>,
}

impl Where {
    /// `None` are all servers.
    pub(super) fn of(servers: Option<&Vec<ServerId>>) -> Self {
        Self { is_everywhere: servers.is_none(), servers: servers.into_iter().flatten().cloned().collect() }
    }

    pub(super) fn sent(form: &Form) -> Self {
        Self {
            is_everywhere: form.get("where") == Some("everywhere"),
            servers: form.named("server:").iter().filter_map(|id| id.parse().ok()).collect(),
        }
    }

    /// The servers that are chosen, `None` for all; or what is to be chosen first.
    pub(super) fn server_ids(&self) -> Result<Option<Vec<ServerId>>, String> {
        match (self.is_everywhere, self.servers.len()) {
            (true, _) => Ok(None),
            (false, 0) => Err("Choose at least one server, or every server.".to_owned()),
            (false, number) if number > MAX_NAMED => {
                Err(format!("Choose at most {MAX_NAMED} servers, or every server."))
            }
            (false, _) => Ok(Some(self.servers.iter().cloned().collect())),
        }
    }

    pub(super) fn fields(&self, servers: &Listing<Server>) -> Markup {
        html! {
            fieldset {
                legend { "Where" }
                label.option {
                    input type="radio" name="where" value="these" checked[!self.is_everywhere];
                    span { "At these servers" }
                }
                div.options {
                    @for server in &servers.items {
                        label.option {
                            input type="checkbox" name={ "server:" (server.id) } value="yes"
                                checked[self.servers.contains(&server.id)];
                            span { (server.name) }
                        }
                    }
                    @if servers.items.is_empty() { p.muted { "There is no server yet." } }
                    @if servers.next.is_some() {
                        p.small.muted { "There are more. The API can name them: " code { "POST " (path::AGENT_DELEGATIONS) } "." }
                    }
                }
                label.option {
                    input type="radio" name="where" value="everywhere" checked[self.is_everywhere];
                    span { "At every server, also new ones" }
                }
            }
        }
    }
}

/// The value of "as it is now", and of no end.
const AS_NOW: &str = "as_now";
const NO_END: &str = "no_end";
/// The days after which something can end, and what that is called.
const ENDS: [(&str, u32, &str); 4] =
    [("7", 7, "In 7 days"), ("30", 30, "In 30 days"), ("90", 90, "In 90 days"), ("365", 365, "In a year")];

/// Until when.
#[derive(Clone, Debug)]
pub(super) struct Until(String);

impl Until {
    /// What is offered for something new.
    pub(super) fn new() -> Self {
        Self("90".to_owned())
    }

    /// As it is now.
    pub(super) fn of(ends: Option<Timestamp>) -> Self {
        Self(if ends.is_some() { AS_NOW } else { NO_END }.to_owned())
    }

    pub(super) fn sent(form: &Form) -> Self {
        Self(form.get("until").unwrap_or_default().to_owned())
    }

    /// What is chosen, as it is sent.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The time that is chosen. `ends` is when it ends as it is now.
    pub(super) fn expires_at(
        &self,
        ends: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, String> {
        match (&*self.0, ENDS.iter().find(|(value, ..)| *value == self.0)) {
            (_, Some((_, days, _))) => Ok(Some(now.plus(DAY * *days))),
            (NO_END, None) => Ok(None),
            (AS_NOW, None) if ends.is_some() => Ok(ends),
            _ => Err("Choose until when.".to_owned()),
        }
    }

    /// `longest`: how long it may last at most.
    pub(super) fn field(&self, ends: Option<Timestamp>, longest: Option<Duration>) -> Markup {
        let chosen = |value: &str| self.0 == value;
        html! {
            label.field {
                span { "Until" }
                select name="until" {
                    @if let Some(ends) = ends {
                        option value=(AS_NOW) selected[chosen(AS_NOW)] { "As now: " (day(ends)) }
                    }
                    @for (value, days, name) in ENDS {
                        @if longest.is_none_or(|longest| DAY * days <= longest) {
                            option value=(value) selected[chosen(value)] { (name) }
                        }
                    }
                    @if longest.is_none() { option value=(NO_END) selected[chosen(NO_END)] { "No end date" } }
                }
            }
        }
    }
}
