//! What comes in, within bounds. The types refuse while a body is read, so that the error names the field
//! (`groups[3]: …`), and they describe themselves in the API description.

use std::borrow::Cow;

use deputize_core::{origins::Origin, users::MAX_GROUPS};
use serde::Deserialize;
use url::Url;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type, schema::AnyOfBuilder},
};

/// No control characters, so that a name cannot break a line of a log or control a terminal.
const PRINTABLE: &str = r"^[^\u0000-\u001F\u007F-\u009F]+$";

macro_rules! texts {
    ($($name:ident = $max:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let fits = !text.is_empty() && text.chars().count() <= $max;
                if fits && !text.contains(char::is_control) {
                    Ok(Self(text))
                } else {
                    Err(format!("must have 1 to {} characters and no control characters", $max))
                }
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($doc))
                    .min_length(Some(1))
                    .max_length(Some($max))
                    .pattern(Some(PRINTABLE));
                text.build().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

texts! {
    Name = 200, "A name for people to read.";
    EmailPrefix = 254, "The beginning of an email address.";
    Group = 128, "A group that policies can name.";
    Subject = 255, "An issuer's name for a user (the `sub` of their JWTs).";
    Description = 1000, "What something is, for people to read: one paragraph.";
    ToolName = 256, "A tool's name at its MCP server.";
    ResourceUri = 2_048, "A resource's URI at its MCP server.";
    PromptName = 256, "A prompt's name at its MCP server.";
}

/// The groups that a user or an agent account is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "Vec<Group>")]
#[schema(value_type = Vec<Group>, max_items = 50)]
pub struct Groups(Vec<Group>);

impl TryFrom<Vec<Group>> for Groups {
    type Error = String;

    fn try_from(groups: Vec<Group>) -> Result<Self, String> {
        if groups.len() <= MAX_GROUPS {
            Ok(Self(groups))
        } else {
            Err(format!("must be at most {MAX_GROUPS} groups"))
        }
    }
}

impl From<Groups> for Vec<String> {
    fn from(groups: Groups) -> Self {
        groups.0.into_iter().map(String::from).collect()
    }
}

/// A web origin, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "origin", max_length = 267, example = "https://app.example.com")]
pub struct WebOrigin(Origin);

/// The most origins that an agent account can name. Each request from a page is compared with all of them.
const MAX_ORIGINS: usize = 20;

/// The origins whose pages may use an agent account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "Vec<WebOrigin>")]
#[schema(value_type = Vec<WebOrigin>, max_items = 20)]
pub struct Origins(Vec<WebOrigin>);

impl TryFrom<Vec<WebOrigin>> for Origins {
    type Error = String;

    fn try_from(origins: Vec<WebOrigin>) -> Result<Self, String> {
        if origins.len() <= MAX_ORIGINS {
            Ok(Self(origins))
        } else {
            Err(format!("must be at most {MAX_ORIGINS} origins"))
        }
    }
}

impl From<Origins> for Vec<Origin> {
    fn from(origins: Origins) -> Self {
        origins.0.into_iter().map(|WebOrigin(origin)| origin).collect()
    }
}

/// An address on the web, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = "uri", max_length = 2048, pattern = "^https?://[^/?#@]+([/?][^#]*)?$")]
pub struct HttpUrl(String);

impl HttpUrl {
    /// In characters.
    const MAX_LENGTH: usize = 2048;

    pub fn url(&self) -> Result<Url, String> {
        Url::parse(&self.0).map_err(|_| NO_URL.to_owned())
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = String;

    /// Stricter than the URL parser of browsers. That one ignores white space, accepts backslashes and
    /// missing or surplus slashes, and maps letters of all scripts. Here, the URL that is called must be
    /// exactly the text.
    fn try_from(text: String) -> Result<Self, String> {
        if text.chars().count() > Self::MAX_LENGTH {
            return Err(format!("must have at most {} characters", Self::MAX_LENGTH));
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some(rest) = rest else { return Err("must begin with https:// or http://".to_owned()) };
        if rest.contains('#') {
            return Err("must not have a fragment".to_owned());
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if rest.contains(|c: char| !is_uri_character(c)) || path.contains(['[', ']']) {
            return Err("holds characters that a URL cannot; percent-encode them".to_owned());
        }
        if authority.contains('@') {
            return Err("must not contain a user name or password".to_owned());
        }
        if authority.is_empty() {
            return Err("must name a host".to_owned());
        }
        match Url::parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(NO_URL.to_owned()),
        }
    }
}

/// An address of a page for people, over https.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "HttpUrl")]
#[schema(value_type = String, format = "uri", max_length = 2048, pattern = "^https://[^/?#@]+([/?][^#]*)?$")]
pub struct HttpsUrl(HttpUrl);

impl TryFrom<HttpUrl> for HttpsUrl {
    type Error = &'static str;

    fn try_from(url: HttpUrl) -> Result<Self, Self::Error> {
        if url.0.starts_with("https://") { Ok(Self(url)) } else { Err("must begin with https://") }
    }
}

impl From<HttpsUrl> for String {
    fn from(HttpsUrl(url): HttpsUrl) -> Self {
        url.into()
    }
}
const NO_URL: &str = "must be a URL, such as https://mcp.example.com/mcp: its host or its port is none";

/// RFC 3986 section 2, without `#`.
fn is_uri_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,;=%".contains(c)
}

/// An IP address of either version, or `null`, for the API description.
pub fn ip_address() -> Schema {
    let format = |format| ObjectBuilder::new().schema_type(Type::String).format(Some(format));
    let either = AnyOfBuilder::new()
        .item(format(SchemaFormat::KnownFormat(KnownFormat::Ipv4)))
        .item(format(SchemaFormat::KnownFormat(KnownFormat::Ipv6)))
        .item(ObjectBuilder::new().schema_type(Type::Null));
    Schema::AnyOf(either.build())
}

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use crate::extract::parse_json;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[serde(rename = "name")]
        name: Option<Name>,
        #[serde(rename = "groups")]
        groups: Option<Groups>,
        #[serde(rename = "url")]
        url: Option<HttpUrl>,
        #[serde(rename = "origins")]
        origins: Option<Origins>,
    }

    fn refusal(body: &serde_json::Value) -> String {
        parse_json::<Body>(body.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_name_has_1_to_200_characters_whatever_their_bytes() {
        for fits in ["a".to_owned(), "ä".repeat(200), " 名前 ".to_owned()] {
            assert!(Name::try_from(fits.clone()).is_ok(), "{fits}");
        }
        for wrong in [String::new(), "a".repeat(201)] {
            assert!(Name::try_from(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_cannot_break_a_line_or_a_terminal() {
        for wrong in ["a\nb", "\0", "\u{1b}[2J", "\u{7f}", "\u{9b}2J"] {
            assert!(Name::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn there_are_at_most_50_groups() {
        let groups = |count| Groups::try_from(vec![Group("g".to_owned()); count]);
        assert!(groups(50).is_ok());
        assert!(groups(51).is_err());
        assert!(refusal(&json!({ "groups": vec!["g"; 51] })).starts_with("groups: must be at most 50"));
    }

    #[test]
    fn a_refusal_names_the_field_and_the_place_in_it() {
        assert!(refusal(&json!({ "name": "" })).starts_with("name: must have 1 to 200 characters"));
        assert!(refusal(&json!({ "name": 1 })).starts_with("name: must be a string, not a number"));
        let group = refusal(&json!({ "groups": ["ok", "g".repeat(129)] }));
        assert!(group.starts_with("groups[1]: must have 1 to 128 characters"), "{group}");
        assert!(refusal(&json!({ "url": "ftp://a" })).starts_with("url: must begin with https://"));
    }

    #[test]
    fn there_are_at_most_20_origins_and_a_wrong_one_is_named_by_its_place() {
        let origins = |count: usize| vec!["https://app.example.com"; count];
        assert!(parse_json::<Body>(json!({ "origins": origins(20) }).to_string().as_bytes()).is_ok());
        assert!(
            refusal(&json!({ "origins": origins(21) })).starts_with("origins: must be at most 20 origins")
        );
        let wrong = refusal(&json!({ "origins": ["https://a.example", "https://b.example/"] }));
        assert!(wrong.starts_with("origins[1]: https://b.example/ is no origin"), "{wrong}");
    }

    #[test]
    fn an_absent_or_null_field_is_left_alone() {
        for body in [json!({}), json!({ "name": null, "groups": null, "url": null, "unknown": 1 })] {
            let Body { name, groups, url, origins } = parse_json(body.to_string().as_bytes()).unwrap();
            assert!(name.is_none() && groups.is_none() && url.is_none() && origins.is_none());
        }
    }

    #[test]
    fn a_web_address_is_kept_as_it_came() {
        for fits in [
            "https://mcp.example.com",
            "http://127.0.0.1:8787/mcp?tenant=a@b",
            "https://[2001:db8::1]:8443/",
            "https://xn--bcher-kva.example/mcp?a%5B%5D=1",
        ] {
            assert_eq!(String::from(HttpUrl::try_from(fits.to_owned()).unwrap()), fits);
        }
    }

    #[test]
    fn what_is_no_plain_web_address_is_refused() {
        for wrong in [
            "",
            "mcp.example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "HTTPS:example.com",
            "https:example.com",
            "https://",
            "https:///example.com",
            "https://?q",
            "https://user@example.com",
            "https://user:password@example.com",
            "https://@example.com",
            "https://example.com/#fragment",
            "https://example.com/#",
            "https://example.com\\@evil.example",
            "https:\\\\example.com",
            " https://example.com",
            "https://example.com/a b",
            "https://exa\tmple.com",
            "https://example.com:99999",
            "https://exa%00mple.com",
            "https://bücher.example",
            "https://example.com/?a[]=1",
            "https://1.2.3.4.5",
            "https://[::1",
        ] {
            assert!(HttpUrl::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        let long = |length: usize| format!("https://a.example/{}", "a".repeat(length - 18));
        assert!(HttpUrl::try_from(long(2048)).is_ok());
        assert!(HttpUrl::try_from(long(2049)).is_err());
    }
}
