//! What the SDK's errors mean to us: the store is unavailable, somebody else was faster, or a defect.

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
};

use super::coalesce::Failure;

/// By the SDK's time the request has been tried as often as [`super::retries`] allows.
pub(super) fn failure<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::fmt::Debug,
    R: std::fmt::Debug,
{
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("unknown");
            let message = service.err().message().unwrap_or_default();
            let text = format!("{code}: {message}");
            match code {
                "InternalServerError"
                | "InternalFailure"
                | "ServiceUnavailable"
                | "ServiceUnavailableException"
                | "TransactionInProgressException" => Failure::Lost(text),
                code if is_throttle(code) => Failure::Refused(text),
                _ => Failure::Internal(text),
            }
        }
        SdkError::ConstructionFailure(_) => Failure::Internal("a request could not be built".to_owned()),
        SdkError::TimeoutError(_) => Failure::Lost("the store timed out".to_owned()),
        SdkError::DispatchFailure(why) => Failure::Lost(format!("the store cannot be reached: {why:?}")),
        SdkError::ResponseError(_) => Failure::Lost("the store's answer broke off".to_owned()),
        _ => Failure::Lost("the store failed in an unknown way".to_owned()),
    }
}

/// Codes of requests that were turned away for now (Amazon DynamoDB Developer Guide, "Error handling").
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

/// Why a transaction was cancelled.
pub(super) enum Cancelled {
    /// A condition did not hold, or another transaction had the item.
    Raced,
    Failed(Failure),
}

pub(super) fn cancelled<R: std::fmt::Debug>(error: &SdkError<TransactWriteItemsError, R>) -> Cancelled {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
        let codes: Vec<&str> = cancelled.cancellation_reasons().iter().filter_map(|r| r.code()).collect();
        let passing = |code: &&str| matches!(*code, "ThrottlingError" | "ProvisionedThroughputExceeded");
        let lost = |code: &&str| matches!(*code, "ConditionalCheckFailed" | "TransactionConflict");
        return if codes.iter().any(lost) {
            Cancelled::Raced
        } else if codes.iter().any(passing) {
            Cancelled::Failed(Failure::Refused(format!("transaction cancelled: {codes:?}")))
        } else {
            Cancelled::Failed(Failure::Internal(format!("transaction cancelled: {codes:?}")))
        };
    }
    Cancelled::Failed(failure(error))
}
