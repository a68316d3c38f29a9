//! `POST /api/v1/oauth/token` and its neighbours.

mod apps_as_actors;
mod attacks;
mod client;
mod documents;
mod exchange;
mod form;
mod introspect;
mod issuers_keys;
mod keys;
mod on_behalf_of;
mod private_key_jwt;
mod providers;
mod replay;
mod resource;
mod revoke;
mod targets;
mod telling_times;
mod user_tokens;
