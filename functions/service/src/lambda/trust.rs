//! The certificates by which a function recognizes AWS.
//!
//! AWS has its own certificate authority, Amazon Trust Services. It signs the certificates of AWS's endpoints
//! ([for DynamoDB's](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ats-certs.html)). It asks clients
//! with a trust store of their own to include all five of [its roots](https://www.amazontrust.com/repository/). For
//! AWS, a function trusts only these: no other authority can vouch for its table or its KMS. `AWS_CA_BUNDLE` names
//! others, without a new build.
//!
//! Reading five certificates takes almost no time. Reading all certificates that a machine trusts was two thirds of a
//! function's work until its first answer.

use std::fs;

use aws_smithy_http_client::tls::TrustStore;
use deputize_core::error::{Cause, because};

use crate::authorities::parse;

const AMAZONS: &[u8] = include_bytes!("amazon_roots.pem");

/// The trust store for connections to AWS in a region. `bundle` is a file of PEM certificates to trust in place of all
/// others, from the environment's `AWS_CA_BUNDLE`
/// ([AWS SDKs and Tools Reference Guide, "General configuration settings"](https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html)).
/// Fails if the file holds no certificate.
pub(super) fn trusted(region: &str, bundle: Option<&str>) -> Result<TrustStore, Cause> {
    match bundle {
        Some(path) => {
            let wrong = |why: Cause| because(format!("AWS_CA_BUNDLE: {path}"), why);
            let pem = fs::read(path).map_err(|error| wrong(error.into()))?;
            // A client would panic at its first connection if a certificate did not parse.
            parse(&pem).map_err(wrong)?;
            Ok(TrustStore::empty().with_pem_certificate(pem))
        }
        None if has_other_authorities(region) => Ok(TrustStore::default()),
        None => Ok(TrustStore::empty().with_pem_certificate(AMAZONS)),
    }
}

/// China and the isolated partitions. There, the certificates that the machine trusts are used.
fn has_other_authorities(region: &str) -> bool {
    region.starts_with("cn-") || region.contains("-iso")
}

#[cfg(test)]
mod tests {
    use deputize_core::{error::chain, secret::sha256_hex};

    use super::*;

    /// The keys that Amazon publishes, by the SHA-256 of their `SubjectPublicKeyInfo`.
    const PUBLISHED: [&str; 5] = [
        "fbe3018031f9586bcbf41727e417b7d1c45c2f47f93be372a17b96b50757d5a2",
        "7f4296fc5b6a4e3b35d3c369623e364ab1af381d8fa7121533c9d6c633ea2461",
        "36abc32656acfc645c61b71613c4bf21c787f5cabbee48348d58597803d7abc9",
        "f7ecded5c66047d28ed6466b543c40e0743abe81d109254dcf845d4c2c7853c5",
        "2b071c59a0a0ae76b0eadb2bad23bad4580b69c3601b630c2eaf0613afa83f92",
    ];

    /// A trust anchor has the key without the head of its `SEQUENCE` (X.690 section 8.9).
    fn key(content: &[u8]) -> String {
        let length = u16::try_from(content.len()).unwrap();
        let head = match length {
            0..=0x7f => vec![0x30, length.to_be_bytes()[1]],
            0x80..=0xff => vec![0x30, 0x81, length.to_be_bytes()[1]],
            _ => [&[0x30, 0x82], &length.to_be_bytes()[..]].concat(),
        };
        sha256_hex(&[&head, content].concat())
    }

    #[test]
    fn aws_is_who_has_one_of_the_five_keys_that_amazon_publishes() {
        let roots = parse(AMAZONS).unwrap().roots;
        let keys: Vec<String> = roots.iter().map(|root| key(&root.subject_public_key_info)).collect();
        assert_eq!(keys, PUBLISHED);
    }

    #[test]
    fn where_aws_has_other_authorities_the_machine_knows_them() {
        let trusted_in = |region| format!("{:?}", trusted(region, None).unwrap());
        let machines = format!("{:?}", TrustStore::default());
        for region in ["cn-north-1", "cn-northwest-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1"] {
            assert_eq!(trusted_in(region), machines, "{region}");
        }
        for region in ["eu-central-1", "us-gov-west-1", "eusc-de-east-1"] {
            assert_ne!(trusted_in(region), machines, "{region}");
        }
    }

    #[test]
    fn a_bundle_that_there_is_not_is_refused() {
        let missing = trusted("eu-central-1", Some("/nowhere/bundle.pem")).unwrap_err();
        insta::assert_snapshot!(chain(&*missing), @"AWS_CA_BUNDLE: /nowhere/bundle.pem: No such file or directory (os error 2)");
    }
}
