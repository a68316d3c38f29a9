//! Encryption at rest: upstream OAuth tokens and token signing keys.
//!
//! Envelope encryption with AES-256-GCM. Each value has a data key of its own, which is wrapped by the
//! root key; the key of the item that holds the value is the associated data of both, so that a sealed
//! value that is moved to another item does not open.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Random,
    error::{Error, Result},
    table::Key,
};

/// The length of a root or data key, in bytes.
pub const KEY_BYTES: usize = 32;

/// A sealed value, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which root key wraps the data key.
    root: String,
    /// The wrapped data key.
    key: String,
    /// The value, encrypted under the data key.
    data: String,
}

/// Where the root key is.
#[derive(Clone, Debug)]
pub struct Vault(Arc<LocalRoot>);

/// A root key in this process's memory, read from a file of mode 0600.
struct LocalRoot {
    id: String,
    key: LessSafeKey,
    random: Random,
}

impl std::fmt::Debug for LocalRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRoot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault on a key in memory.
    pub fn local(key: &Zeroizing<[u8; KEY_BYTES]>) -> Result<Self> {
        let id = format!("local:{}", &crate::secret::sha256_hex(&**key)[..16]);
        Ok(Self(Arc::new(LocalRoot { id, key: aes_key(&**key)?, random: Random::System })))
    }

    #[expect(clippy::unused_async, reason = "a root key in a KMS is asked over the network")]
    pub async fn seal(&self, item: &Key, value: &[u8]) -> Result<Sealed> {
        let root = &self.0;
        let data_key = Zeroizing::new(root.random.bytes::<KEY_BYTES>()?);
        let data = encrypt(&aes_key(&*data_key)?, &root.random, item, value)?;
        let key = encrypt(&root.key, &root.random, item, &*data_key)?;
        Ok(Sealed { root: root.id.clone(), key, data })
    }

    #[expect(clippy::unused_async, reason = "a root key in a KMS is asked over the network")]
    pub async fn open(&self, item: &Key, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        let root = &self.0;
        if sealed.root != root.id {
            return Err(Error::Internal(format!("sealed under another root key, {}", sealed.root)));
        }
        let data_key = decrypt(&root.key, item, &sealed.key)?;
        decrypt(&aes_key(&data_key)?, item, &sealed.data)
    }
}

fn aes_key(bytes: &[u8]) -> Result<LessSafeKey> {
    let key =
        UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| Error::internal("a key has a wrong length"))?;
    Ok(LessSafeKey::new(key))
}

fn associated_data(item: &Key) -> Aad<Vec<u8>> {
    Aad::from(format!("{}\0{}", item.pk, item.sk).into_bytes())
}

/// A random nonce, then the ciphertext with its tag.
fn encrypt(key: &LessSafeKey, random: &Random, item: &Key, value: &[u8]) -> Result<String> {
    let nonce = random.bytes::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(value.to_vec());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated_data(item), &mut *text)
        .map_err(|_| Error::internal("a value could not be sealed"))?;
    Ok(BASE64_STANDARD_NO_PAD.encode([nonce.as_slice(), text.as_slice()].concat()))
}

fn decrypt(key: &LessSafeKey, item: &Key, text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let unreadable = || Error::internal("a sealed value does not open: it is damaged, or not this item's");
    let mut bytes = Zeroizing::new(BASE64_STANDARD_NO_PAD.decode(text).map_err(|_| unreadable())?);
    let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(unreadable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
    let opened = key.open_in_place(nonce, associated_data(item), sealed).map_err(|_| unreadable())?;
    Ok(Zeroizing::new(opened.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    fn vault() -> Vault {
        Vault::local(&Zeroizing::new(Random::System.bytes().unwrap())).unwrap()
    }

    fn item(n: u128) -> Key {
        Key::user(UserId(uuid::Uuid::from_u128(n)))
    }

    #[tokio::test]
    async fn what_is_sealed_opens_for_the_same_item() {
        let vault = vault();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        assert_eq!(&**vault.open(&item(1), &sealed).await.unwrap(), b"token");
        assert!(!format!("{sealed:?}").contains("token"));
    }

    #[tokio::test]
    async fn a_sealed_value_moved_to_another_item_does_not_open() {
        let vault = vault();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        assert!(vault.open(&item(2), &sealed).await.is_err());
    }

    #[tokio::test]
    async fn a_damaged_value_or_another_root_key_does_not_open() {
        let vault = vault();
        let mut sealed = vault.seal(&item(1), b"token").await.unwrap();
        assert!(super::tests::vault().open(&item(1), &sealed).await.is_err());
        let last = if sealed.data.ends_with('A') { "B" } else { "A" };
        sealed.data.replace_range(sealed.data.len() - 1.., last);
        sealed.data.replace_range(..1, if sealed.data.starts_with('A') { "B" } else { "A" });
        assert!(vault.open(&item(1), &sealed).await.is_err());
    }
}
