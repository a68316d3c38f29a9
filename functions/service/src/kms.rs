//! The vault's root keys on AWS: in a KMS, which they never leave, or in the environment.
//!
//! A data key is made by `GenerateDataKey` and unwrapped by `Decrypt`, both with an encryption context that
//! is the item's key: KMS refuses a wrapped key that was moved to another item, and its log says for which
//! items keys were asked for. Those are ids, no secrets.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_kms::{
    Client,
    config::{Builder, Region, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::DataKeySpec,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use deputize_core::{
    Error, Result,
    clock::Clock,
    table::{Key, retries, timeouts},
    vault::{Answer, Cached, DataKey, KeyBytes, LocalRoot, RootKey, Vault},
};
use zeroize::Zeroizing;

use crate::config::{KmsKey, Root, VaultConfig};

/// The vault that a function is configured to have.
pub async fn vault(aws: &SdkConfig, config: &VaultConfig) -> Result<Vault> {
    let mut previous = Vec::with_capacity(config.previous.len());
    for one in &config.previous {
        previous.push(root(aws, one).await?);
    }
    Ok(Vault::new(root(aws, &config.current).await?, previous))
}

async fn root(aws: &SdkConfig, root: &Root) -> Result<Arc<dyn RootKey>> {
    Ok(match root {
        Root::Local(key) => Arc::new(LocalRoot::new(key)?),
        Root::Kms(key) => Arc::new(Cached::new(KmsRoot::find(aws, key).await?, Clock::System)),
    })
}

/// A symmetric key in a KMS.
pub struct KmsRoot {
    client: Client,
    /// The key's own ARN.
    arn: String,
    id: String,
}

impl fmt::Debug for KmsRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsRoot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl KmsRoot {
    /// The key that an ARN names. For an alias KMS is asked which one that is, once: what is sealed names
    /// the key, so that it opens wherever the alias leads later on, and this process keeps to the key.
    pub async fn find(aws: &SdkConfig, key: &KmsKey) -> Result<Self> {
        let config = Builder::from(aws)
            .region(Region::new(key.region.clone()))
            .timeout_config(timeouts())
            // With the SDK's own pauses, of up to 3 s together, the last attempt could come too late.
            .retry_config(retries().with_initial_backoff(Duration::from_millis(100)))
            .build();
        let client = Client::from_conf(config);
        let arn = if key.is_alias {
            let described = client.describe_key().key_id(&key.arn).send().await;
            let described = described.map_err(|error| failure("say which key an alias is", &error))?;
            described.key_metadata.and_then(|key| key.arn).ok_or_else(|| missing("the key's ARN"))?
        } else {
            key.arn.clone()
        };
        Ok(Self { client, id: format!("kms:{arn}"), arn })
    }

    async fn make(&self, item: &Key) -> Result<DataKey> {
        let made = self
            .client
            .generate_data_key()
            .key_id(&self.arn)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(context(item)))
            .send()
            .await
            .map_err(|error| failure("make a data key", &error))?;
        let plain = key_bytes(made.plaintext)?;
        let wrapped = made.ciphertext_blob.ok_or_else(|| missing("the wrapped data key"))?;
        Ok(DataKey { plain, wrapped: BASE64_STANDARD_NO_PAD.encode(wrapped) })
    }

    async fn unwrap(&self, item: &Key, wrapped: &str) -> Result<KeyBytes> {
        let wrapped = BASE64_STANDARD_NO_PAD
            .decode(wrapped)
            .map_err(|_| Error::internal("a sealed value does not open: it is damaged"))?;
        let unwrapped = self
            .client
            .decrypt()
            // Else KMS would take any key that the ciphertext names and that this function may use.
            .key_id(&self.arn)
            .ciphertext_blob(Blob::new(wrapped))
            .set_encryption_context(Some(context(item)))
            .send()
            .await
            .map_err(|error| failure("unwrap a data key", &error))?;
        key_bytes(unwrapped.plaintext)
    }
}

impl RootKey for KmsRoot {
    fn id(&self) -> &str {
        &self.id
    }

    fn new_data_key<'a>(&'a self, item: &'a Key) -> Answer<'a, DataKey> {
        Box::pin(self.make(item))
    }

    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> Answer<'a, KeyBytes> {
        Box::pin(self.unwrap(item, wrapped))
    }
}

fn context(item: &Key) -> HashMap<String, String> {
    HashMap::from([("pk".to_owned(), item.pk.clone()), ("sk".to_owned(), item.sk.clone())])
}

fn key_bytes(plaintext: Option<Blob>) -> Result<KeyBytes> {
    let bytes = Zeroizing::new(plaintext.ok_or_else(|| missing("the data key"))?.into_inner());
    let wrong = |_| Error::internal("the KMS answered a data key of a wrong length");
    bytes.as_slice().try_into().map(Zeroizing::new).map_err(wrong)
}

fn missing(what: &str) -> Error {
    Error::Internal(format!("the KMS answered without {what}"))
}

/// What the SDK's errors mean to us: the KMS is unavailable, or it will not do this however often it is
/// asked. By now it has been asked as often as [`retries`] allows.
fn failure<E: ProvideErrorMetadata>(asked_to: &str, error: &SdkError<E, HttpResponse>) -> Error {
    let text = |why: &str| format!("the KMS was asked to {asked_to}: {why}");
    match error {
        SdkError::ServiceError(refused) => {
            let (code, message) = (refused.err().code(), refused.err().message());
            let why = text(&format!("{}: {}", code.unwrap_or("unknown"), message.unwrap_or_default()));
            // AWS KMS API Reference, "Common Errors": throttling is a 400.
            if code == Some("ThrottlingException") || refused.raw().status().is_server_error() {
                Error::unavailable(why)
            } else {
                Error::Internal(why)
            }
        }
        SdkError::ConstructionFailure(_) => Error::Internal(text("the request could not be built")),
        SdkError::TimeoutError(_) => Error::unavailable(text("it timed out")),
        SdkError::DispatchFailure(why) => Error::unavailable(text(&format!("it cannot be reached: {why:?}"))),
        SdkError::ResponseError(_) => Error::unavailable(text("its answer broke off")),
        _ => Error::unavailable(text("it failed in an unknown way")),
    }
}
