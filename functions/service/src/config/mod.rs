//! What the environment tells a function.
//!
//! | file | holds |
//! | --- | --- |
//! | `variables` | every variable, and which functions read it |
//! | `function` | the functions, and what each needs |
//! | `vault` | the vault's root keys |
//!
//! If a variable is missing or wrong, the function stops at its start, with one message that names all these variables
//! and repeats no value. A variable that is empty counts as left out, since templates set variables without a value to
//! an empty text.

mod function;
pub mod variables;
mod vault;

use std::{cell::RefCell, env, fmt, time::Duration};

use deputize_core::{
    CLAIMS_MAX_AGE as CLAIMS_LAST, Settings,
    agents::{OwnerlessAgents, SharedGrants},
    apps::AppSettings,
    browser_sessions::BrowserSessionTimes,
    error::chain,
    issuers::{self, TrustedIssuer},
    origins::Origin,
    retention::Retention,
    tokens,
};

use self::variables::{
    ALLOW_PRIVATE_UPSTREAMS, ALLOWED_ORIGINS, APP_HOSTS, APP_SCHEMES, APPS, AUDIT_LOG, BROWSER_SESSIONS,
    CA_BUNDLE, CALLER_ADDRESS, CLAIMS_MAX_AGE, LONGEST_API_KEY, OWNERLESS_AGENTS, PRIVATE_UPSTREAMS,
    REFRESH_GRACE, RETENTION, SESSION_STREAMS, SHARED_GRANTS, STREAM_RESPONSES, TABLE, TRUSTED_ISSUERS, URL,
    Variable,
};
pub use self::{
    function::{Function, Needs},
    vault::{KmsKey, Root, VaultConfig},
};
use crate::{address::AddressPolicy, authorities::Authorities, private_upstreams::PrivateUpstreams};

/// A function's configuration.
#[derive(Debug)]
pub struct Config {
    pub function: Function,
    /// The DynamoDB table's name.
    pub table: String,
    /// How long the table keeps ended items.
    pub retention: Retention,
    /// The service's address, and the origins that may call it from web pages.
    pub settings: Settings,
    /// The issuers whose JWTs prove users.
    pub issuers: IssuersFrom,
    /// The source of the callers' addresses.
    pub caller_address: CallerAddress,
    /// The root keys for stored secrets, if the function uses secrets.
    pub vault: Option<VaultConfig>,
    /// Where MCP servers and their authorization servers may be.
    pub upstreams: AddressPolicy,
    /// Who vouches for servers, in addition to the authorities that the machine trusts.
    pub authorities: Authorities,
    /// Whether answers are streamed.
    pub streams: bool,
    /// How long a stream of messages that MCP servers send on their own may last. `None`: there are no such
    /// streams.
    pub session_streams: Option<Duration>,
    /// Whether a line for each audit event is logged once it is stored.
    pub audit_log: bool,
    /// What is logged, as `tracing_subscriber::filter::Targets` reads it.
    pub log: String,
}

/// Where the list of trusted issuers is.
#[derive(Debug)]
pub enum IssuersFrom {
    /// In the variable.
    Here(Vec<TrustedIssuer>),
    /// In the table, under the hash of the list.
    Table(String),
}

/// The source of a caller's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerAddress {
    /// The gateway: the address that connected to it.
    #[default]
    Gateway,
    /// CloudFront: the address that connected to it, from the header `CloudFront-Viewer-Address`. The header
    /// is trusted, so only CloudFront may be able to reach the gateway.
    CloudFront,
}

/// The default duration of streams of messages that MCP servers send on their own. Lambda does not notice
/// that a client has disconnected, and counts and bills an abandoned stream to its end.
pub const SESSION_STREAMS_LAST: Duration = Duration::from_mins(2);

/// The source of the variables' values.
pub type EnvLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything that is wrong with an environment.
#[derive(Debug, PartialEq, Eq)]
pub struct Misconfigured(Vec<String>);

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is wrong: {}", self.0.join("; "))
    }
}

impl std::error::Error for Misconfigured {}

impl Config {
    pub fn from_env(function: Function) -> Result<Self, Misconfigured> {
        Self::from_lookup(function, &|name| env::var(name).ok())
    }

    /// The same, with the values that `lookup` finds.
    pub fn from_lookup(function: Function, lookup: EnvLookup<'_>) -> Result<Self, Misconfigured> {
        let reader = Reader::new(lookup);
        let Needs { vault, upstreams, streams, accounts, apps, browser_sessions: sessions } =
            function.needs();
        let table = reader.required(&TABLE);
        let url = reader.required(&URL).and_then(|url| reader.keep(public_url(&url)));
        let issuers = reader.keep(issuers_from(reader.optional(&TRUSTED_ISSUERS).as_deref()));
        let caller_address = reader.keep(caller_address(reader.optional(&CALLER_ADDRESS).as_deref()));
        let allowed_origins = reader.keep(origins(&reader.optional(&ALLOWED_ORIGINS).unwrap_or_default()));
        let retention = reader.keep(retention(reader.optional(&RETENTION).as_deref()));
        let audit_log = reader.keep(audit_log(reader.optional(&AUDIT_LOG).as_deref()));
        let log = reader.keep(log(reader.optional(&variables::LOG)));
        let vault = if vault { reader.keep(VaultConfig::read(&reader).map(Some)) } else { Some(None) };
        let authorities = reader.keep(authorities(reader.optional(&CA_BUNDLE).as_deref()));
        let upstreams = if upstreams {
            let list = reader.keep(private_upstreams(&|variable| reader.optional(variable)));
            list.map(|list| AddressPolicy::listed(list.unwrap_or_default()))
        } else {
            Some(AddressPolicy::PUBLIC)
        };
        let lasting = streams.then(|| reader.optional(&SESSION_STREAMS)).flatten();
        let session_streams = reader.keep(session_streams(lasting.as_deref()));
        let streams = if streams { reader.flag(&STREAM_RESPONSES, true) } else { Some(false) };
        let sharing = accounts.then(|| reader.optional(&SHARED_GRANTS)).flatten();
        let sharing = reader.keep(shared_grants(sharing.as_deref()));
        let runs_agents = matches!(function, Function::Token | Function::Proxy);
        let ownerless = runs_agents.then(|| reader.optional(&OWNERLESS_AGENTS)).flatten();
        let ownerless = reader.keep(ownerless_agents(ownerless.as_deref()));
        let apps = if apps {
            reader.keep(app_settings(&|variable| reader.optional(variable)))
        } else {
            Some(AppSettings::default())
        };
        let grace = (function == Function::Token).then(|| reader.optional(&REFRESH_GRACE)).flatten();
        let grace = reader.keep(refresh_grace(grace.as_deref()));
        let claims_max_age = reader.keep(claims_max_age(reader.optional(&CLAIMS_MAX_AGE).as_deref()));
        let longest = (function == Function::Admin).then(|| reader.optional(&LONGEST_API_KEY)).flatten();
        let longest = reader.keep(longest_api_key(longest.as_deref()));
        let sessions = sessions.then(|| reader.optional(&BROWSER_SESSIONS)).flatten();
        let sessions = reader.keep(browser_sessions(sessions.as_deref()));
        let config = (|| {
            let mut settings = Settings::at(&url?)
                .allowing(allowed_origins?)
                .sharing_by(sharing?)
                .with_refresh_grace(grace?)
                .taking_apps(apps?);
            settings.claims_max_age = claims_max_age?;
            settings.ownerless_agents = ownerless?;
            settings.browser_sessions = sessions?;
            settings.longest_api_key = longest?;
            Some(Self {
                function,
                table: table?,
                retention: retention?,
                settings,
                issuers: issuers?,
                caller_address: caller_address?,
                vault: vault?,
                upstreams: upstreams?,
                authorities: authorities?,
                streams: streams?,
                session_streams: session_streams?,
                audit_log: audit_log?,
                log: log?,
            })
        })();
        config.ok_or(Misconfigured(reader.wrong.into_inner()))
    }
}

/// Reads variables and collects their errors.
pub(crate) struct Reader<'a> {
    lookup: EnvLookup<'a>,
    wrong: RefCell<Vec<String>>,
}

impl<'a> Reader<'a> {
    fn new(lookup: EnvLookup<'a>) -> Self {
        Self { lookup, wrong: RefCell::default() }
    }

    fn keep<T>(&self, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.wrong.borrow_mut().push(why)).ok()
    }

    fn optional(&self, variable: &Variable) -> Option<String> {
        (self.lookup)(variable.name).filter(|text| !text.trim().is_empty())
    }

    fn required(&self, variable: &Variable) -> Option<String> {
        self.keep(self.optional(variable).ok_or_else(|| format!("{variable} is missing")))
    }

    fn flag(&self, variable: &Variable, default: bool) -> Option<bool> {
        let text = self.optional(variable);
        self.keep(match text.as_deref().map(str::trim) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(format!("{variable} must be true or false")),
        })
    }
}

/// `ocsf` is the one form that there is.
fn audit_log(text: Option<&str>) -> Result<bool, String> {
    match text.map(str::trim) {
        None => Ok(false),
        Some("ocsf") => Ok(true),
        Some(_) => Err(format!("{AUDIT_LOG} must be ocsf, or left out")),
    }
}

/// A URL that can be given to clients. It has no query, no fragment and no slash at the end, and is https unless it is
/// this machine's own.
fn public_url(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let wrong = || {
        format!(
            "{URL} must be an https address without query, such as https://deputize.example.com or https://abc123.execute-api.eu-central-1.amazonaws.com/v1"
        )
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    let plain = url.username().is_empty() && url.password().is_none();
    let fits = url.scheme() == "https" || (url.scheme() == "http" && here);
    // Other programs compare it as text, so it must be written exactly like this.
    let same = url.as_str().trim_end_matches('/') == text;
    if fits && plain && same && url.query().is_none() && url.fragment().is_none() {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

/// Reads [`TRUSTED_ISSUERS`]: a JSON array, or `table:` and the hash of an array in the table.
fn issuers_from(text: Option<&str>) -> Result<IssuersFrom, String> {
    match text.and_then(|text| text.trim().strip_prefix("table:")) {
        Some(hash) if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(IssuersFrom::Table(hash.to_ascii_lowercase()))
        }
        Some(_) => Err(format!(
            "{TRUSTED_ISSUERS}: after table: comes what `deputize trusted-issuers` has printed, 64 hexadecimal digits"
        )),
        None => trusted_issuers(text).map(IssuersFrom::Here),
    }
}

/// Reads [`CALLER_ADDRESS`].
fn caller_address(text: Option<&str>) -> Result<CallerAddress, String> {
    match text.map(str::trim) {
        None | Some("gateway") => Ok(CallerAddress::Gateway),
        Some("cloudfront") => Ok(CallerAddress::CloudFront),
        Some(_) => Err(format!("{CALLER_ADDRESS} must be gateway or cloudfront")),
    }
}

/// Reads [`SESSION_STREAMS`]: seconds, or `off`. Lambda gives an invocation 15 minutes.
fn session_streams(text: Option<&str>) -> Result<Option<Duration>, String> {
    match text.map(str::trim) {
        None => Ok(Some(SESSION_STREAMS_LAST)),
        Some("off") => Ok(None),
        Some(text) => match text.parse() {
            Ok(seconds @ 1..=840) => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(format!("{SESSION_STREAMS} must be a number of seconds from 1 to 840, or off")),
        },
    }
}

/// Reads [`TRUSTED_ISSUERS`]: a JSON array.
pub fn trusted_issuers(json: Option<&str>) -> Result<Vec<TrustedIssuer>, String> {
    let Some(json) = json else { return Ok(Vec::new()) };
    issuers::listed(json).map_err(|why| format!("{TRUSTED_ISSUERS}: {why}"))
}

/// Reads [`ALLOWED_ORIGINS`], separated by commas.
pub fn origins(text: &str) -> Result<Vec<Origin>, String> {
    let listed = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    listed.map(|text| text.parse().map_err(|why: String| format!("{ALLOWED_ORIGINS}: {why}"))).collect()
}

/// Reads [`PRIVATE_UPSTREAMS`], by what finds a variable that is set. `None` if it is not set.
pub fn private_upstreams(
    set: &dyn Fn(&Variable) -> Option<String>,
) -> Result<Option<PrivateUpstreams>, String> {
    if set(&ALLOW_PRIVATE_UPSTREAMS).is_some() {
        return Err(format!(
            "{ALLOW_PRIVATE_UPSTREAMS} is not read any more: remove it, and if MCP servers are in private networks, list those networks and host names in {PRIVATE_UPSTREAMS}, such as 10.20.0.0/16,.corp.example"
        ));
    }
    let list = set(&PRIVATE_UPSTREAMS).map(|text| PrivateUpstreams::parse(&text)).transpose();
    list.map_err(|why| format!("{PRIVATE_UPSTREAMS}: {why}"))
}

/// Reads [`CA_BUNDLE`]: a file's path. The authorities that it holds; none if it is left out or empty.
pub fn authorities(path: Option<&str>) -> Result<Authorities, String> {
    let read = path.map(str::trim).filter(|path| !path.is_empty()).map(Authorities::read).transpose();
    Ok(read.map_err(|why| format!("{CA_BUNDLE}: {}", chain(&*why)))?.unwrap_or_default())
}

/// Reads [`SHARED_GRANTS`]. `anyone` if it is left out or empty.
pub fn shared_grants(text: Option<&str>) -> Result<SharedGrants, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(SharedGrants::default()),
        Some(text) => text.parse().map_err(|why| format!("{SHARED_GRANTS} {why}")),
    }
}

/// Reads [`OWNERLESS_AGENTS`]. They run if it is left out or empty.
pub fn ownerless_agents(text: Option<&str>) -> Result<OwnerlessAgents, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(OwnerlessAgents::default()),
        Some(text) => text.parse().map_err(|why| format!("{OWNERLESS_AGENTS} {why}")),
    }
}

/// Reads which apps may act as their users, by what finds a variable that is set.
pub fn app_settings(set: &dyn Fn(&Variable) -> Option<String>) -> Result<AppSettings, String> {
    let with = |settings: AppSettings,
                variable: &Variable,
                read: fn(AppSettings, &str) -> Result<AppSettings, String>| {
        match set(variable) {
            None => Ok(settings),
            Some(text) => read(settings, &text).map_err(|why| format!("{variable} {why}")),
        }
    };
    let settings = with(AppSettings::default(), &APPS, AppSettings::taking)?;
    let settings = with(settings, &APP_HOSTS, AppSettings::from_hosts)?;
    with(settings, &APP_SCHEMES, AppSettings::with_schemes)
}

/// Reads [`REFRESH_GRACE`]: seconds. The default if it is left out or empty.
pub fn refresh_grace(text: Option<&str>) -> Result<Duration, String> {
    let longest = tokens::MAX_REFRESH_GRACE.as_secs();
    match text.map(str::trim) {
        None | Some("") => Ok(tokens::REFRESH_GRACE),
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) if seconds <= longest => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("{REFRESH_GRACE} must be a number of seconds from 0 to {longest}")),
        },
    }
}

/// Reads [`CLAIMS_MAX_AGE`]: days.
pub fn claims_max_age(text: Option<&str>) -> Result<Duration, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(CLAIMS_LAST),
        Some(text) => match text.parse() {
            Ok(days @ 1..=3650) => Ok(Duration::from_hours(24 * days)),
            _ => Err(format!("{CLAIMS_MAX_AGE} must be a number of days from 1 to 3650")),
        },
    }
}

/// Reads [`LONGEST_API_KEY`]: days. Without it, an API key may have no end.
pub fn longest_api_key(text: Option<&str>) -> Result<Option<Duration>, String> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(days @ 1..=3650) => Ok(Some(Duration::from_hours(24 * days))),
            _ => Err(format!("{LONGEST_API_KEY} must be a number of days from 1 to 3650")),
        },
    }
}

/// Reads [`BROWSER_SESSIONS`]: names and minutes. What is left out keeps its default.
pub fn browser_sessions(text: Option<&str>) -> Result<BrowserSessionTimes, String> {
    const LONGEST: u64 = 30 * 24 * 60;
    let wrong = || {
        format!(
            "{BROWSER_SESSIONS} must be names and minutes, such as idle=30,total=720, from 1 to {LONGEST}, and idle no more than total"
        )
    };
    let mut times = BrowserSessionTimes::default();
    let parts = text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty());
    for part in parts {
        let (name, minutes) = part.split_once('=').ok_or_else(wrong)?;
        let minutes = minutes.trim().parse().ok().filter(|minutes| (1..=LONGEST).contains(minutes));
        let time = Duration::from_mins(minutes.ok_or_else(wrong)?);
        match name.trim() {
            "idle" => times.idle = time,
            "total" => times.total = time,
            _ => return Err(wrong()),
        }
    }
    if times.idle <= times.total { Ok(times) } else { Err(wrong()) }
}

/// Reads [`RETENTION`]. The defaults if it is left out or empty.
pub fn retention(text: Option<&str>) -> Result<Retention, String> {
    text.unwrap_or_default().parse().map_err(|why| format!("{RETENTION} {why}"))
}

/// Levels for everything, or for some targets. Setting up logging parses the text; this checks only that the
/// levels exist.
fn log(text: Option<String>) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let Some(text) = text else { return Ok("info".to_owned()) };
    let fits = |directive: &str| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))
    };
    if text.split(',').all(fits) {
        // Levels are read in any case, and targets without white space.
        Ok(text.split_whitespace().collect::<String>())
    } else {
        Err(format!(
            "{} must be a level ({}), or such as warn,deputize_core=debug",
            variables::LOG,
            LEVELS.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const REQUIRED: [(&str, &str); 3] = [
        ("DEPUTIZE_URL", "https://deputize.example.com"),
        ("DEPUTIZE_TABLE", "deputize"),
        ("DEPUTIZE_VAULT_KEY", KEY),
    ];

    fn read(function: Function, variables: &[(&str, &str)]) -> Result<Config, Misconfigured> {
        Config::from_lookup(function, &|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn with(variable: (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
        REQUIRED.into_iter().filter(|(name, _)| *name != variable.0).chain([variable]).collect()
    }

    #[test]
    fn an_origin_is_what_a_browser_sends_and_nothing_else() {
        assert_eq!(origins(" https://app.example.com ,http://localhost:5173,").unwrap().len(), 2);
        assert_eq!(origins("").unwrap(), []);
        for wrong in [
            "*",
            "null",
            "https://app.example.com/",
            "app.example.com",
            "HTTPS://a.example",
            "https://a.example:443",
        ] {
            assert!(origins(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_required_is_enough() {
        let config = read(Function::Proxy, &REQUIRED).unwrap();
        assert_eq!(config.table, "deputize");
        assert!(matches!(config.issuers, IssuersFrom::Here(listed) if listed.is_empty()));
        assert_eq!(config.caller_address, CallerAddress::Gateway);
        assert_eq!(config.session_streams, Some(Duration::from_mins(2)));
        assert_eq!(config.settings.issuer, "https://deputize.example.com");
        assert_eq!(config.upstreams, AddressPolicy::PUBLIC);
        assert_eq!((config.streams, config.log.as_str()), (true, "info"));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = read(
            Function::Proxy,
            &[
                ("DEPUTIZE_URL", "http://deputize.example.com"),
                ("DEPUTIZE_TRUSTED_ISSUERS", "{}"),
                ("DEPUTIZE_ALLOWED_ORIGINS", "*"),
                ("DEPUTIZE_PRIVATE_UPSTREAMS", "true"),
                ("DEPUTIZE_CA_BUNDLE", "/nowhere/bundle.pem"),
                ("DEPUTIZE_STREAM_RESPONSES", "1"),
                ("DEPUTIZE_SESSION_STREAMS", "0"),
                ("DEPUTIZE_CALLER_ADDRESS", "x-forwarded-for"),
                ("DEPUTIZE_LOG", "loud"),
                ("DEPUTIZE_RETENTION_DAYS", "for ever"),
            ],
        )
        .unwrap_err();
        let text = wrong.to_string();
        let expected = [
            "DEPUTIZE_TABLE is missing",
            "DEPUTIZE_URL must be an https address",
            "DEPUTIZE_TRUSTED_ISSUERS: invalid type: map, expected a sequence",
            "DEPUTIZE_CALLER_ADDRESS must be gateway or cloudfront",
            "DEPUTIZE_ALLOWED_ORIGINS: * is no origin",
            "DEPUTIZE_LOG must be a level",
            "DEPUTIZE_RETENTION_DAYS must be names and days",
            "DEPUTIZE_VAULT_KMS_KEY and DEPUTIZE_VAULT_KEY must be set",
            "DEPUTIZE_CA_BUNDLE: No such file or directory",
            "DEPUTIZE_PRIVATE_UPSTREAMS: entry 1 is no host name",
            "DEPUTIZE_SESSION_STREAMS must be a number of seconds from 1 to 840, or off",
            "DEPUTIZE_STREAM_RESPONSES must be true or false",
        ];
        for part in expected {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(wrong.0.len(), expected.len(), "{text}");
    }

    #[test]
    fn a_function_is_not_asked_for_what_it_does_not_need() {
        assert!(read(Function::Delegations, &REQUIRED[..2]).unwrap().vault.is_none());
        for function in Function::ALL.into_iter().filter(|function| *function != Function::Delegations) {
            let wrong = read(function, &REQUIRED[..2]).unwrap_err().to_string();
            assert!(wrong.ends_with("DEPUTIZE_VAULT_KMS_KEY and DEPUTIZE_VAULT_KEY must be set"), "{wrong}");
        }
        // Other functions would refuse these values.
        let flags = [("DEPUTIZE_PRIVATE_UPSTREAMS", "?"), ("DEPUTIZE_STREAM_RESPONSES", "?")];
        assert!(read(Function::Token, &[REQUIRED.as_slice(), &flags].concat()).is_ok());
    }

    #[test]
    fn issuers_that_are_too_many_for_an_environment_are_named_by_their_hash() {
        let hash = "0f".repeat(32);
        let named = |text: &str| issuers_from(Some(text));
        assert!(matches!(named(&format!("table:{hash}")), Ok(IssuersFrom::Table(read)) if read == hash));
        for wrong in
            ["table:", "table:0f", "table:../../../../../../../../../../../../../../../../../../../../x"]
        {
            assert!(named(wrong).unwrap_err().contains("64 hexadecimal digits"), "{wrong}");
        }
    }

    #[test]
    fn streams_of_sessions_last_as_long_as_is_said_or_are_off() {
        assert_eq!(session_streams(Some("30")), Ok(Some(Duration::from_secs(30))));
        assert_eq!(session_streams(Some("off")), Ok(None));
        assert!(session_streams(Some("841")).is_err());
    }

    #[test]
    fn empty_is_left_out() {
        let empty = variables::ALL.map(|variable| (variable.name, " "));
        let kept: Vec<_> = REQUIRED.into_iter().chain(empty).collect();
        assert!(read(Function::Proxy, &kept).is_ok());
        let text = read(Function::Delegations, &empty).unwrap_err().to_string();
        assert_eq!(text, "the configuration is wrong: DEPUTIZE_TABLE is missing; DEPUTIZE_URL is missing");
    }

    #[test]
    fn the_url_may_have_a_path_and_must_be_one_that_clients_can_be_told() {
        let issuer = |url| Some(read(Function::Token, &with(("DEPUTIZE_URL", url))).ok()?.settings.issuer);
        for right in [
            "https://deputize.example.com",
            "https://abc.execute-api.eu-central-1.amazonaws.com/v1",
            "https://deputize.example.com:8443/a/b",
            "http://127.0.0.1:4566/restapis/abc/v1/_user_request_",
            "http://localhost:4566",
        ] {
            assert_eq!(issuer(right).as_deref(), Some(right));
        }
        assert_eq!(issuer("https://deputize.example.com/").as_deref(), Some("https://deputize.example.com"));
        for wrong in [
            "deputize.example.com",
            "http://deputize.example.com",
            "http://127.0.0.1.example.com",
            "ftp://deputize.example.com",
            "https://user:secret@deputize.example.com",
            "https://deputize.example.com?stage=v1",
            "https://deputize.example.com/#v1",
            "https://Deputize.example.com",
            "https://deputize.example.com/a b",
        ] {
            assert_eq!(issuer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn private_upstreams_are_neither_this_machine_nor_the_metadata_service() {
        let listed = with(("DEPUTIZE_PRIVATE_UPSTREAMS", "10.20.0.0/16,fc00::/7,.corp.example"));
        let upstreams = read(Function::Proxy, &listed).unwrap().upstreams;
        let check = |address: &str| upstreams.check(Some("mcp.corp.example"), address.parse().unwrap());
        assert!(check("10.20.0.1").is_ok() && check("192.168.0.1").is_ok());
        for refused in ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(check(refused).is_err(), "{refused}");
        }
        for machine in ["127.0.0.0/8", "::1", "169.254.169.254", "fe80::/10", "0.0.0.0/0", "::/0"] {
            let wrong = read(Function::Grants, &with(("DEPUTIZE_PRIVATE_UPSTREAMS", machine))).unwrap_err();
            assert!(wrong.to_string().contains("cannot be permitted"), "{machine}: {wrong}");
        }
    }

    #[test]
    fn the_switch_that_opened_every_private_network_is_refused_with_what_to_write_instead() {
        for switch in ["true", "false"] {
            for function in [Function::Grants, Function::Proxy] {
                let left = with(("DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS", switch));
                let wrong = read(function, &left).unwrap_err().to_string();
                assert_eq!(
                    wrong,
                    "the configuration is wrong: DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS is not read any more: remove it, \
                     and if MCP servers are in private networks, list those networks and host names in \
                     DEPUTIZE_PRIVATE_UPSTREAMS, such as 10.20.0.0/16,.corp.example"
                );
            }
        }
    }

    #[test]
    fn who_shares_grants_with_new_accounts_is_the_admin_functions_to_know() {
        let shared_grants = |function, set| {
            read(function, &with(("DEPUTIZE_SHARED_GRANTS", set))).map(|config| config.settings.shared_grants)
        };
        assert_eq!(shared_grants(Function::Admin, ""), Ok(SharedGrants::Anyone));
        assert_eq!(shared_grants(Function::Admin, " managers "), Ok(SharedGrants::Managers));
        let wrong = shared_grants(Function::Admin, "Managers").unwrap_err().to_string();
        assert!(wrong.ends_with("DEPUTIZE_SHARED_GRANTS must be anyone or managers"), "{wrong}");
        assert_eq!(shared_grants(Function::Token, "nobody"), Ok(SharedGrants::Anyone));
    }

    #[test]
    fn browser_sessions_last_as_long_as_is_said_and_are_idle_for_no_longer() {
        let minutes = |text| browser_sessions(Some(text)).map(|times| (times.idle, times.total));
        let of = |idle, total| Ok((Duration::from_mins(idle), Duration::from_mins(total)));
        assert_eq!(browser_sessions(None), Ok(BrowserSessionTimes::default()));
        assert_eq!(minutes(""), of(30, 720));
        assert_eq!(minutes(" total = 60 , idle=5"), of(5, 60));
        for wrong in ["30", "idle", "idle=0", "idle=721", "total=29", "Idle=1", "total=43201", "idle=-1"] {
            assert!(minutes(wrong).unwrap_err().contains("DEPUTIZE_BROWSER_SESSION_MINUTES"), "{wrong}");
        }
    }

    #[test]
    fn claims_count_for_the_days_that_are_said() {
        let days = |days: u64| Ok(Duration::from_hours(24 * days));
        assert_eq!((claims_max_age(None), claims_max_age(Some(" 7 "))), (days(30), days(7)));
        for wrong in ["0", "3651", "week", "1.5"] {
            assert!(
                claims_max_age(Some(wrong)).unwrap_err().contains("DEPUTIZE_CLAIMS_MAX_AGE_DAYS"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn api_keys_may_have_no_end_unless_a_number_of_days_is_said() {
        let days = |days: u64| Ok(Some(Duration::from_hours(24 * days)));
        assert_eq!((longest_api_key(None), longest_api_key(Some(" 90 "))), (Ok(None), days(90)));
        for wrong in ["0", "3651", "never", "1.5"] {
            assert!(
                longest_api_key(Some(wrong)).unwrap_err().contains("DEPUTIZE_MAX_API_KEY_DAYS"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_hundred_issuers_are_the_most() {
        let json = |count: usize| {
            let issuer =
                |n| format!(r#"{{"issuer":"https://login{n}.example.com","audiences":["deputize"]}}"#);
            format!("[{}]", (0..count).map(issuer).collect::<Vec<_>>().join(","))
        };
        assert_eq!(trusted_issuers(Some(&json(100))).unwrap().len(), 100);
        let wrong = trusted_issuers(Some(&json(101))).unwrap_err();
        assert_eq!(wrong, "DEPUTIZE_TRUSTED_ISSUERS: there can be 100 issuers at most");
    }

    #[test]
    fn what_is_kept_for_how_long_is_for_all_functions_to_know() {
        let retention = |set| {
            read(Function::Delegations, &with(("DEPUTIZE_RETENTION_DAYS", set)))
                .map(|config| config.retention)
        };
        assert_eq!(retention(""), Ok(Retention::default()));
        let grants = Retention { grants: None, ..Retention::default() };
        assert_eq!(retention("grants=0"), Ok(grants));
        let wrong = retention("30").unwrap_err().to_string();
        assert!(wrong.contains("DEPUTIZE_RETENTION_DAYS must be names and days"), "{wrong}");
    }

    #[test]
    fn agents_without_an_owner_run_unless_a_deployment_stops_them() {
        let of = |function, set| {
            let config = read(function, &with(("DEPUTIZE_AGENTS_WITHOUT_OWNER", set)));
            config.map(|config| config.settings.ownerless_agents)
        };
        for function in [Function::Token, Function::Proxy] {
            assert_eq!(of(function, ""), Ok(OwnerlessAgents::Run));
            assert_eq!(of(function, " stop "), Ok(OwnerlessAgents::Stop));
            let wrong = of(function, "halt").unwrap_err().to_string();
            assert!(wrong.ends_with("DEPUTIZE_AGENTS_WITHOUT_OWNER must be run or stop"), "{wrong}");
        }
        assert_eq!(of(Function::Admin, "halt"), Ok(OwnerlessAgents::Run));
    }

    #[test]
    fn a_log_level_is_for_all_or_for_a_target() {
        for right in ["debug", "INFO", "warn,deputize_core=trace", "info, deputize_proxy=off"] {
            assert!(read(Function::Token, &with(("DEPUTIZE_LOG", right))).is_ok(), "{right}");
        }
        for wrong in ["loud", "info,", "deputize_core", "deputize_core=loud"] {
            assert!(read(Function::Token, &with(("DEPUTIZE_LOG", wrong))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_message_repeats_a_secret() {
        let secret = "c2VjcmV0IHRoYXQgaXMgdG9vIHNob3J0";
        let variables = with(("DEPUTIZE_VAULT_KEY", secret));
        let text = read(Function::Token, &variables).unwrap_err().to_string();
        assert!(text.contains("DEPUTIZE_VAULT_KEY") && !text.contains(secret), "{text}");
    }

    fn asked_for(function: Function) -> BTreeSet<String> {
        let asked = RefCell::new(BTreeSet::new());
        let _ = Config::from_lookup(function, &|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        asked.into_inner()
    }

    #[test]
    fn what_is_read_is_what_the_list_says() {
        for function in Function::ALL {
            let listed = variables::ALL.into_iter().filter(|variable| variable.read_by.contains(&function));
            assert_eq!(asked_for(function), listed.map(|variable| variable.name.to_owned()).collect());
        }
    }

    #[test]
    fn the_grace_of_refresh_tokens_is_0_to_3600_seconds_and_60_if_it_is_left_out() {
        let read = |function, text| {
            let config = read(function, &with(("DEPUTIZE_REFRESH_GRACE", text)));
            config.map(|config| config.settings.refresh_grace.as_secs())
        };
        for (text, seconds) in [("", 60), ("0", 0), (" 60 ", 60), ("3600", 3600)] {
            assert_eq!(read(Function::Token, text), Ok(seconds), "{text}");
        }
        for wrong in ["3601", "-1", "1.5", "60s", "off"] {
            let refusal = read(Function::Token, wrong).unwrap_err();
            let says = "DEPUTIZE_REFRESH_GRACE must be a number of seconds from 0 to 3600";
            assert_eq!(refusal, Misconfigured(vec![says.to_owned()]), "{wrong}");
        }
        assert_eq!(read(Function::Proxy, "3601"), Ok(60));
    }

    /// The table of variables in the documentation, with the functions that it names.
    #[test]
    fn what_is_documented_is_what_the_list_says() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/CONFIGURATION.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.trim_end_matches('`').to_owned();
            Some((name, cells.next()?.trim().to_owned()))
        });
        let documented: Vec<_> = rows.collect();
        let listed = variables::ALL.map(|variable| {
            let names: Vec<_> = variable.read_by.iter().map(|function| function.name()).collect();
            let all = variable.read_by.len() == Function::ALL.len();
            (variable.name.to_owned(), if all { "all".to_owned() } else { names.join(", ") })
        });
        assert_eq!(documented, listed);
    }
}
