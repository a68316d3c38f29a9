//! What a function is told by its environment. A missing or bad variable stops it at the start, with a
//! message that names the variable. One that is empty counts as missing, since templates set those that
//! they have no value for to nothing.

use std::{env, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_core::{
    Settings,
    issuers::TrustedIssuer,
    origins::Origin,
    vault::{KEY_BYTES, KeyBytes},
};
use zeroize::Zeroizing;

/// A function's configuration.
#[derive(Debug)]
pub struct Config {
    /// `DEPUTIZE_TABLE`: the DynamoDB table's name.
    pub table: String,
    /// `DEPUTIZE_URL`: where the service is reached, and the `iss` of agent tokens.
    pub settings: Settings,
    /// `DEPUTIZE_TRUSTED_ISSUERS`: a JSON array of [`TrustedIssuer`]; none if left out.
    pub issuers: Vec<TrustedIssuer>,
    /// What stored secrets are sealed under.
    pub vault: VaultConfig,
}

/// The vault's root keys.
#[derive(Debug)]
pub struct VaultConfig {
    /// `DEPUTIZE_VAULT_KMS_KEY` or `DEPUTIZE_VAULT_KEY`: what seals.
    pub current: Root,
    /// `DEPUTIZE_VAULT_PREVIOUS_KEYS`, with commas between them: what still opens.
    pub previous: Vec<Root>,
}

/// A root key.
pub enum Root {
    /// The key itself: 32 bytes, in base64.
    Local(KeyBytes),
    Kms(KmsKey),
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(_) => f.write_str("Local(…)"),
            Self::Kms(key) => key.fmt(f),
        }
    }
}

/// The ARN of a KMS key, or of an alias of one (AWS KMS Developer Guide, "Key identifiers").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKey {
    pub arn: String,
    pub region: String,
    /// Whether it is an alias, which may lead to another key tomorrow.
    pub is_alias: bool,
}

/// Where the values come from.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    pub fn from_env() -> Result<Self, String> {
        Self::from_lookup(&|name| env::var(name).ok())
    }

    fn from_lookup(lookup: Lookup<'_>) -> Result<Self, String> {
        let text = |name: &str| {
            set(lookup, name).ok_or_else(|| format!("the environment variable {name} is missing"))
        };
        let url = text("DEPUTIZE_URL")?;
        if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1") {
            return Err("DEPUTIZE_URL must begin with https://".to_owned());
        }
        let issuers = match set(lookup, "DEPUTIZE_TRUSTED_ISSUERS") {
            Some(json) => {
                serde_json::from_str(&json).map_err(|error| format!("DEPUTIZE_TRUSTED_ISSUERS: {error}"))?
            }
            None => Vec::new(),
        };
        let vault = VaultConfig::from_lookup(lookup)?;
        let allowed_origins = origins(&set(lookup, ALLOWED_ORIGINS).unwrap_or_default())?;
        let settings = Settings::at(&url).allowing(allowed_origins);
        Ok(Self { table: text("DEPUTIZE_TABLE")?, settings, issuers, vault })
    }
}

/// `DEPUTIZE_ALLOWED_ORIGINS`: the origins of web pages that may call, with commas between them.
pub const ALLOWED_ORIGINS: &str = "DEPUTIZE_ALLOWED_ORIGINS";

/// Reads [`ALLOWED_ORIGINS`].
pub fn origins(text: &str) -> Result<Vec<Origin>, String> {
    let listed = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    listed.map(|text| text.parse().map_err(|why: String| format!("{ALLOWED_ORIGINS}: {why}"))).collect()
}

fn set(lookup: Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).filter(|text| !text.trim().is_empty())
}

const KMS_KEY: &str = "DEPUTIZE_VAULT_KMS_KEY";
const LOCAL_KEY: &str = "DEPUTIZE_VAULT_KEY";
const PREVIOUS_KEYS: &str = "DEPUTIZE_VAULT_PREVIOUS_KEYS";

impl VaultConfig {
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, String> {
        let local = set(lookup, LOCAL_KEY).map(Zeroizing::new);
        let current = match (set(lookup, KMS_KEY), local) {
            (Some(_), Some(_)) => {
                return Err(format!(
                    "{KMS_KEY} and {LOCAL_KEY} are both set: keep the one that is to seal from now on, and put the other into {PREVIOUS_KEYS}"
                ));
            }
            (None, None) => {
                return Err(format!("one of the environment variables {KMS_KEY} and {LOCAL_KEY} must be set"));
            }
            (Some(arn), None) => KmsKey::parse(&arn).map(Root::Kms).ok_or_else(|| {
                format!("{KMS_KEY} must be the ARN of a KMS key or of an alias of one, such as arn:aws:kms:eu-central-1:123456789012:alias/deputize")
            })?,
            (None, Some(key)) => local_key(&key)
                .map(Root::Local)
                .ok_or_else(|| format!("{LOCAL_KEY} must be {KEY_BYTES} bytes in base64"))?,
        };
        let listed = Zeroizing::new(set(lookup, PREVIOUS_KEYS).unwrap_or_default());
        let listed = listed.split(',').map(str::trim).filter(|text| !text.is_empty());
        // Named by its place: it may be a key with a character too much.
        let previous = listed.enumerate().map(|(at, text)| {
            let kms = || KmsKey::parse(text).map(Root::Kms);
            let root = local_key(text).map(Root::Local).or_else(kms);
            root.ok_or_else(|| {
                format!(
                    "{PREVIOUS_KEYS}: key {} is neither {KEY_BYTES} bytes in base64 nor a KMS key's ARN",
                    at + 1
                )
            })
        });
        Ok(Self { current, previous: previous.collect::<Result<_, _>>()? })
    }
}

fn local_key(text: &str) -> Option<KeyBytes> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).ok()?);
    bytes.as_slice().try_into().map(Zeroizing::new).ok()
}

impl KmsKey {
    fn parse(text: &str) -> Option<Self> {
        let arn = text.trim();
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else { return None };
        let (kind, name) = resource.split_once('/')?;
        let is_alias = kind == "alias";
        let known = is_alias || kind == "key";
        let whole = [partition, region, account, name].iter().all(|part| !part.is_empty());
        (known && whole).then(|| Self { arn: arn.to_owned(), region: region.to_owned(), is_alias })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    const ARN: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const ALIAS: &str = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/team/deputize";

    fn vault(variables: &[(&str, &str)]) -> Result<VaultConfig, String> {
        VaultConfig::from_lookup(&|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn shown(root: &Root) -> String {
        match root {
            Root::Local(key) => format!("local {}", key[0]),
            Root::Kms(KmsKey { arn, region, is_alias }) => format!("{arn} in {region}, alias: {is_alias}"),
        }
    }

    #[test]
    fn allowed_origins_are_listed_with_commas_and_a_wrong_one_is_named_with_its_variable() {
        let listed = origins(" https://app.example.com ,http://localhost:5173,").unwrap();
        assert_eq!(
            listed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            "https://app.example.com http://localhost:5173"
        );
        assert_eq!(origins("").unwrap(), []);
        assert_eq!(
            origins("https://app.example.com,https://b.example/").unwrap_err(),
            "DEPUTIZE_ALLOWED_ORIGINS: https://b.example/ is no origin; one looks like https://app.example.com"
        );
        assert!(origins("*").is_err());
    }

    #[test]
    fn the_current_root_is_a_local_key_or_one_in_a_kms() {
        let current = |name: &str, value: &str| shown(&vault(&[(name, value)]).unwrap().current);
        assert_eq!(current(LOCAL_KEY, KEY), "local 1");
        assert_eq!(current(LOCAL_KEY, &format!(" {KEY}\n")), "local 1");
        assert_eq!(current(KMS_KEY, ARN), format!("{ARN} in eu-central-1, alias: false"));
        assert_eq!(current(KMS_KEY, ALIAS), format!("{ALIAS} in us-gov-west-1, alias: true"));
    }

    #[test]
    fn both_roots_or_none_is_an_error_that_names_the_variables() {
        let none =
            "one of the environment variables DEPUTIZE_VAULT_KMS_KEY and DEPUTIZE_VAULT_KEY must be set";
        assert_eq!(vault(&[]).unwrap_err(), none);
        assert_eq!(vault(&[(LOCAL_KEY, ""), (KMS_KEY, " "), (PREVIOUS_KEYS, KEY)]).unwrap_err(), none);
        assert_eq!(
            vault(&[(LOCAL_KEY, KEY), (KMS_KEY, ARN)]).unwrap_err(),
            "DEPUTIZE_VAULT_KMS_KEY and DEPUTIZE_VAULT_KEY are both set: keep the one that is to seal from now on, \
             and put the other into DEPUTIZE_VAULT_PREVIOUS_KEYS"
        );
        assert!(vault(&[(LOCAL_KEY, KEY), (KMS_KEY, "")]).is_ok());
    }

    #[test]
    fn previous_roots_are_any_number_of_both_kinds() {
        let previous = |list: &str| -> Vec<String> {
            let config = vault(&[(LOCAL_KEY, KEY), (PREVIOUS_KEYS, list)]).unwrap();
            config.previous.iter().map(shown).collect()
        };
        assert_eq!(previous(""), [""; 0]);
        assert_eq!(
            previous(&format!("{OTHER_KEY}, {ARN},")),
            ["local 2", &format!("{ARN} in eu-central-1, alias: false")]
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let short = BASE64_STANDARD.encode([7; 31]);
        for bad in [short.as_str(), &format!("{KEY}A"), "not base64!"] {
            let refused = vault(&[(LOCAL_KEY, bad)]).unwrap_err();
            assert_eq!(refused, "DEPUTIZE_VAULT_KEY must be 32 bytes in base64");
            let refused = vault(&[(LOCAL_KEY, KEY), (PREVIOUS_KEYS, &format!("{ARN},{bad}"))]).unwrap_err();
            assert_eq!(
                refused,
                "DEPUTIZE_VAULT_PREVIOUS_KEYS: key 2 is neither 32 bytes in base64 nor a KMS key's ARN"
            );
        }
        for bad in [
            "alias/deputize",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms::123456789012:key/1",
            "arn:aws:kms:eu-central-1:123456789012:key/",
            "arn:aws:kms:eu-central-1:123456789012:grant/1",
            "arn:aws:s3:eu-central-1:123456789012:key/1",
            KEY,
        ] {
            let refused = vault(&[(KMS_KEY, bad)]).unwrap_err();
            assert!(refused.starts_with("DEPUTIZE_VAULT_KMS_KEY must be the ARN of a KMS key"), "{refused}");
            assert!(!refused.contains(KEY), "{refused}");
        }
    }

    #[test]
    fn a_configuration_prints_no_key() {
        let config = vault(&[(LOCAL_KEY, KEY), (PREVIOUS_KEYS, &format!("{OTHER_KEY},{ARN}"))]).unwrap();
        let printed = format!("{config:?}");
        assert!(printed.starts_with("VaultConfig { current: Local(…), previous: [Local(…), KmsKey {"));
    }

    #[test]
    fn a_whole_configuration_is_read_and_a_missing_variable_named() {
        let all = [
            ("DEPUTIZE_URL", "https://deputize.example.com"),
            ("DEPUTIZE_TABLE", "deputize"),
            ("DEPUTIZE_VAULT_KEY", KEY),
        ];
        let read = |left_out: usize| {
            let variables = all.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, pair)| pair);
            let variables: Vec<_> = variables.collect();
            Config::from_lookup(&|name| {
                variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let config = read(all.len()).unwrap();
        assert_eq!((config.table.as_str(), config.issuers.len()), ("deputize", 0));
        assert_eq!(config.settings.issuer, "https://deputize.example.com");
        for (at, (name, _)) in all.iter().enumerate() {
            assert!(read(at).unwrap_err().contains(name), "{name}");
        }
    }
}
