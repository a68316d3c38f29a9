//! The cookie of the browser in which a connection to an MCP server began. It proves on the way back that it is the same
//! browser. The API begins connections, and so does a page; the callback of both reads it.

use cookie::{Cookie, SameSite};
use deputize_api::path;
use deputize_core::{
    Core,
    connections::begin::{BEGUN_FOR, BegunConnection},
    secret::shown_once,
};

/// Each connection has its own, so that two can be under way.
pub fn cookie_name(connection: &str) -> String {
    format!("deputize_connect_{connection}")
}

/// The value of `Set-Cookie` for a connection that has begun.
pub fn cookie(core: &Core, begun: &BegunConnection) -> String {
    Cookie::build((cookie_name(&begun.id), shown_once(&begun.binding)))
        .path(format!("{}{}", core.settings.path(), path::CALLBACK))
        .http_only(true)
        .secure(core.settings.is_https())
        // The browser must send it on the way back, which is a link from another site.
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::try_from(BEGUN_FOR).unwrap_or_default())
        .to_string()
}
