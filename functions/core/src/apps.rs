//! Apps: OAuth clients that act as their user, such as MCP clients and web pages; and what users allowed them.

pub use crate::entities::app::{
    App, AppAuth, AppKey, AppKind, Authorization, BlockedHost, IDLE_FOR, LASTS, app_id,
};
