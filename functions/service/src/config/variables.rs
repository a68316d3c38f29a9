//! Every environment variable that a function reads. `infra/CONFIGURATION.md` says the same to operators. A test
//! compares the two with each other, and with what is read.

use std::fmt;

use super::Function;

/// An environment variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// The functions that read it. The others ignore it.
    pub read_by: &'static [Function],
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn of_all(name: &'static str) -> Variable {
    Variable { name, read_by: &Function::ALL }
}

const fn of_those_with_a_vault(name: &'static str) -> Variable {
    Variable {
        name,
        read_by: &[Function::Token, Function::Grants, Function::Proxy, Function::Admin, Function::Console],
    }
}

const fn of_those_that_call_out(name: &'static str) -> Variable {
    Variable { name, read_by: &[Function::Grants, Function::Proxy, Function::Console] }
}

pub const TABLE: Variable = of_all("DEPUTIZE_TABLE");
pub const URL: Variable = of_all("DEPUTIZE_URL");
pub const TRUSTED_ISSUERS: Variable = of_all("DEPUTIZE_TRUSTED_ISSUERS");
pub const CALLER_ADDRESS: Variable = of_all("DEPUTIZE_CALLER_ADDRESS");
pub const ALLOWED_ORIGINS: Variable = of_all("DEPUTIZE_ALLOWED_ORIGINS");
pub const LOG: Variable = of_all("DEPUTIZE_LOG");
pub const RETENTION: Variable = of_all("DEPUTIZE_RETENTION_DAYS");
pub const AUDIT_LOG: Variable = of_all("DEPUTIZE_AUDIT_LOG");
pub const KMS_KEY: Variable = of_those_with_a_vault("DEPUTIZE_VAULT_KMS_KEY");
pub const LOCAL_KEY: Variable = of_those_with_a_vault("DEPUTIZE_VAULT_KEY");
pub const PREVIOUS_KEYS: Variable = of_those_with_a_vault("DEPUTIZE_VAULT_PREVIOUS_KEYS");
pub const CA_BUNDLE: Variable = of_all("DEPUTIZE_CA_BUNDLE");
pub const PRIVATE_UPSTREAMS: Variable = of_those_that_call_out("DEPUTIZE_PRIVATE_UPSTREAMS");
/// What was in the place of [`PRIVATE_UPSTREAMS`]. A function that still finds it does not start.
pub const ALLOW_PRIVATE_UPSTREAMS: Variable = of_those_that_call_out("DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS");
pub const SHARED_GRANTS: Variable = Variable { name: "DEPUTIZE_SHARED_GRANTS", read_by: &[Function::Admin] };
pub const OWNERLESS_AGENTS: Variable =
    Variable { name: "DEPUTIZE_AGENTS_WITHOUT_OWNER", read_by: &[Function::Token, Function::Proxy] };
pub const STREAM_RESPONSES: Variable =
    Variable { name: "DEPUTIZE_STREAM_RESPONSES", read_by: &[Function::Proxy] };
pub const SESSION_STREAMS: Variable =
    Variable { name: "DEPUTIZE_SESSION_STREAMS", read_by: &[Function::Proxy] };
pub const REFRESH_GRACE: Variable = Variable { name: "DEPUTIZE_REFRESH_GRACE", read_by: &[Function::Token] };

const fn of_those_with_apps(name: &'static str) -> Variable {
    Variable { name, read_by: &[Function::Token, Function::Console] }
}

pub const APPS: Variable = of_those_with_apps("DEPUTIZE_APPS");
pub const APP_HOSTS: Variable = of_those_with_apps("DEPUTIZE_APP_HOSTS");
pub const APP_SCHEMES: Variable = of_those_with_apps("DEPUTIZE_APP_SCHEMES");

pub const CLAIMS_MAX_AGE: Variable = of_all("DEPUTIZE_CLAIMS_MAX_AGE_DAYS");
pub const BROWSER_SESSIONS: Variable =
    Variable { name: "DEPUTIZE_BROWSER_SESSION_MINUTES", read_by: &[Function::Admin, Function::Console] };

pub const LONGEST_API_KEY: Variable =
    Variable { name: "DEPUTIZE_MAX_API_KEY_DAYS", read_by: &[Function::Admin] };

/// All variables.
pub const ALL: [&Variable; 25] = [
    &TABLE,
    &URL,
    &CALLER_ADDRESS,
    &TRUSTED_ISSUERS,
    &ALLOWED_ORIGINS,
    &LOG,
    &RETENTION,
    &AUDIT_LOG,
    &KMS_KEY,
    &LOCAL_KEY,
    &PREVIOUS_KEYS,
    &CA_BUNDLE,
    &PRIVATE_UPSTREAMS,
    &ALLOW_PRIVATE_UPSTREAMS,
    &SHARED_GRANTS,
    &OWNERLESS_AGENTS,
    &APPS,
    &APP_HOSTS,
    &APP_SCHEMES,
    &CLAIMS_MAX_AGE,
    &BROWSER_SESSIONS,
    &LONGEST_API_KEY,
    &STREAM_RESPONSES,
    &SESSION_STREAMS,
    &REFRESH_GRACE,
];
