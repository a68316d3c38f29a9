//! The JSON API of apps.
//!
//! | file | holds |
//! | --- | --- |
//! | `apps` | apps that admins register, and those that they block |
//! | `authorizations` | what users allowed apps |

mod apps;
mod authorizations;

use std::sync::Arc;

use deputize_core::Core;
use deputize_service::routes::Routes;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().merge(apps::routes()).merge(authorizations::routes())
}
