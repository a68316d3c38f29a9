//! AES-256-GCM whose associated data is the key of the item that holds the text.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use zeroize::Zeroizing;

use super::KeyBytes;
use crate::{
    clock::Random,
    error::{Error, Result},
    table::Key,
};

pub(super) fn key(bytes: &KeyBytes) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, bytes.as_slice())
        .map_err(|_| Error::internal("a key has a wrong length"))?;
    Ok(LessSafeKey::new(key))
}

fn associated_data(item: &Key) -> Aad<Vec<u8>> {
    Aad::from(format!("{}\0{}", item.pk, item.sk).into_bytes())
}

/// A random nonce, then the ciphertext with its tag, in base64.
pub(super) fn encrypt(key: &LessSafeKey, random: &Random, item: &Key, value: &[u8]) -> Result<String> {
    let nonce = random.bytes::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(value.to_vec());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated_data(item), &mut *text)
        .map_err(|_| Error::internal("a value could not be sealed"))?;
    Ok(BASE64_STANDARD_NO_PAD.encode([nonce.as_slice(), text.as_slice()].concat()))
}

pub(super) fn decrypt(key: &LessSafeKey, item: &Key, text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let unreadable = || Error::internal("a sealed value does not open: it is damaged, or not this item's");
    let mut bytes = Zeroizing::new(BASE64_STANDARD_NO_PAD.decode(text).map_err(|_| unreadable())?);
    let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(unreadable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
    let opened = key.open_in_place(nonce, associated_data(item), sealed).map_err(|_| unreadable())?;
    Ok(Zeroizing::new(opened.to_vec()))
}
