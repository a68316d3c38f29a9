//! What the SDK's errors mean to us: the store is unavailable, somebody else was faster, or a defect.

use std::error::Error as StdError;

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
};

use super::coalesce::{Failure, SharedCause};
use crate::error::because;

/// What the last attempt came to. Of a read or an audit event nothing depends on how those before it ended.
pub(super) fn failure<E, R>(error: SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let text = match error {
        SdkError::ServiceError(service) => {
            let refused = service.into_err();
            let code = refused.code().unwrap_or("unknown");
            let kind = match code {
                "InternalServerError"
                | "InternalFailure"
                | "ServiceUnavailable"
                | "ServiceUnavailableException"
                | "TransactionInProgressException" => Failure::lost,
                code if is_throttle(code) => Failure::refused,
                _ => Failure::internal,
            };
            let text = format!("{code}: {}", refused.message().unwrap_or_default());
            return kind(because(text, refused));
        }
        SdkError::ConstructionFailure(_) => {
            return Failure::internal(because("a request could not be built", error));
        }
        SdkError::TimeoutError(_) => "the store timed out",
        SdkError::DispatchFailure(_) => "the store cannot be reached",
        SdkError::ResponseError(_) => "the store's answer broke off",
        _ => "the store failed in an unknown way",
    };
    Failure::lost(because(text, error))
}

/// Error codes for requests that may be repeated later (Amazon DynamoDB Developer Guide, "Error handling").
fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "ItemCollectionSizeLimitExceededException"
    )
}

/// Why an attempt at a transaction did not succeed.
pub(super) enum Cancelled {
    /// A condition did not hold.
    ConditionFailed,
    /// What the caller rests on has changed.
    CallerChanged,
    /// Another transaction had one of the items. That says nothing of the conditions.
    TransactionConflict(SharedCause),
    Failed(Failure),
}

/// `of_caller`: how many of the transaction's first items say who its caller is.
pub(super) fn cancelled<R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<TransactWriteItemsError, R>,
    of_caller: usize,
) -> Cancelled {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return Cancelled::Failed(failure(error));
    };
    // One reason for each item, in order. "None" for items without a problem.
    let codes: Vec<&str> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(code));
    let text = format!("transaction cancelled: {codes:?}");
    if codes.iter().take(of_caller).any(|code| *code == "ConditionalCheckFailed") {
        Cancelled::CallerChanged
    } else if any(&["ConditionalCheckFailed"]) {
        // Also beside a conflict over another item: this item was checked and is not as it was read.
        Cancelled::ConditionFailed
    } else if any(&["TransactionConflict"]) {
        Cancelled::TransactionConflict(SharedCause::from(because(text, error)))
    } else if any(&["ThrottlingError", "ProvisionedThroughputExceeded"]) {
        Cancelled::Failed(Failure::refused(because(text, error)))
    } else {
        Cancelled::Failed(Failure::internal(because(text, error)))
    }
}
