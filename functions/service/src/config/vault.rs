//! The vault's root keys.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_core::vault::{KEY_BYTES, KeyBytes};
use zeroize::Zeroizing;

use super::{
    EnvLookup, Reader,
    variables::{KMS_KEY, LOCAL_KEY, PREVIOUS_KEYS},
};

/// The vault's root keys.
#[derive(Debug)]
pub struct VaultConfig {
    /// `DEPUTIZE_VAULT_KMS_KEY` or `DEPUTIZE_VAULT_KEY`: seals.
    pub current: Root,
    /// `DEPUTIZE_VAULT_PREVIOUS_KEYS`, separated by commas: still open.
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
    /// Whether it is an alias, which may later lead to another key.
    pub is_alias: bool,
}

impl VaultConfig {
    /// From the environment, or from another `lookup`.
    pub fn from_lookup(lookup: EnvLookup<'_>) -> Result<Self, String> {
        Self::read(&Reader::new(lookup))
    }

    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, String> {
        let listed = Zeroizing::new(reader.optional(&PREVIOUS_KEYS).unwrap_or_default());
        let local = reader.optional(&LOCAL_KEY).map(Zeroizing::new);
        let current = match (reader.optional(&KMS_KEY), local) {
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
        let listed = listed.split(',').map(str::trim).filter(|text| !text.is_empty());
        // The error names its position, not its text: it may be a key with one character too many.
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
    use super::{KmsKey, Root, VaultConfig};
    use base64::{Engine, prelude::BASE64_STANDARD};

    const LOCAL_KEY: &str = super::LOCAL_KEY.name;
    const KMS_KEY: &str = super::KMS_KEY.name;
    const PREVIOUS_KEYS: &str = super::PREVIOUS_KEYS.name;
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
}
