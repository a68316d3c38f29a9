//! Everything that a browser shows a person, but for the end of a connection, which is the grants function's.
//!
//! | file | holds |
//! | --- | --- |

use std::sync::Arc;

use deputize_core::Core;
use deputize_service::routes::Routes;

/// The function's routes. Put the edge around them: [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new().with_state(core)
}
