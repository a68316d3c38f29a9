//! Every environment variable that a function reads. `infra/CONFIGURATION.md` says the same to operators; a
//! test holds the two against each other, and against what is read.

use std::fmt;

use super::Function;

/// An environment variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// The functions that read it. To the others it means nothing.
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
    Variable { name, read_by: &[Function::Token, Function::Grants, Function::Proxy, Function::Admin] }
}

pub const TABLE: Variable = of_all("DEPUTIZE_TABLE");
pub const URL: Variable = of_all("DEPUTIZE_URL");
pub const TRUSTED_ISSUERS: Variable = of_all("DEPUTIZE_TRUSTED_ISSUERS");
pub const ALLOWED_ORIGINS: Variable = of_all("DEPUTIZE_ALLOWED_ORIGINS");
pub const LOG: Variable = of_all("DEPUTIZE_LOG");
pub const KMS_KEY: Variable = of_those_with_a_vault("DEPUTIZE_VAULT_KMS_KEY");
pub const LOCAL_KEY: Variable = of_those_with_a_vault("DEPUTIZE_VAULT_KEY");
pub const PREVIOUS_KEYS: Variable = of_those_with_a_vault("DEPUTIZE_VAULT_PREVIOUS_KEYS");
pub const PRIVATE_UPSTREAMS: Variable =
    Variable { name: "DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS", read_by: &[Function::Grants, Function::Proxy] };
pub const STREAM_RESPONSES: Variable =
    Variable { name: "DEPUTIZE_STREAM_RESPONSES", read_by: &[Function::Proxy] };

/// All of them.
pub const ALL: [&Variable; 10] = [
    &TABLE,
    &URL,
    &TRUSTED_ISSUERS,
    &ALLOWED_ORIGINS,
    &LOG,
    &KMS_KEY,
    &LOCAL_KEY,
    &PREVIOUS_KEYS,
    &PRIVATE_UPSTREAMS,
    &STREAM_RESPONSES,
];
