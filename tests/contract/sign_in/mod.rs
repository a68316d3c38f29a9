//! People sign in by OpenID providers, with a browser.

mod answers;
mod attacks;
mod claims;
mod logout;
mod pages;
mod providers;
mod sessions;
mod tokens;

use deputize_tests::{IdentityProvider, Providers, TestApp};
use serde_json::{Value, json};

/// The provider `https://id.example.com`, by whose addresses users are found and who makes new ones.
pub(crate) async fn one_provider(more: &Value) -> (TestApp, IdentityProvider) {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let app = base.signing_in_by(&json!([acme.trusted(more)]), &Providers::of(&[&acme])).await;
    (app, acme)
}

/// That, and `https://other.example.com`, with their settings.
async fn two_providers(more: [&Value; 2]) -> (TestApp, IdentityProvider, IdentityProvider) {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let other = IdentityProvider::new("https://other.example.com", &base.core.clock);
    let trusted = json!([acme.trusted(more[0]), other.trusted(more[1])]);
    let app = base.signing_in_by(&trusted, &Providers::of(&[&acme, &other])).await;
    (app, acme, other)
}
