//! What is stored of those who call and of what is called, without what may be done to it. Callers are made of these
//! ([`crate::caller`]), and everything that manages them asks who the caller is.

pub(crate) mod agent_account;
pub(crate) mod app;
pub(crate) mod browser_session;
pub(crate) mod oauth_client;
pub(crate) mod owners;
pub(crate) mod server;
pub(crate) mod stopped;
pub(crate) mod user;
