//! The network, as an OAuth client needs it.

use std::{fmt, future::Future, pin::Pin};

use http::{Method, Request, Response, StatusCode, header::ACCEPT};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Cause, Error, UpstreamFailure};

/// A request under way.
pub type ResponseFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send + 'a>>;

/// Sends one request to an address that another party has chosen.
///
/// The implementation decides which addresses may be reached, follows no redirects, and bounds time and size.
pub trait Http: Send + Sync + fmt::Debug {
    fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_>;

    /// Whether a URL may be requested at all, without resolving its name.
    fn check(&self, url: &Url) -> Result<(), HttpError>;
}

/// Why there is no answer. The texts name no URL and quote nobody, nor do the causes.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("its address is refused: {0}")]
    Refused(#[source] Cause),
    #[error("it cannot be reached")]
    Unreachable(#[source] Cause),
    #[error("the connection to it broke")]
    Interrupted(#[source] Cause),
    #[error("it took too long")]
    TimedOut,
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A status for which the answer was not read.
    #[error("it answered HTTP {0}")]
    Status(StatusCode),
    #[error("it redirects, which is not followed")]
    Redirects,
}

impl HttpError {
    /// The error of a request of ours to `whom`, such as "the authorization server".
    pub(crate) fn from(self, whom: &str) -> Error {
        let kind = match self {
            Self::TimedOut => UpstreamFailure::TimedOut,
            _ => UpstreamFailure::Bad,
        };
        let mut detail = format!("{whom} cannot be asked: {self}");
        if let Some(first) = detail.get(..1).map(str::to_uppercase) {
            detail.replace_range(..1, &first);
        }
        Error::Upstream { kind, detail, may_have_run: false, cause: Some(self.into()) }
    }
}

/// Why a document could not be read.
#[derive(Debug)]
pub(crate) enum NoDocument {
    /// The server says that there is none: the next address may have one.
    Absent,
    Http(HttpError),
    /// It is no JSON, or not of its kind.
    Malformed(Cause),
}

/// A JSON document (RFC 9728, RFC 8414).
pub(crate) async fn document<T: DeserializeOwned>(http: &dyn Http, url: &Url) -> Result<T, NoDocument> {
    http.check(url).map_err(NoDocument::Http)?;
    let request = Request::builder().method(Method::GET).uri(url.as_str());
    let request = request.header(ACCEPT, "application/json").body(Vec::new());
    let request = request.map_err(|_| NoDocument::Malformed("its address".into()))?;
    let response = http.send(request).await.map_err(NoDocument::Http)?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_client_error() => return Err(NoDocument::Absent),
        status if status.is_redirection() => return Err(NoDocument::Http(HttpError::Redirects)),
        status => return Err(NoDocument::Http(HttpError::Status(status))),
    }
    // The position only: the parser's text quotes what it read.
    serde_json::from_slice(response.body()).map_err(|error| {
        NoDocument::Malformed(format!("it is no such document (line {})", error.line()).into())
    })
}
