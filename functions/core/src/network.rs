//! The network, as an OAuth client needs it.

use std::{fmt, future::Future, pin::Pin};

use http::{
    Method, Request, Response, StatusCode,
    header::{ACCEPT, LOCATION},
};
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

/// In a request's extensions: the longest answer that is wanted, in bytes, where that is less than the implementation's
/// own limit.
#[derive(Clone, Copy, Debug)]
pub struct MaxBytes(pub usize);

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
    #[error("it redirects elsewhere, which is not followed")]
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

impl NoDocument {
    /// Whether the server did not answer at all, so that its other addresses will not either.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Http(HttpError::Unreachable(_) | HttpError::TimedOut | HttpError::Refused(_)))
    }
}

/// How often one document's address may redirect within its origin.
const MAX_REDIRECTS: usize = 3;

/// A JSON document (RFC 9728, RFC 8414). Redirects within its origin are followed: some servers add a slash, or move
/// their metadata.
pub(crate) async fn document<T: DeserializeOwned>(http: &dyn Http, url: &Url) -> Result<T, NoDocument> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        http.check(&url).map_err(NoDocument::Http)?;
        let request = Request::builder().method(Method::GET).uri(url.as_str());
        let request = request.header(ACCEPT, "application/json").body(Vec::new());
        let request = request.map_err(|_| NoDocument::Malformed("its address".into()))?;
        let response = http.send(request).await.map_err(NoDocument::Http)?;
        match response.status() {
            StatusCode::OK => return parsed(response.body()),
            status if status.is_client_error() => return Err(NoDocument::Absent),
            status if status.is_redirection() => match within_origin(&url, &response) {
                Some(next) => url = next,
                None => break,
            },
            status => return Err(NoDocument::Http(HttpError::Status(status))),
        }
    }
    Err(NoDocument::Http(HttpError::Redirects))
}

/// Where a response redirects, if that is within the origin.
fn within_origin<T>(url: &Url, response: &Response<T>) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    url.join(location).ok().filter(|next| next.origin() == url.origin())
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, NoDocument> {
    // The position only: the parser's text quotes what it read.
    serde_json::from_slice(without_byte_order_mark(body)).map_err(|error| {
        NoDocument::Malformed(format!("it is no such document (line {})", error.line()).into())
    })
}

/// A text without the mark that some servers begin theirs with (RFC 8259 section 8.1).
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each path: a document, or a redirect to an address.
    #[derive(Debug)]
    struct Pages(&'static [(&'static str, &'static str)]);

    impl Http for Pages {
        fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_> {
            let url = request.uri().to_string();
            let page = self.0.iter().find(|(at, _)| *at == url).map_or("", |(_, page)| *page);
            let response = match page {
                "" => Response::builder().status(404),
                page if page.starts_with(['{', '\u{feff}']) => Response::builder().status(200),
                page => Response::builder().status(307).header(LOCATION, page),
            };
            let response = response.body(page.as_bytes().to_vec()).unwrap();
            Box::pin(async move { Ok(response) })
        }

        fn check(&self, url: &Url) -> Result<(), HttpError> {
            let refused = url.path() == "/refused";
            if refused { Err(HttpError::Refused("it is refused".into())) } else { Ok(()) }
        }
    }

    async fn read(pages: &'static [(&'static str, &'static str)]) -> String {
        let url = "https://as.example/one".parse().unwrap();
        match document::<serde_json::Value>(&Pages(pages), &url).await {
            Ok(value) => value.to_string(),
            Err(NoDocument::Absent) => "absent".to_owned(),
            Err(NoDocument::Http(error)) => error.to_string(),
            Err(NoDocument::Malformed(why)) => why.to_string(),
        }
    }

    #[tokio::test]
    async fn a_document_is_found_behind_redirects_of_its_origin_and_of_no_other() {
        const ONE: &str = "https://as.example/one";
        const TWO: &str = "https://as.example/two";
        assert_eq!(read(&[(ONE, "/two"), (TWO, "{}")]).await, "{}");
        assert_eq!(read(&[(ONE, "https://as.example:443/two"), (TWO, "\u{feff}{}")]).await, "{}");
        assert_eq!(read(&[(ONE, "/two"), (TWO, "three"), ("https://as.example/three", "{}")]).await, "{}");
        assert_eq!(read(&[(ONE, "/two")]).await, "absent");
        let elsewhere = "it redirects elsewhere, which is not followed";
        for other in
            ["https://other.example/", "http://as.example/two", "https://as.example:8443/two", "//x/two"]
        {
            let pages: &'static [_] = Box::leak(Box::new([(ONE, other), ("https://other.example/", "{}")]));
            assert_eq!(read(pages).await, elsewhere, "{other}");
        }
        assert_eq!(read(&[(ONE, "/one")]).await, elsewhere);
        assert_eq!(read(&[(ONE, "/refused")]).await, "its address is refused: it is refused");
    }
}
