//! The web as a metadata document is fetched from it: what is at which address, what was asked, and what goes wrong.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use deputize_core::network::{Http, HttpError, ResponseFuture};
use http::{Request, Response};
use serde_json::{Value, json};
use url::Url;

use crate::TestApp;

/// The address of an app's document.
pub const DOCUMENT: &str = "https://app.example.com/oauth/client.json";

type Answer = Arc<dyn Fn() -> Result<Response<Vec<u8>>, HttpError> + Send + Sync>;

/// What is at which address. Anything else cannot be reached.
#[derive(Clone, Default)]
pub struct Documents(Arc<Mutex<Web>>);

#[derive(Default)]
struct Web {
    answers: HashMap<String, Answer>,
    asked: Vec<String>,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Documents")
    }
}

/// The metadata of the app at [`DOCUMENT`].
pub fn metadata() -> Value {
    json!({
        "client_id": DOCUMENT,
        "client_name": "Example App",
        "redirect_uris": ["https://app.example.com/callback", "http://localhost/callback"],
        "token_endpoint_auth_method": "none",
    })
}

impl Documents {
    /// What an address answers from now on.
    pub fn at(
        &self,
        url: &str,
        answer: impl Fn() -> Result<Response<Vec<u8>>, HttpError> + Send + Sync + 'static,
    ) {
        self.0.lock().unwrap().answers.insert(url.to_owned(), Arc::new(answer));
    }

    /// A document that may be kept for ten minutes.
    pub fn say(&self, url: &str, document: &Value) {
        self.say_for(url, document, "max-age=600");
    }

    pub fn say_for(&self, url: &str, document: &Value, cache_control: &'static str) {
        let body = document.to_string().into_bytes();
        self.at(url, move || {
            let response = Response::builder().header("content-type", "application/json");
            Ok(response.header("cache-control", cache_control).body(body.clone()).unwrap())
        });
    }

    /// How often something was asked for.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

impl Http for Documents {
    fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_> {
        let url = request.uri().to_string();
        let mut web = self.0.lock().unwrap();
        let answer = web.answers.get(&url).cloned();
        web.asked.push(url);
        Box::pin(async move {
            match answer {
                Some(answer) => answer(),
                None => Err(HttpError::Unreachable("there is nothing".into())),
            }
        })
    }

    fn check(&self, _: &Url) -> Result<(), HttpError> {
        Ok(())
    }
}

impl TestApp {
    /// Another process of the same deployment, which finds these documents on the web.
    #[must_use]
    pub fn on_web(&self, documents: &Documents) -> Self {
        let time = (self.core.clock.clone(), deputize_core::clock::Random::System);
        self.process(self.faults.client(), time, Arc::new(documents.clone()))
    }
}
