//! Many requests in one. Each entry is carried out as if it had come alone, as a transaction with an event of its own, and
//! has an outcome of its own. The outcomes are in the order of the entries.
//!
//! A few are carried out at a time, and none is begun so late that it could not end in time: those say so, and can be sent
//! again. With an `Idempotency-Key`, the same batch may be sent again as a whole. Each entry has a key that follows from
//! the batch's and its place, so what was made is not made again.

use std::time::Duration;

use axum::{
    extract::{FromRequest, Request as HttpRequest},
    response::{IntoResponse, Response},
};
use deputize_core::{
    Error,
    audit::{self, Terms},
    secret::sha256_hex,
};
use http::StatusCode;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::{task::JoinSet, time::Instant};
use tracing::Instrument;
use utoipa::ToSchema;

use crate::{
    ApiError, ErrorBody,
    extract::{parse_json, read_body, require_type},
    response::{error_of, not_begun},
};

/// The most entries of a batch.
pub(crate) const MAX_ENTRIES: usize = 1_000;
/// The longest body of a batch, in bytes.
pub const MAX_BATCH_BODY: usize = 1024 * 1024;
/// How many entries are carried out at a time. Changes of one caller rest on the same items, so they are made one after
/// the other, and only what they read is read beside another's change.
const AT_ONCE: usize = 4;
/// How long entries are begun. One takes at most ten seconds (racing changes are given up then), and API Gateway waits 29
/// (API Gateway Developer Guide, "Quotas for configuring and running a REST API").
const BEGUN_WITHIN: Duration = Duration::from_secs(15);
/// How long an entry that was begun may take.
const ENDS_WITHIN: Duration = Duration::from_secs(11);

/// The entries of a batch, each still to be read.
#[derive(Debug)]
pub struct Batch(Vec<Box<RawValue>>);

impl<S: Sync> FromRequest<S> for Batch {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, _: &S) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[serde(deserialize_with = "bounded")]
            entries: Vec<Box<RawValue>>,
        }
        require_type(request.headers(), "application/json")?;
        let Body { entries } = parse_json(&read_body(request, MAX_BATCH_BODY).await?)?;
        Ok(Self(entries))
    }
}

/// 1 to [`MAX_ENTRIES`] values. More are not kept.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Box<RawValue>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "an array of 1 to {MAX_ENTRIES} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = seq.next_element()? {
                if entries.len() == MAX_ENTRIES {
                    return Err(de::Error::invalid_length(MAX_ENTRIES + 1, &self));
                }
                entries.push(entry);
            }
            if entries.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(entries) }
        }
    }

    deserializer.deserialize_seq(Bounded)
}

/// What one entry came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchOutcome {
    /// The status that a request of its own would have.
    status: u16,
    /// The body that it would have, if it succeeded and has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

/// The outcomes of a batch, in the order of its entries.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchOutcomes {
    outcomes: Vec<BatchOutcome>,
}

impl IntoResponse for BatchOutcomes {
    fn into_response(self) -> Response {
        axum::Json(self).into_response()
    }
}

/// What an entry has done: a status, and a body.
#[derive(Debug)]
pub struct Done(StatusCode, Option<Box<RawValue>>);

impl Done {
    pub fn showing(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        Ok(Self(status, Some(serde_json::value::to_raw_value(body).map_err(Error::internal)?)))
    }

    pub fn without_body() -> Self {
        Self(StatusCode::NO_CONTENT, None)
    }
}

impl From<Result<Done, ApiError>> for BatchOutcome {
    fn from(ended: Result<Done, ApiError>) -> Self {
        match ended {
            Ok(Done(status, body)) => Self { status: status.as_u16(), body, error: None },
            Err(error) => {
                error.log();
                let (status, body) = error_of(&error);
                Self { status: status.as_u16(), body: None, error: Some(body) }
            }
        }
    }
}

impl Batch {
    /// Carries out each entry.
    pub async fn each<E, F>(
        self,
        request: &audit::RequestContext,
        carry_out: impl Fn(audit::RequestContext, E) -> F + Clone + Send + 'static,
    ) -> BatchOutcomes
    where
        E: DeserializeOwned + Send + 'static,
        F: Future<Output = Result<Done, ApiError>> + Send + 'static,
    {
        let platforms = request.work_until.and_then(|until| until.checked_sub(ENDS_WITHIN));
        let ours = Instant::now() + BEGUN_WITHIN;
        let until = platforms.map_or(ours, |until| ours.min(until.into()));
        let mut outcomes: Vec<Option<BatchOutcome>> = self.0.iter().map(|_| None).collect();
        let (mut left, mut running) = (self.0.into_iter().enumerate(), JoinSet::new());
        loop {
            while running.len() < AT_ONCE
                && Instant::now() < until
                && let Some((place, entry)) = left.next()
            {
                let (request, carry_out) = (of_entry(request, place, &entry), carry_out.clone());
                let work = async move {
                    let ended = match parse_json(entry.get().as_bytes()) {
                        Ok(entry) => carry_out(request, entry).await,
                        Err(error) => Err(error),
                    };
                    (place, BatchOutcome::from(ended))
                };
                running.spawn(work.in_current_span());
            }
            match running.join_next().await {
                Some(Ok((place, outcome))) => {
                    if let Some(kept) = outcomes.get_mut(place) {
                        *kept = Some(outcome);
                    }
                }
                Some(Err(panicked)) => tracing::error!(%panicked, "an entry of a batch"),
                None => break,
            }
        }
        for (place, _) in left {
            if let Some(kept) = outcomes.get_mut(place) {
                *kept = Some(late());
            }
        }
        let broken = || BatchOutcome::from(Err(Error::internal("an entry of a batch broke off").into()));
        BatchOutcomes { outcomes: outcomes.into_iter().map(|one| one.unwrap_or_else(broken)).collect() }
    }
}

fn late() -> BatchOutcome {
    let (status, body) = not_begun();
    BatchOutcome { status: status.as_u16(), body: None, error: Some(body) }
}

/// The entry as a request of its own, with the key that follows from the batch's.
fn of_entry(request: &audit::RequestContext, place: usize, entry: &RawValue) -> audit::RequestContext {
    let key = request.idempotency_key();
    let key = key.map(|key| key.of_entry(place, sha256_hex(entry.get().as_bytes())));
    request.clone().under(key.map(Terms::Once))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> Batch {
        Batch((0..count).map(|n| RawValue::from_string(n.to_string()).unwrap()).collect())
    }

    fn statuses(BatchOutcomes { outcomes }: &BatchOutcomes) -> Vec<u16> {
        outcomes.iter().map(|outcome| outcome.status).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_are_in_the_order_of_the_entries_and_what_is_not_begun_in_time_says_so() {
        let begun = Instant::now();
        let request = audit::RequestContext::default();
        let ended = batch(100).each(&request, async |_, n: u16| {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(Done(StatusCode::from_u16(200 + n).unwrap(), None))
        });
        let ended = ended.await;
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(16),
            "four at a time, the last begun after 14 seconds"
        );
        let expected: Vec<u16> = (0..100).map(|n| if n < 32 { 200 + n } else { 503 }).collect();
        assert_eq!(statuses(&ended), expected);
        let error = ended.outcomes[99].error.as_ref().unwrap();
        assert_eq!((error.reason.as_deref(), error.safe_to_retry), (Some("service_busy"), Some(true)));
    }

    #[tokio::test]
    async fn an_entry_that_breaks_off_is_its_own_fault() {
        let request = audit::RequestContext::default();
        let ended = batch(3).each(&request, async |_, n: u16| {
            assert_ne!(n, 1, "as a defect would");
            Ok(Done::without_body())
        });
        assert_eq!(statuses(&ended.await), [204, 500, 204]);
    }

    #[test]
    fn a_batch_has_a_bounded_number_of_entries() {
        #[derive(Debug, Deserialize)]
        struct Body {
            #[serde(deserialize_with = "bounded")]
            entries: Vec<Box<RawValue>>,
        }
        let read = |count: usize| {
            let body = format!("{{\"entries\":[{}]}}", vec!["{}"; count].join(","));
            parse_json::<Body>(body.as_bytes())
                .map(|body| body.entries.len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(MAX_ENTRIES), Ok(MAX_ENTRIES));
        let refused = Err("entries: must be an array of 1 to 1000 entries".to_owned());
        assert_eq!(read(0), refused);
        assert_eq!(read(MAX_ENTRIES + 1), refused);
    }
}
