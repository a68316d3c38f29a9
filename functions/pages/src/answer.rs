//! How the handler of a page answers.

use axum::response::{IntoResponse, Redirect, Response};
use deputize_core::{Core, Error};
use deputize_service::{ApiError, Result, extract::Form};

use crate::page;

/// The page that is shown after something was done. So loading that page again does nothing again.
pub fn see_other(core: &Core, address: &str) -> Response {
    // 303 (RFC 9110 section 15.4.4).
    Redirect::to(&format!("{}{address}", core.settings.issuer)).into_response()
}

/// What could not be shown or done, as a page.
pub fn told(core: &Core, title: &str, outcome: Result<Response>) -> Response {
    outcome.unwrap_or_else(|error| page::failed(&core.settings, title, &error))
}

/// An id in a form.
pub fn id<T: std::str::FromStr>(form: &Form, name: &str) -> Result<T, ApiError> {
    let id = form.get(name).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::invalid(format!("The form does not say which ({name})")).into())
}

/// Whether something was done that the person wanted: that it had been done before is no failure.
pub fn gone(ended: deputize_core::Result<()>) -> Result<()> {
    match ended {
        Ok(()) | Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
