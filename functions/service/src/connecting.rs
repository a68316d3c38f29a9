//! The cookie of the browser in which a connection to a server began. It proves on the way back that it is the same
//! browser. Each connection has its own, so that two can be under way.

use cookie::{Cookie, SameSite};
use deputize_api::path;
use deputize_core::{
    Settings,
    connections::{BegunConnection, begin::BEGUN_FOR},
    secret::shown_once,
};

pub fn cookie_name(connection: &str) -> String {
    format!("deputize_connect_{connection}")
}

/// The value of `Set-Cookie`.
pub fn cookie(settings: &Settings, begun: &BegunConnection) -> String {
    Cookie::build((cookie_name(&begun.id), shown_once(&begun.binding)))
        .path(format!("{}{}", settings.path(), path::CALLBACK))
        .http_only(true)
        .secure(settings.is_https())
        // The browser must send it on the way back, which is a link from another site.
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::try_from(BEGUN_FOR).unwrap_or_default())
        .to_string()
}
