//! A root key in this process's memory: from the local server's data directory, or from a function's
//! environment.

use std::{fmt, future};

use aws_lc_rs::aead::LessSafeKey;
use zeroize::Zeroizing;

use super::{DataKey, KEY_BYTES, KeyBytes, RootKey, VaultFuture, cipher};
use crate::{
    clock::Random,
    error::{Error, Result},
    secret::sha256_hex,
    table::Key,
};

pub struct LocalRoot {
    id: String,
    key: LessSafeKey,
}

impl fmt::Debug for LocalRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRoot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LocalRoot {
    /// Its id is the beginning of its key's hash: the same key is the same root, wherever it is stored.
    pub fn new(key: &KeyBytes) -> Result<Self> {
        let id = format!("local:{}", &sha256_hex(key.as_slice())[..16]);
        Ok(Self { id, key: cipher::key(key)? })
    }

    fn make(&self, item: &Key) -> Result<DataKey> {
        let plain = Zeroizing::new(Random::System.bytes::<KEY_BYTES>()?);
        let wrapped = cipher::encrypt(&self.key, &Random::System, item, plain.as_slice())?;
        Ok(DataKey { plain, wrapped })
    }

    fn unwrap(&self, item: &Key, wrapped: &str) -> Result<KeyBytes> {
        let plain = cipher::decrypt(&self.key, item, wrapped)?;
        let wrong = |_| Error::internal("a data key has a wrong length");
        plain.as_slice().try_into().map(Zeroizing::new).map_err(wrong)
    }
}

impl RootKey for LocalRoot {
    fn id(&self) -> &str {
        &self.id
    }

    fn new_data_key<'a>(&'a self, item: &'a Key) -> VaultFuture<'a, DataKey> {
        Box::pin(future::ready(self.make(item)))
    }

    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> VaultFuture<'a, KeyBytes> {
        Box::pin(future::ready(self.unwrap(item, wrapped)))
    }
}
