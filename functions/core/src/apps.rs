//! Apps: OAuth clients that act as their user, such as MCP clients and web pages; and what users allowed them.

pub use crate::entities::app::{
    App, AppKind, Authorization, BlockedHost, IDLE_FOR, LASTS, MadeByApp, app_id,
};
