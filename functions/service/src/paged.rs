//! A page of a list as an answer: a JSON array, and the next page's address in `Link` (RFC 8288).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use deputize_core::paging::Listing;
use http::{HeaderValue, Uri, header::LINK};
use serde::Serialize;

/// A page that knows the request's URI.
#[derive(Debug)]
pub struct Paged<T> {
    items: Vec<T>,
    link: Option<HeaderValue>,
}

impl<T> Paged<T> {
    /// `uri` is the request's own, so that the next page has the same filters.
    pub fn new<U>(uri: &Uri, listing: Listing<U>, show: impl FnMut(U) -> T) -> Self {
        let link = listing.next.and_then(|cursor| next_link(uri, "cursor", &cursor));
        Self { items: listing.items.into_iter().map(show).collect(), link }
    }
}

/// The `Link` to what follows a request's answer: the same request with this parameter (RFC 8288).
pub fn next_link(uri: &Uri, parameter: &str, value: &str) -> Option<HeaderValue> {
    let query = uri.query().unwrap_or_default();
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != parameter);
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair(parameter, value)
        .finish();
    HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
}

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        if let Some(link) = self.link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_the_filters_and_replaces_the_cursor() {
        let uri = Uri::from_static("/api/v1/audit-events?limit=2&cursor=old&user_id=a%26b");
        let page = Paged::new(&uri, Listing { items: vec![1], next: Some("new".to_owned()) }, |n| n);
        assert_eq!(
            page.link.unwrap(),
            "</api/v1/audit-events?limit=2&user_id=a%26b&cursor=new>; rel=\"next\""
        );
    }
}
