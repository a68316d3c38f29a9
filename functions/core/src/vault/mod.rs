//! Encryption at rest: upstream OAuth tokens and token signing keys.
//!
//! Envelope encryption with AES-256-GCM. Each value has a data key of its own, which is wrapped by a root key. The key
//! of the item that holds the value is the associated data of both. So a sealed value that is moved to another item
//! does not open.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod` | [`Vault`]: seals and opens, whatever the root |
//! | `local` | [`LocalRoot`]: a root key in this process's memory |
//! | `cached` | [`Cached`]: a root that is asked over the network, and remembered for a while |
//! | `cipher` | AES-256-GCM, bound to an item |
//! | `derived` | values under a secret that somebody else holds: no root key opens them |
//!
//! A root answers two questions: *make a data key for this item*, and *unwrap this one*.
//!
//! | root | called | holds the key | wraps by |
//! | --- | --- | --- | --- |
//! | [`LocalRoot`] | `local:{beginning of its hash}` | in memory: from a file locally, from the environment on Lambda | AES-256-GCM, the item as associated data |
//! | `KmsRoot` of `deputize-service` | `kms:{ARN}` | not at all | `GenerateDataKey` and `Decrypt`, the item as encryption context |
//!
//! **Changing the root key.** A sealed value names its root. A vault seals under one root, the current one, and opens
//! what any of its roots has sealed. When it opens a value, it says whether the value is *stale*, that is, sealed under
//! a previous root. The opener then writes it back, sealed under the current root, if the item is still as it was read.
//! Losing that race, or failing at it, costs nothing: the next opener tries again. Nothing walks the table. So a root
//! is needed until all that it sealed has been used or is gone. The signing key is sealed anew by the first process
//! that signs; an OAuth session when its tokens are next used.
//!
//! **An alias of KMS is resolved once,** and sealed values name the key that it led to. If they named the alias,
//! pointing it to another key would leave all older values without a name.

mod cached;
mod cipher;
mod derived;
mod local;

use std::{fmt, iter, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use self::derived::{open_under, seal_under};
pub use self::{cached::Cached, local::LocalRoot};
use crate::{
    clock::Random,
    error::{Error, Result},
    table::Key,
};

/// The length of a root or data key, in bytes.
pub const KEY_BYTES: usize = 32;

/// A root or data key.
pub type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// A root key, wherever it is stored.
pub trait RootKey: Send + Sync + fmt::Debug {
    /// Its name in sealed values and in errors. It is not secret.
    fn id(&self) -> &str;

    /// Makes a data key for an item's value.
    fn new_data_key<'a>(&'a self, item: &'a Key) -> VaultFuture<'a, DataKey>;

    /// Unwraps a data key. Fails if it was made for another item.
    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> VaultFuture<'a, KeyBytes>;
}

/// The answer of a root key.
pub type VaultFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A new data key.
pub struct DataKey {
    pub plain: KeyBytes,
    /// The same key, wrapped so that only its root can read it; in base64.
    pub wrapped: String,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("wrapped", &self.wrapped).finish_non_exhaustive()
    }
}

/// A sealed value, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// The root key that wraps the data key.
    root: String,
    /// The wrapped data key.
    key: String,
    /// The value, encrypted under the data key.
    data: String,
}

/// Seals a value of one item with an existing data key, so it needs no request.
#[derive(Debug)]
pub struct Sealer {
    item: Key,
    root: String,
    key: DataKey,
}

impl Sealer {
    /// Encrypts the value. It may be called again if the result could not be stored.
    pub fn seal(&self, value: &[u8]) -> Result<Sealed> {
        let DataKey { plain, wrapped } = &self.key;
        let data = cipher::encrypt(&cipher::key(plain)?, &Random::System, &self.item, value)?;
        Ok(Sealed { root: self.root.clone(), key: wrapped.clone(), data })
    }
}

/// A value that was opened.
pub struct Opened {
    pub value: Zeroizing<Vec<u8>>,
    /// Whether it was sealed under a previous root. Then it should be sealed again and written back.
    pub is_stale: bool,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("is_stale", &self.is_stale).finish_non_exhaustive()
    }
}

/// Takes the place of a root key where there is none.
#[derive(Debug)]
struct NoRoot;

impl NoRoot {
    fn refuse<T>() -> Result<T> {
        Err(Error::internal("this function has no vault"))
    }
}

impl RootKey for NoRoot {
    fn id(&self) -> &'static str {
        "none"
    }

    fn new_data_key<'a>(&'a self, _: &'a Key) -> VaultFuture<'a, DataKey> {
        Box::pin(async { Self::refuse() })
    }

    fn unwrap_data_key<'a>(&'a self, _: &'a Key, _: &'a str) -> VaultFuture<'a, KeyBytes> {
        Box::pin(async { Self::refuse() })
    }
}

/// Seals under the current root key, and opens values that were sealed under it or a previous one. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Roots>);

#[derive(Debug)]
struct Roots {
    current: Arc<dyn RootKey>,
    previous: Vec<Arc<dyn RootKey>>,
}

impl Vault {
    pub fn new(current: Arc<dyn RootKey>, previous: Vec<Arc<dyn RootKey>>) -> Self {
        Self(Arc::new(Roots { current, previous }))
    }

    /// A vault without a key, for functions that have nothing to do with secrets.
    pub fn none() -> Self {
        Self::new(Arc::new(NoRoot), Vec::new())
    }

    /// A vault with one key in memory.
    pub fn local(key: &KeyBytes) -> Result<Self> {
        Ok(Self::new(Arc::new(LocalRoot::new(key)?), Vec::new()))
    }

    /// Encrypts the value of an item.
    pub async fn seal(&self, item: &Key, value: &[u8]) -> Result<Sealed> {
        self.sealer(item).await?.seal(value)
    }

    /// Gets a data key for a future value of an item. For values that can be obtained only once: it shows
    /// beforehand whether the root can be reached.
    pub async fn sealer(&self, item: &Key) -> Result<Sealer> {
        let root = &self.0.current;
        let key = root.new_data_key(item).await?;
        Ok(Sealer { item: item.clone(), root: root.id().to_owned(), key })
    }

    /// Decrypts the value of an item.
    pub async fn open(&self, item: &Key, sealed: &Sealed) -> Result<Opened> {
        let Roots { current, previous } = &*self.0;
        let mut roots = iter::once(current).chain(previous);
        let Some(root) = roots.find(|root| root.id() == sealed.root) else {
            return Err(Error::internal(format!(
                "a value is sealed under the root key {}, which is neither the current one nor a previous one",
                sealed.root
            )));
        };
        let key = root.unwrap_data_key(item, &sealed.key).await?;
        let value = cipher::decrypt(&cipher::key(&key)?, item, &sealed.data)?;
        Ok(Opened { value, is_stale: sealed.root != current.id() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    fn key(n: u8) -> KeyBytes {
        Zeroizing::new([n; KEY_BYTES])
    }

    fn vault() -> Vault {
        Vault::local(&key(1)).unwrap()
    }

    fn item(n: u128) -> Key {
        Key::user(UserId(uuid::Uuid::from_u128(n)))
    }

    fn cause(refused: Result<Opened>) -> String {
        match refused.unwrap_err() {
            Error::Internal(cause) => cause.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Replaces the base64 character at `at`.
    fn damage(text: &mut String, at: usize) {
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        text.replace_range(at..=at, other);
    }

    #[tokio::test]
    async fn what_is_sealed_opens_for_the_same_item() {
        let vault = vault();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        let opened = vault.open(&item(1), &sealed).await.unwrap();
        assert_eq!(&**opened.value, b"token");
        assert!(!opened.is_stale);
    }

    #[tokio::test]
    async fn a_sealer_seals_for_its_item_and_prints_no_key() {
        let vault = vault();
        let sealer = vault.sealer(&item(1)).await.unwrap();
        for value in [b"token", b"again"] {
            let secret = sealer.seal(value).unwrap();
            assert_eq!(&**vault.open(&item(1), &secret).await.unwrap().value, value);
            assert!(vault.open(&item(2), &secret).await.is_err());
        }
        assert!(!format!("{sealer:?}").contains("plain"));
    }

    #[tokio::test]
    async fn neither_what_is_sealed_nor_what_is_opened_prints_the_value() {
        let vault = vault();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        let opened = vault.open(&item(1), &sealed).await.unwrap();
        let printed = format!("{sealed:?} {opened:?} {vault:?}");
        assert!(!printed.contains("token"));
        assert!(!printed.contains(&format!("{:?}", b"token")));
        assert!(!printed.contains("1, 1, 1"));
    }

    #[tokio::test]
    async fn a_sealed_value_moved_to_another_item_does_not_open() {
        let vault = vault();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        let moved = vault.open(&item(2), &sealed).await;
        assert_eq!(cause(moved), "a sealed value does not open: it is damaged, or not this item's");
    }

    #[tokio::test]
    async fn a_value_does_not_open_with_the_data_key_of_another_of_the_same_item() {
        let vault = vault();
        let mine = vault.seal(&item(1), b"token").await.unwrap();
        let other = vault.seal(&item(1), b"token").await.unwrap();
        assert!(vault.open(&item(1), &Sealed { key: other.key, ..mine }).await.is_err());
    }

    #[tokio::test]
    async fn a_value_of_which_any_byte_is_damaged_does_not_open() {
        let vault = vault();
        let whole = vault.seal(&item(1), b"token").await.unwrap();
        // The last character also holds bits that belong to no byte.
        for at in 0..whole.key.len() - 1 {
            let mut damaged = whole.clone();
            damage(&mut damaged.key, at);
            assert!(vault.open(&item(1), &damaged).await.is_err(), "key, {at}");
        }
        for at in 0..whole.data.len() - 1 {
            let mut damaged = whole.clone();
            damage(&mut damaged.data, at);
            assert!(vault.open(&item(1), &damaged).await.is_err(), "data, {at}");
        }
        for cut in ["", "AAAA", "no base64"] {
            let damaged = Sealed { data: cut.to_owned(), ..whole.clone() };
            assert!(vault.open(&item(1), &damaged).await.is_err(), "{cut:?}");
        }
    }

    #[tokio::test]
    async fn what_a_previous_root_sealed_opens_and_is_stale_until_it_is_sealed_anew() {
        let old = vault().seal(&item(1), b"token").await.unwrap();
        let root = |n| -> Arc<dyn RootKey> { Arc::new(LocalRoot::new(&key(n)).unwrap()) };
        let vault = Vault::new(root(3), vec![root(2), root(1)]);
        let opened = vault.open(&item(1), &old).await.unwrap();
        assert_eq!(&**opened.value, b"token");
        assert!(opened.is_stale);

        let renewed = vault.seal(&item(1), &opened.value).await.unwrap();
        let opened = vault.open(&item(1), &renewed).await.unwrap();
        assert_eq!(&**opened.value, b"token");
        assert!(!opened.is_stale);
        // It no longer needs any of the previous roots.
        Vault::local(&key(3)).unwrap().open(&item(1), &renewed).await.unwrap();
    }

    #[tokio::test]
    async fn a_root_that_is_gone_is_named_without_its_key() {
        let sealed = vault().seal(&item(1), b"token").await.unwrap();
        let refused = Vault::local(&key(2)).unwrap().open(&item(1), &sealed).await;
        assert_eq!(
            cause(refused),
            "a value is sealed under the root key local:72cd6e8422c407fb, which is neither the current one nor a previous one"
        );
    }

    #[tokio::test]
    async fn what_the_first_version_sealed_still_opens() {
        let key = Zeroizing::new(std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let sealed = r#"{
            "root": "local:630dcd2966c43366",
            "key": "UDSTcU1wpwAkVOCub28Qip4wS3YByr8CXzVkpPTVMYvohE4Hv1pfr1I5gu66IPIZH2mBewmWh5Qg6TbL",
            "data": "dKaOjHtA5WQJERF695FJr8dZn7jEFH/4fhRfmazTh0gJqHsSF9OOaFg"
        }"#;
        let opened = Vault::local(&key).unwrap();
        let opened = opened.open(&item(1), &serde_json::from_str(sealed).unwrap()).await.unwrap();
        assert_eq!(&**opened.value, b"sealed by 0.1");
        assert!(!opened.is_stale);
    }
}
