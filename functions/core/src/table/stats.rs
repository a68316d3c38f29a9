//! Requests and capacity units, counted: the figures in the benchmark come from here.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_dynamodb::types::ConsumedCapacity;
use serde::Serialize;

#[derive(Debug, Default)]
pub struct Stats(Mutex<StatsSnapshot>);

#[derive(Clone, Debug, Default, Serialize)]
pub struct StatsSnapshot {
    /// By operation. A request that the SDK repeats counts once.
    pub requests: BTreeMap<&'static str, u64>,
    /// Capacity units consumed by reads, where [`super::TableOptions::measure`] is set.
    pub read_units: f64,
    /// Capacity units consumed by writes, secondary indexes included.
    pub write_units: f64,
}

impl Stats {
    pub(super) fn count<'a>(
        &self,
        operation: &'static str,
        consumed: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) {
        let mut stats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *stats.requests.entry(operation).or_default() += 1;
        let writes = matches!(operation, "BatchWriteItem" | "TransactWriteItems");
        for capacity in consumed {
            let units = capacity.capacity_units().unwrap_or_default();
            if writes {
                stats.write_units += units;
            } else {
                stats.read_units += units;
            }
        }
    }

    pub fn snapshot(&self) -> StatsSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
