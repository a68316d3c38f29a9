//! Values that only the holder of some secret can open: the table holds no more than a hash of it.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyBytes, cipher};
use crate::{
    clock::Random,
    error::{Error, Result},
    table::Key,
};

/// The length of the derived key, as `hkdf` asks for it.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// The key that a secret of 256 random bits gives for one purpose (RFC 5869).
fn key_of(secret: &[u8], purpose: &str) -> Result<KeyBytes> {
    let failed = |_| Error::internal("a key could not be derived");
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let purpose = [purpose.as_bytes()];
    let secret = Salt::new(HKDF_SHA256, &[]).extract(secret);
    secret.expand(&purpose, Length).and_then(|derived| derived.fill(&mut *key)).map_err(failed)?;
    Ok(key)
}

/// Seals a value of an item under a secret.
pub(crate) fn seal_under(
    random: &Random,
    secret: &[u8],
    purpose: &str,
    item: &Key,
    value: &[u8],
) -> Result<String> {
    cipher::encrypt(&cipher::key(&key_of(secret, purpose)?)?, random, item, value)
}

/// Opens what [`seal_under`] has sealed under the same secret, for the same purpose and item.
pub(crate) fn open_under(
    secret: &[u8],
    purpose: &str,
    item: &Key,
    sealed: &str,
) -> Result<Zeroizing<Vec<u8>>> {
    cipher::decrypt(&cipher::key(&key_of(secret, purpose)?)?, item, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_secret_for_its_purpose_in_its_item_and_not_otherwise() {
        let (one, two) = (Key::authorization_code("one"), Key::authorization_code("two"));
        let secret = [7; 32];
        let sealed = seal_under(&Random::System, &secret, "a", &one, b"value").unwrap();
        assert_eq!(&**open_under(&secret, "a", &one, &sealed).unwrap(), b"value");
        assert!(open_under(&[8; 32], "a", &one, &sealed).is_err());
        assert!(open_under(&secret, "b", &one, &sealed).is_err());
        assert!(open_under(&secret, "a", &two, &sealed).is_err());
        assert!(open_under(&secret, "a", &one, &sealed[1..]).is_err());
    }
}
