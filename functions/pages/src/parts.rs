//! What pages are made of. Each part is in the stylesheet, and on the tests' page of components.

use deputize_core::{Settings, browser_sessions::SignedIn};
use maud::{Markup, html};

use crate::browser::FORM_TOKEN;

/// The address of a path of ours, for links and forms.
pub fn at(settings: &Settings, path: &str) -> String {
    format!("{}{path}", settings.path())
}

/// An address with a query. What has no value is left out.
pub fn with_query(address: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query.iter().filter_map(|(name, value)| Some((name, (*value)?))));
    match text.finish() {
        query if query.is_empty() => address.to_owned(),
        query => format!("{address}?{query}"),
    }
}

/// A form of this session's, which sends `fields` to an address of ours. It is good for this purpose only.
pub fn form(person: &SignedIn, action: &str, purpose: &str, fields: &Markup) -> Markup {
    html! {
        form method="post" action=(action) {
            input type="hidden" name=(FORM_TOKEN) value=(person.form_token(purpose));
            (fields)
        }
    }
}

/// A square: a server. Dashed, if calls there fail.
pub fn server(is_broken: bool) -> Markup {
    html! {
        svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" {
            rect x="2.5" y="2.5" width="11" height="11" stroke-dasharray=[is_broken.then_some("2.75 2")] {}
        }
    }
}

/// A diamond: an agent or an app.
pub fn agent() -> Markup {
    html! {
        svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" {
            path d="M8 1.8 14.2 8 8 14.2 1.8 8z" {}
        }
    }
}

/// A person, and an agent who acts for them. Dashed, if its calls fail.
pub fn acting(is_broken: bool) -> Markup {
    html! {
        svg.broken[is_broken] width="30" height="16" viewBox="0 0 30 16" aria-hidden="true" {
            circle cx="6" cy="8" r="4.2" {}
            path d="M10.5 8h6" stroke-dasharray=[is_broken.then_some("2 2")] {}
            path d="M22.5 2.2 28.3 8l-5.8 5.8L16.7 8z" {}
        }
    }
}

/// What a note is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something needs the person.
    Warn,
    /// What they asked for was done.
    Done,
    /// It was not done.
    Stop,
}

/// A note, with what can be pressed about it.
pub fn note(tone: Tone, text: &Markup, action: &Markup) -> Markup {
    let (class, role) = match tone {
        Tone::Warn => ("note", None),
        Tone::Done => ("note done", Some("status")),
        Tone::Stop => ("note stop", Some("alert")),
    };
    html! {
        div class=(class) role=[role] {
            svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" {
                @match tone {
                    Tone::Warn => { path d="M10 2.6 18.4 17H1.6z" {} path d="M10 7.8v4.2M10 13.6v1.4" {} }
                    Tone::Done => { circle cx="10" cy="10" r="7.6" {} path d="m6.4 10.3 2.4 2.4 4.8-5.2" {} }
                    Tone::Stop => { circle cx="10" cy="10" r="7.6" {} path d="m7.2 7.2 5.6 5.6M12.8 7.2l-5.6 5.6" {} }
                }
            }
            p { (text) }
            (action)
        }
    }
}

/// The state of a list without anything: what to do.
pub fn empty(text: &Markup) -> Markup {
    html! { p.empty { (text) } }
}

/// The way to the next page of a list.
pub fn next_page(address: Option<&str>) -> Markup {
    html! {
        @if let Some(address) = address {
            nav.pager aria-label="Pages" { a.button href=(address) { "Next page" } }
        }
    }
}

/// A fact of a list of facts.
pub fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// "1 agent", "3 agents".
pub fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with its thousands apart.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With its first letter as at the beginning of a sentence.
pub fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Names in a sentence: "a", "a and b", "a, b and c", and how many more.
pub fn joined(names: &[String], most: usize) -> String {
    let mut shown: Vec<String> = names.iter().take(most).cloned().collect();
    if names.len() > most {
        shown.push(format!("{} more", grouped(names.len() - most)));
    }
    match shown.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_said_as_people_say_them() {
        assert_eq!(counted(1, "agent"), "1 agent");
        assert_eq!(counted(1_234_567, "call"), "1,234,567 calls");
        assert_eq!(grouped(100), "100");
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(joined(&names[..0], 3), "");
        assert_eq!(joined(&names[..1], 3), "a");
        assert_eq!(joined(&names, 3), "a, b and c");
        assert_eq!(joined(&names, 1), "a and 2 more");
    }

    #[test]
    fn a_query_has_what_has_a_value_and_escapes_it() {
        assert_eq!(with_query("/a", &[("b", None)]), "/a");
        assert_eq!(with_query("/a", &[("b", None), ("c", Some("d&e=f"))]), "/a?c=d%26e%3Df");
    }
}
