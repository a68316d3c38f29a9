//! Web pages of other origins (CORS; the Fetch standard, section 3.3): which may call, and what each is told.

mod accounts;
mod preflights;
mod requests;

use deputize_tests::{TestRequest, TestResponse, app::PAGES};

/// The origin whose pages may call.
const PAGE: &str = PAGES[0];

/// Origins that look like it. None of them is allowed.
const TRICKS: [&str; 11] = [
    "https://evil.example.com",
    "null",
    "",
    "*",
    "http://app.example.com",
    "https://app.example.com:443",
    "https://app.example.com:8443",
    "https://app.example.com/",
    "https://app.example.com.evil.example",
    "https://app.example.com, https://app.example.com",
    "http://deputize.test",
];

/// The request as a page of that origin sends it.
fn from(origin: &str, ask: TestRequest) -> TestRequest {
    ask.header("origin", origin)
}

/// The names of an answer's CORS headers.
fn cors_headers(answer: &TestResponse) -> Vec<&str> {
    answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}
