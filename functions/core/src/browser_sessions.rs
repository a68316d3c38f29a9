//! People's sessions in browsers, from signing in to signing out.

pub use crate::entities::browser_session::BrowserSession;
