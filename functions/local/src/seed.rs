//! Filling a table for the benchmark: many delegations and grants of the demo's own agent account and
//! others, as the service itself would have written them.

use crate::{StartError, server::Options};

pub async fn fill(_options: &Options, _count: u32) -> Result<(), StartError> {
    Err(StartError("not yet".to_owned()))
}
