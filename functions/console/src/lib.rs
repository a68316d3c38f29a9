//! Everything that a browser shows a person, but for the end of a connection, which is the grants function's.
//!
//! | file | holds |
//! | --- | --- |
//! | `alias` | `GET /authorize` |

mod alias;

use std::sync::Arc;

use deputize_core::Core;
use deputize_service::routes::Routes;

/// The function's routes. Put the edge around them: [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new().merge(alias::routes()).with_state(core)
}
