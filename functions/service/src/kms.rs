//! The vault's root keys on AWS: in a KMS, which they never leave, or in the environment.
//!
//! A data key is made by `GenerateDataKey` and unwrapped by `Decrypt`. Both have an encryption context, which is the
//! item's key. So KMS refuses a wrapped key that was moved to another item, and its log says for which items keys were
//! requested. These are ids, not secrets.

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
    error::because,
    table::{Key, retries, timeouts},
    vault::{Cached, DataKey, KeyBytes, LocalRoot, RootKey, Vault, VaultFuture},
};
use zeroize::Zeroizing;

use crate::config::{KmsKey, Root, VaultConfig};

/// The vault of a function's configuration.
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
    /// The key with this ARN. For an alias, KMS is asked once which key it is. Sealed values name that key, so they can
    /// be opened even if the alias leads to another key later. This process keeps using that key.
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
            let described = described.map_err(|error| failure("say which key an alias is", error))?;
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
            .map_err(|error| failure("make a data key", error))?;
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
            // Without this, KMS would use any key that the ciphertext names and that this function may use.
            .key_id(&self.arn)
            .ciphertext_blob(Blob::new(wrapped))
            .set_encryption_context(Some(context(item)))
            .send()
            .await
            .map_err(|error| failure("unwrap a data key", error))?;
        key_bytes(unwrapped.plaintext)
    }
}

impl RootKey for KmsRoot {
    fn id(&self) -> &str {
        &self.id
    }

    fn new_data_key<'a>(&'a self, item: &'a Key) -> VaultFuture<'a, DataKey> {
        Box::pin(self.make(item))
    }

    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> VaultFuture<'a, KeyBytes> {
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
    Error::internal(format!("the KMS answered without {what}"))
}

/// The meaning of an SDK error: the KMS is unavailable, or it will refuse this however often it is asked. At this point
/// it has been asked as often as [`retries`] allows.
fn failure<E>(asked_to: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let text = |why: &str| format!("the KMS was asked to {asked_to}: {why}");
    let why = match error {
        SdkError::ServiceError(service) => {
            // AWS KMS API Reference, "Common Errors": throttling is a 400.
            let passes = service.err().code() == Some("ThrottlingException")
                || service.raw().status().is_server_error();
            let refused = service.into_err();
            let (code, message) = (refused.code(), refused.message());
            let why = text(&format!("{}: {}", code.unwrap_or("unknown"), message.unwrap_or_default()));
            let why = because(why, refused);
            return if passes { Error::unavailable(why) } else { Error::internal(why) };
        }
        SdkError::ConstructionFailure(_) => {
            return Error::internal(because(text("the request could not be built"), error));
        }
        SdkError::TimeoutError(_) => "it timed out",
        SdkError::DispatchFailure(_) => "it cannot be reached",
        SdkError::ResponseError(_) => "its answer broke off",
        _ => "it failed in an unknown way",
    };
    Error::unavailable(because(text(why), error))
}
