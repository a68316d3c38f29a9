//! The data directory: mode 0700, its files 0600, and one server at a time in it.
//!
//! **The root key** of the vault is the 32 bytes of `vault.key`. To change it, stop the server, append the file to
//! `vault.previous.key`, and delete it. `vault.previous.key` holds all previous keys, one after the other:
//!
//! ```sh
//! (cd data && umask 077 && cat vault.key >> vault.previous.key && rm vault.key)
//! ```
//!
//! The next start makes a new key. What was sealed under the previous keys still opens, and is sealed anew when it is
//! next used ([`deputize_core::vault`]). What is sealed under a key that no longer exists does not open.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use deputize_core::{
    error::{Cause, because},
    vault::{KEY_BYTES, KeyBytes},
};
use zeroize::Zeroizing;

/// A data directory that only this process uses.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked until the process ends.
    _lock: File,
}

impl DataDir {
    /// Opens a data directory. Makes it if it does not exist.
    pub fn open(path: &Path) -> Result<Self, Cause> {
        let at = |error: io::Error| {
            because(format!("the data directory {} cannot be used", path.display()), error)
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(at)?;
        let lock = private_file(&path.join("lock"), false).map_err(at)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Cause::from(format!(
                "another Deputize server uses the data directory {}; stop it, or give --data-dir",
                path.display()
            )),
            TryLockError::Error(error) => at(error),
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path of the database's file. SQLite gives the files beside it the same mode.
    pub fn database(&self) -> io::Result<PathBuf> {
        let path = self.file("deputize.db");
        private_file(&path, false)?;
        Ok(path)
    }

    /// The vault's root key, made at the first start.
    pub fn vault_key(&self) -> io::Result<KeyBytes> {
        let bytes = self.secret("vault.key", || {
            let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
            aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
            Ok(key)
        })?;
        let wrong = |_| io::Error::other(format!("vault.key must hold {KEY_BYTES} bytes"));
        bytes.as_slice().try_into().map(Zeroizing::new).map_err(wrong)
    }

    /// Previous root keys, if there are any.
    pub fn previous_vault_keys(&self) -> io::Result<Vec<KeyBytes>> {
        let path = self.file("vault.previous.key");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // This file is made by hand, possibly without the right mode.
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.read_to_end(&mut bytes)?;
        let (keys, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(io::Error::other(format!(
                "vault.previous.key must hold {KEY_BYTES} bytes for each key"
            )));
        }
        Ok(keys.iter().map(|key| Zeroizing::new(*key)).collect())
    }

    /// A secret in a file. If there is no file, `make` makes the secret.
    pub fn secret(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<Zeroizing<Vec<u8>>>,
    ) -> io::Result<Zeroizing<Vec<u8>>> {
        let path = self.file(name);
        let mut bytes = Zeroizing::new(Vec::new());
        match File::open(&path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = make()?;
                self.write(name, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a file completely or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let part = self.file(&format!("{name}.part"));
        let mut file = private_file(&part, true)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(part, self.file(name))
    }
}

fn private_file(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}
