//! Names that an endpoint does not know: a field of a body, or a parameter of a query. If they were dropped, the
//! endpoint would do something else than the caller asked for. A misspelt `server_ids` would delegate all servers. A
//! `user_id` that is not read would answer with the caller's own things. So each unknown name is a 400 that names it.
//!
//! Bodies are structs with `#[serde(deny_unknown_fields)]`. [`crate::extract::parse_json`] words their refusal. Queries
//! are judged before a handler is called, by what [`crate::handlers!`] says that it reads ([`KnownQuery`]): several
//! extractors share one query, and none of them knows the others' parameters.

use std::{borrow::Cow, future::ready, pin::Pin};

use axum::{
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use deputize_api::reason::Reason;
use deputize_core::{Error, error::Told};
use http::Uri;
use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _, Visitor, value::Error as Refused},
    forward_to_deserialize_any,
};

use crate::ApiError;

/// How many characters of a name an error repeats. The name is the caller's text, of any length.
const SHOWN: usize = 64;

/// A handler that is called only if it knows all parameters of the query.
#[derive(Clone, Copy, Debug)]
pub struct KnownQuery<H> {
    handler: H,
    known: fn() -> Vec<&'static str>,
}

impl<H> KnownQuery<H> {
    pub fn new(handler: H, known: fn() -> Vec<&'static str>) -> Self {
        Self { handler, known }
    }
}

impl<H: Handler<T, S>, T, S> Handler<T, S> for KnownQuery<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        match check_query(request.uri(), self.known) {
            Ok(()) => Box::pin(self.handler.call(request, state)),
            Err(error) => Box::pin(ready(ApiError::from(error).into_response())),
        }
    }
}

fn check_query(uri: &Uri, known: fn() -> Vec<&'static str>) -> Result<(), Error> {
    let query = uri.query().unwrap_or_default();
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    let known = known();
    match names.find(|name| !known.contains(&name.as_ref())) {
        Some(unknown) => Err(refusal("", &unknown, &known, "query parameter")),
        None => Ok(()),
    }
}

/// The names of a struct's fields as serde reads them. Empty for other types.
pub fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The struct asks for its fields and gets none.
    let _ = T::deserialize(Fields(&mut names));
    names
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refused> {
        *self.0 = fields;
        Err(Refused::custom("only its fields are wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The refusal of a body's unknown field. `None` if `why` is another error. Only serde's text
/// (`serde::de::Error::unknown_field`) shows this. `path` is the place of the error.
pub(crate) fn field(path: &str, why: &str) -> Option<Error> {
    let rest = why.strip_prefix("unknown field `")?;
    // The expected names are fixed and do not contain this text. The caller's name may.
    let (name, known) = match rest.rsplit_once("`, expected ") {
        Some((name, expected)) => (name, expected.split('`').skip(1).step_by(2).collect()),
        None => (rest.rsplit_once("`, there are no fields")?.0, Vec::new()),
    };
    let parent = path.strip_suffix(name).unwrap_or(path);
    let parent = parent.trim_end_matches('.');
    let at = if parent.is_empty() { String::new() } else { format!("{parent}.") };
    Some(refusal(&at, name, &known, "field"))
}

fn refusal(at: &str, name: &str, known: &[&str], kind: &str) -> Error {
    let shown: Cow<'_, str> = match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    };
    let shown = shown.escape_debug();
    let way_out = match (nearest(name, known), known) {
        (Some(nearest), _) => format!("did you mean {nearest}?"),
        (None, []) => format!("there is no {kind} here"),
        (None, [only]) => format!("the only {kind} here is {only}"),
        (None, _) => format!("the {kind}s here are {}", known.join(", ")),
    };
    Error::Invalid(Told::of(Reason::NameUnknown, format!("{at}{shown}: no such {kind}; {way_out}")))
}

/// The known name that was probably meant. At most a third of its characters may differ.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > SHOWN {
        return None;
    }
    let near = known.iter().map(|known| {
        let far = strsim::osa_distance(&name.to_lowercase(), known);
        (far, *known)
    });
    let near = near.filter(|(far, known)| *far <= name.len().max(known.len()) / 3);
    near.min_by_key(|(far, _)| *far).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::extract::{PagingParams, object, parse_json};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is refused is looked at")]
    struct Body {
        server_ids: Option<Vec<String>>,
        expires_at: Option<String>,
        #[serde(default, deserialize_with = "object")]
        client: Option<Client>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is refused is looked at")]
    struct Client {
        issuer: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    fn refused<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> String {
        parse_json::<T>(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_or_with_all_that_there_are() {
        for (body, says) in [
            (r#"{"server_id":["a"]}"#, "server_id: no such field; did you mean server_ids?"),
            (r#"{"expires":"x"}"#, "expires: no such field; did you mean expires_at?"),
            (r#"{"ServerIds":[]}"#, "ServerIds: no such field; did you mean server_ids?"),
            (
                r#"{"user_id":"x"}"#,
                "user_id: no such field; the fields here are server_ids, expires_at, client",
            ),
            (r#"{"client":{"isuer":"x"}}"#, "client.isuer: no such field; did you mean issuer?"),
            (r#"{"client":{"":1}}"#, "client.: no such field; the only field here is issuer"),
        ] {
            assert_eq!(refused::<Body>(body), says);
        }
        assert_eq!(refused::<Nothing>(r#"{"a":1}"#), "a: no such field; there is no field here");
    }

    #[test]
    fn a_name_is_repeated_within_bounds_and_cannot_break_a_line() {
        let long = "é".repeat(20_000);
        let says = refused::<Body>(&format!(r#"{{"{long}":1}}"#));
        assert_eq!(
            says,
            format!(
                "{}…: no such field; the fields here are server_ids, expires_at, client",
                "é".repeat(SHOWN)
            )
        );
        assert_eq!(
            refused::<Body>(r#"{"a\nb`, expected `c":1}"#),
            r"a\nb`, expected `c: no such field; the fields here are server_ids, expires_at, client"
        );
    }

    #[test]
    fn what_only_speaks_like_serde_is_no_unknown_field() {
        assert!(field(".", "invalid type: string \"unknown field `a`, expected `b`\"").is_none());
    }

    #[test]
    fn a_struct_tells_its_names_and_nothing_else_has_any() {
        assert_eq!(names::<PagingParams>(), ["limit", "cursor"]);
        assert!(names::<String>().is_empty());
    }

    #[test]
    fn a_query_is_held_against_what_is_read_of_it() {
        let check = |query: &str| {
            let uri = format!("/list?{query}").parse().unwrap();
            check_query(&uri, || names::<PagingParams>().to_vec()).map_err(|error| error.to_string())
        };
        for fits in ["", "limit=1", "limit=1&cursor=a", "&&", "%6Cimit=1"] {
            assert_eq!(check(fits), Ok(()), "{fits}");
        }
        for (query, says) in [
            ("limits=1", "limits: no such query parameter; did you mean limit?"),
            (
                "limit=1&user_id=2",
                "user_id: no such query parameter; the query parameters here are limit, cursor",
            ),
            ("=1", ": no such query parameter; the query parameters here are limit, cursor"),
            ("Limit=1", "Limit: no such query parameter; did you mean limit?"),
        ] {
            assert_eq!(check(query), Err(says.to_owned()), "{query}");
        }
        let none = "/me?verbose".parse().unwrap();
        let says = check_query(&none, Vec::new).unwrap_err().to_string();
        assert_eq!(says, "verbose: no such query parameter; there is no query parameter here");
    }
}
