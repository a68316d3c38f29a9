//! A browser: it keeps cookies, and says from where a request comes.

use std::collections::BTreeMap;

use http::{Method, StatusCode};

use crate::{TestApp, TestRequest, TestResponse, identity_provider::IdentityProvider};

/// A browser at the service.
#[derive(Clone, Debug)]
pub struct Browser {
    app: TestApp,
    /// By name: the value and the path.
    pub cookies: BTreeMap<String, (String, String)>,
}

impl TestApp {
    /// A browser that was never here.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser { app: self.clone(), cookies: BTreeMap::new() }
    }
}

impl Browser {
    fn asked(&self, method: Method, path: &str) -> TestRequest {
        let plain = path.split('?').next().unwrap();
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|(_, (_, at))| plain.starts_with(at.as_str()))
            .map(|(name, (value, _))| format!("{name}={value}"))
            .collect();
        let request = self.app.ask(method, path);
        if cookies.is_empty() { request } else { request.header("cookie", &cookies.join("; ")) }
    }

    fn keep(&mut self, response: &TestResponse) {
        for set in response.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let mut parts = set.split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let path = parts.clone().find_map(|part| part.strip_prefix("Path=")).unwrap_or("/");
            if parts.any(|part| part == "Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), (value.to_owned(), path.to_owned()));
            }
        }
    }

    /// Opens an address.
    pub async fn open(&mut self, path: &str) -> TestResponse {
        let response = self.asked(Method::GET, path).await;
        self.keep(&response);
        response
    }

    /// Sends a form of a page of ours.
    pub async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResponse {
        let request = self.asked(Method::POST, path).header("sec-fetch-site", "same-origin").form(fields);
        let response = request.await;
        self.keep(&response);
        response
    }

    /// A form with these headers in place of what a browser says of our own pages.
    pub fn forged(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> TestRequest {
        let request = self.asked(Method::POST, path);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).form(fields)
    }

    /// Begins to sign in, and returns where the browser is sent.
    #[track_caller]
    pub fn location(response: &TestResponse) -> String {
        assert_eq!(response.status, StatusCode::SEE_OTHER, "{response}");
        response.header("location").unwrap().to_owned()
    }

    /// Signs in as `name`, and answers what came of it.
    pub async fn sign_in(&mut self, provider: &IdentityProvider, name: &str) -> TestResponse {
        let id = provider.url().split_once("://").unwrap().1.replace('.', "-");
        let begun = self.open(&format!("/sign-in?provider={id}")).await;
        let back = provider.sign_in(&Self::location(&begun), name);
        self.open(&back).await
    }

    /// The value of a hidden field of a page.
    #[track_caller]
    pub fn field(page: &TestResponse, name: &str) -> String {
        let begin = format!("name=\"{name}\" value=\"");
        let rest = page.text.split_once(&begin).unwrap_or_else(|| panic!("no {name} in {}", page.text)).1;
        rest.split('"').next().unwrap().to_owned()
    }

    /// Whether the browser is signed in.
    pub async fn is_signed_in(&mut self) -> bool {
        self.open("/").await.status == StatusCode::OK
    }

    /// Takes a cookie by the beginning of its name, without `__Host-`.
    #[track_caller]
    pub fn cookie(&self, begins: &str) -> (String, String) {
        let is_it = |name: &&String| name.trim_start_matches("__Host-").starts_with(begins);
        let name = self.cookies.keys().find(is_it).unwrap_or_else(|| panic!("no {begins}: {self:?}"));
        (name.clone(), self.cookies[name].0.clone())
    }
}
