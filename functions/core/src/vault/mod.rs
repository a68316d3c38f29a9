//! Encryption at rest: upstream OAuth tokens and token signing keys.
//!
//! Envelope encryption with AES-256-GCM. Each value has a data key of its own, which is wrapped by a
//! root key; the key of the item that holds the value is the associated data of both, so that a sealed
//! value that is moved to another item does not open.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod` | [`Vault`]: what seals and opens, whatever the root |
//! | `local` | [`LocalRoot`]: a root key in this process's memory |
//! | `cached` | [`Cached`]: a root that is asked over the network, and remembered for a while |
//! | `cipher` | AES-256-GCM, bound to an item |
//!
//! **Changing the root key.** A vault seals under one root, the current one, and opens what any of its
//! roots has sealed; what is sealed names its root. So a new root is made the current one, the old one a
//! previous one, and whoever opens a value that is stale writes it back sealed anew, on the way. A root
//! may go when nothing names it any more. The signing key is sealed anew by the first process that signs;
//! an OAuth session when its tokens are next used.

mod cached;
mod cipher;
mod local;

use std::{fmt, iter, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

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

/// A root key, wherever it is.
pub trait RootKey: Send + Sync + fmt::Debug {
    /// What it is called in what is sealed under it, and in errors: no secret.
    fn id(&self) -> &str;

    /// Makes a data key for an item's value.
    fn new_data_key<'a>(&'a self, item: &'a Key) -> Answer<'a, DataKey>;

    /// A data key as it was before it was wrapped. Fails if it was made for another item.
    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> Answer<'a, KeyBytes>;
}

/// What a root key answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A new data key.
pub struct DataKey {
    pub plain: KeyBytes,
    /// The same, as only its root can read it; in base64.
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
    /// Which root key wraps the data key.
    root: String,
    /// The wrapped data key.
    key: String,
    /// The value, encrypted under the data key.
    data: String,
}

/// A value that was sealed.
pub struct Opened {
    pub value: Zeroizing<Vec<u8>>,
    /// Whether it was sealed under a previous root: it should be written back, sealed anew.
    pub is_stale: bool,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("is_stale", &self.is_stale).finish_non_exhaustive()
    }
}

/// In place of a root key.
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

    fn new_data_key<'a>(&'a self, _: &'a Key) -> Answer<'a, DataKey> {
        Box::pin(async { Self::refuse() })
    }

    fn unwrap_data_key<'a>(&'a self, _: &'a Key, _: &'a str) -> Answer<'a, KeyBytes> {
        Box::pin(async { Self::refuse() })
    }
}

/// Seals under the current root key, and opens what was sealed under that or a previous one. Cheap to
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

    /// No vault: for whoever has no business with secrets.
    pub fn none() -> Self {
        Self::new(Arc::new(NoRoot), Vec::new())
    }

    /// A vault on a key in memory, and no other.
    pub fn local(key: &KeyBytes) -> Result<Self> {
        Ok(Self::new(Arc::new(LocalRoot::new(key)?), Vec::new()))
    }

    /// Encrypts the value of an item.
    pub async fn seal(&self, item: &Key, value: &[u8]) -> Result<Sealed> {
        let root = &self.0.current;
        let DataKey { plain, wrapped } = root.new_data_key(item).await?;
        let data = cipher::encrypt(&cipher::key(&plain)?, &Random::System, item, value)?;
        Ok(Sealed { root: root.id().to_owned(), key: wrapped, data })
    }

    /// Decrypts the value of an item.
    pub async fn open(&self, item: &Key, sealed: &Sealed) -> Result<Opened> {
        let Roots { current, previous } = &*self.0;
        let mut roots = iter::once(current).chain(previous);
        let Some(root) = roots.find(|root| root.id() == sealed.root) else {
            return Err(Error::Internal(format!(
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
            Error::Internal(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    /// Another character of base64 at `at`.
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
        // The last character also holds bits that are no part of any byte.
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
        // It needs none of the previous roots any more.
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
