//! Web pages of other origins (CORS; the Fetch standard, section 3.3): which may call, and what each is told.

mod accounts;
mod preflights;
mod requests;

use deputize_tests::{Answer, Ask, app::PAGES};

/// The origin whose pages may call.
const PAGE: &str = PAGES[0];

/// What else could be taken for it: none of these is allowed.
const TRICKS: [&str; 13] = [
    "https://evil.example.com",
    "null",
    "",
    "*",
    "http://app.example.com",
    "https://app.example.com:443",
    "https://app.example.com:8443",
    "https://APP.example.com",
    "HTTPS://app.example.com",
    "https://app.example.com/",
    "https://app.example.com.evil.example",
    "https://app.example.com, https://app.example.com",
    "http://deputize.test",
];

/// From a page of that origin.
fn from(origin: &str, ask: Ask) -> Ask {
    ask.header("origin", origin)
}

/// The names of the CORS headers that an answer has.
fn cors_headers(answer: &Answer) -> Vec<&str> {
    answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}
