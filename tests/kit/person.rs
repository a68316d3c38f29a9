//! A person at a browser, who looks at pages and presses their buttons.

use std::sync::LazyLock;

use regex::Regex;

use crate::{TestApp, TestRequest, TestResponse, User};

/// A person, or nobody yet, at a browser.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    pub app: &'a TestApp,
    cookie: Option<String>,
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static FORM: LazyLock<Regex> = LazyLock::new(|| regex(r#"<form[^>]* action="([^"]*)""#));
static HIDDEN: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"<input type="hidden" name="([^"]*)" value="([^"]*)">"#));
static TAG: LazyLock<Regex> = LazyLock::new(|| regex(r"<[^>]*>"));
static TITLE: LazyLock<Regex> = LazyLock::new(|| regex(r"<h1>(.*?)</h1>"));
static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r#"<a class="button" href="([^"]*)""#));

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

impl TestApp {
    /// A browser in which nobody is signed in.
    pub fn nobody(&self) -> Person<'_> {
        Person { app: self, cookie: None }
    }

    /// A browser in which a user has just signed in.
    pub async fn person(&self, user: &User) -> Person<'_> {
        Person { app: self, cookie: Some(self.signed_in(user).await) }
    }
}

impl Person<'_> {
    fn with_cookie(&self, request: TestRequest) -> TestRequest {
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    /// Opens an address of ours.
    pub fn open(&self, address: &str) -> TestRequest {
        let path = address.strip_prefix(&*self.app.core.settings.issuer).unwrap_or(address);
        self.with_cookie(self.app.get(path))
    }

    /// Asks for authorization.
    pub fn authorize(&self, parameters: &[(&str, &str)]) -> TestRequest {
        self.open(&authorize_path(parameters))
    }

    /// The request that pressing a page's button sends.
    pub fn press(&self, page: &TestResponse, answer: &str) -> TestRequest {
        self.post(page, answer)
            .header("sec-fetch-site", "same-origin")
            .header("origin", "https://deputize.test")
    }

    /// The request that a button sends which is one of several of a page, or of a form without an address of its own:
    /// that goes to the page's.
    #[track_caller]
    pub fn press_one(&self, address: &str, page: &TestResponse, button: (&str, &str)) -> TestRequest {
        let (name, value) = button;
        let wanted = format!(r#"name="{name}" value="{value}""#);
        let mut forms = page.text.split("<form").skip(1).filter_map(|form| form.split("</form>").next());
        let form = forms.find(|form| name.is_empty() || form.contains(&wanted));
        let form = form.unwrap_or_else(|| panic!("no form with {button:?} in {page}"));
        let action =
            FORM.captures(&format!("<form{form}")).map_or(address.to_owned(), |found| unescaped(&found[1]));
        let hidden = HIDDEN.captures_iter(form).map(|found| (unescaped(&found[1]), unescaped(&found[2])));
        let hidden: Vec<(String, String)> = hidden.collect();
        let mut fields: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
        fields.extend(Some(button).filter(|_| !name.is_empty()));
        self.send(action, &fields)
    }

    /// The request of a form of ours that goes to an address, filled in so.
    pub fn send(&self, address: impl Into<String>, fields: &[(&str, &str)]) -> TestRequest {
        let sent = self.with_cookie(self.app.post(address)).form(fields);
        sent.header("sec-fetch-site", "same-origin").header("origin", "https://deputize.test")
    }

    /// The request of the form of a page that goes to this address, filled in so.
    #[track_caller]
    pub fn fill(&self, page: &TestResponse, address: &str, fields: &[(&str, &str)]) -> TestRequest {
        let action = format!(r#"method="post" action="{address}""#);
        let mut forms = page.text.split("<form ").skip(1).filter_map(|form| form.split("</form>").next());
        let form = forms.find(|form| form.starts_with(&action));
        let form = form.unwrap_or_else(|| panic!("no form to {address} in {page}"));
        let hidden = HIDDEN.captures_iter(form).map(|found| (unescaped(&found[1]), unescaped(&found[2])));
        let hidden: Vec<(String, String)> = hidden.collect();
        let mut all: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
        all.extend(fields);
        self.send(address, &all)
    }

    /// The same without what a browser adds.
    pub fn post(&self, page: &TestResponse, answer: &str) -> TestRequest {
        let action = page.form_action();
        let hidden: Vec<(String, String)> = HIDDEN
            .captures_iter(&page.text)
            .map(|found| (unescaped(&found[1]), unescaped(&found[2])))
            .collect();
        let mut fields: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
        fields.push(("answer", answer));
        self.with_cookie(self.app.post(action)).form(&fields)
    }
}

/// The path and query of an authorization request.
pub fn authorize_path(parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/api/v1/oauth/authorize?{query}")
}

impl TestResponse {
    /// Where a page's form goes.
    #[track_caller]
    pub fn form_action(&self) -> String {
        unescaped(&FORM.captures(&self.text).unwrap_or_else(|| panic!("no form in {self}"))[1])
    }

    /// A page's heading.
    #[track_caller]
    pub fn title(&self) -> String {
        unescaped(&TITLE.captures(&self.text).unwrap_or_else(|| panic!("no heading in {self}"))[1])
    }

    /// What a page says, without its form: a line for each piece of text.
    pub fn words(&self) -> String {
        let body = self.text.split_once("<main").map_or(&*self.text, |(_, main)| main);
        let body = body.split_once('>').map_or(body, |(_, main)| main);
        let texts = TAG.split(body).map(str::trim).filter(|text| !text.is_empty());
        texts.map(unescaped).collect::<Vec<_>>().join("\n")
    }

    /// Where the button leads that is a link.
    pub fn way_back(&self) -> Option<String> {
        LINK.captures(&self.text).map(|found| unescaped(&found[1]))
    }

    /// Where the browser is sent.
    #[track_caller]
    pub fn sent_to(&self) -> url::Url {
        assert_eq!(self.status, 303, "{self}");
        self.header("location").unwrap().parse().unwrap()
    }

    /// The value of a parameter of the address that the browser is sent to.
    #[track_caller]
    pub fn sent_with(&self, name: &str) -> Option<String> {
        let url = self.sent_to();
        url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
    }
}
