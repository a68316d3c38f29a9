//! The vault on a KMS, by its wire: an emulator of AWS, and servers that answer what AWS does on bad days.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kms::{
    Client,
    config::{Credentials, Region, SharedCredentialsProvider},
};
use axum::{Json, Router, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_core::{
    Error, Result,
    error::chain,
    ids::UserId,
    table::Key,
    vault::{Opened, Sealed, Vault},
};
use deputize_service::{config::VaultConfig, kms};
use http::StatusCode;
use serde_json::{Value, json};

/// A KMS at an address, with one region.
struct Kms {
    url: String,
    process: Option<Child>,
}

impl Drop for Kms {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

impl Kms {
    /// The emulator cannot choose a port itself, and another process may take the chosen one: then it tries
    /// again.
    async fn emulated() -> Self {
        for _ in 0..5 {
            if let Some(kms) = Self::emulated_at(free_port()).await {
                return kms;
            }
        }
        panic!("the emulator ended before it was ready");
    }

    async fn emulated_at(port: u16) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/.venv/bin/ministack");
        assert!(program.exists(), "tests/.venv/bin/ministack is missing: run tests/run, which installs it");
        let process = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            // Disables another service's listener at a fixed port.
            .env("IOT_MTLS_ENABLED", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut kms = Self { url: format!("http://127.0.0.1:{port}"), process: Some(process) };
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "the emulator does not listen");
            if kms.process.as_mut()?.try_wait().unwrap().is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(kms)
    }

    /// A KMS that gives the same answer to every request.
    async fn answering(status: u16, body: Value) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/", post(async move || (status, Json(body))));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, process: None }
    }

    fn aws(&self) -> SdkConfig {
        let credentials = Credentials::new("test", "test", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&self.url)
            .build()
    }

    fn admin(&self) -> Client {
        Client::new(&self.aws())
    }

    /// The ARN of a new key.
    async fn key(&self) -> String {
        self.admin().create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap()
    }

    /// Starts a process whose environment has these variables.
    async fn try_process(&self, variables: &[(&str, &str)]) -> Result<Vault> {
        let config = VaultConfig::from_lookup(&|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        });
        kms::vault(&self.aws(), &config.unwrap()).await
    }

    async fn process(&self, variables: &[(&str, &str)]) -> Vault {
        self.try_process(variables).await.unwrap()
    }
}

const KMS_KEY: &str = "DEPUTIZE_VAULT_KMS_KEY";
const LOCAL_KEY: &str = "DEPUTIZE_VAULT_KEY";
const PREVIOUS_KEYS: &str = "DEPUTIZE_VAULT_PREVIOUS_KEYS";
const ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn item(n: u128) -> Key {
    Key::user(UserId(uuid::Uuid::from_u128(n)))
}

fn root_of(sealed: &Sealed) -> String {
    serde_json::to_value(sealed).unwrap()["root"].as_str().unwrap().to_owned()
}

/// The value, and whether it was sealed under a previous root.
fn opened(opened: Result<Opened>) -> (String, bool) {
    let opened = opened.unwrap();
    (String::from_utf8(opened.value.to_vec()).unwrap(), opened.is_stale)
}

#[track_caller]
fn internal<T>(refused: Result<T>) -> String {
    match refused.map(drop).unwrap_err() {
        Error::Internal(cause) => chain(&*cause),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unavailable<T>(refused: Result<T>) -> String {
    match refused.map(drop).unwrap_err() {
        Error::Unavailable { cause, .. } => chain(&*cause),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_sealed_under_a_kms_key_opens_in_every_process_for_its_item_only() {
    let kms = Kms::emulated().await;
    let arn = kms.key().await;
    let process = kms.process(&[(KMS_KEY, &arn)]).await;
    let sealed = process.seal(&item(1), b"token").await.unwrap();
    assert_eq!(root_of(&sealed), format!("kms:{arn}"));
    for process in [&process, &kms.process(&[(KMS_KEY, &arn)]).await] {
        assert_eq!(opened(process.open(&item(1), &sealed).await), ("token".to_owned(), false));
        let moved = internal(process.open(&item(2), &sealed).await);
        assert!(moved.contains("asked to unwrap a data key: InvalidCiphertextException"), "{moved}");
    }
}

#[tokio::test]
async fn a_key_can_change_from_local_to_kms_and_back_with_nothing_lost() {
    let kms = Kms::emulated().await;
    let (arn, local) = (kms.key().await, BASE64_STANDARD.encode([1; 32]));
    let before = kms.process(&[(LOCAL_KEY, &local)]).await;
    let old = before.seal(&item(1), b"token").await.unwrap();

    let there = kms.process(&[(KMS_KEY, &arn), (PREVIOUS_KEYS, &local)]).await;
    assert_eq!(opened(there.open(&item(1), &old).await), ("token".to_owned(), true));
    let new = there.seal(&item(1), b"token").await.unwrap();
    let settled = kms.process(&[(KMS_KEY, &arn)]).await;
    assert_eq!(opened(settled.open(&item(1), &new).await), ("token".to_owned(), false));
    assert!(internal(settled.open(&item(1), &old).await).contains("under the root key local:"));

    let back = kms.process(&[(LOCAL_KEY, &local), (PREVIOUS_KEYS, &arn)]).await;
    assert_eq!(opened(back.open(&item(1), &new).await), ("token".to_owned(), true));
    assert_eq!(opened(back.open(&item(1), &old).await), ("token".to_owned(), false));
}

#[tokio::test]
async fn an_alias_can_be_led_to_another_key() {
    let kms = Kms::emulated().await;
    let (first, second) = (kms.key().await, kms.key().await);
    let alias = "arn:aws:kms:us-east-1:000000000000:alias/deputize";
    let admin = kms.admin();
    admin.create_alias().alias_name("alias/deputize").target_key_id(&first).send().await.unwrap();
    let sealed = kms.process(&[(KMS_KEY, alias)]).await.seal(&item(1), b"token").await.unwrap();
    assert_eq!(root_of(&sealed), format!("kms:{first}"));

    admin.update_alias().alias_name("alias/deputize").target_key_id(&second).send().await.unwrap();
    let process = kms.process(&[(KMS_KEY, alias), (PREVIOUS_KEYS, &first)]).await;
    assert_eq!(opened(process.open(&item(1), &sealed).await), ("token".to_owned(), true));
    let renewed = process.seal(&item(1), b"token").await.unwrap();
    assert_eq!(root_of(&renewed), format!("kms:{second}"));

    let forgetful = kms.process(&[(KMS_KEY, alias)]).await;
    let refused = internal(forgetful.open(&item(1), &sealed).await);
    assert!(refused.contains(&format!("under the root key kms:{first}, which is neither")), "{refused}");
}

#[tokio::test]
async fn a_key_that_is_disabled_or_is_not_there_is_said_to_be_so() {
    let kms = Kms::emulated().await;
    let arn = kms.key().await;
    let process = kms.process(&[(KMS_KEY, &arn)]).await;
    let sealed = process.seal(&item(1), b"token").await.unwrap();
    kms.admin().disable_key().key_id(&arn).send().await.unwrap();
    assert!(internal(process.seal(&item(1), b"token").await).contains("make a data key: DisabledException"));
    let another = kms.process(&[(KMS_KEY, &arn)]).await;
    assert!(internal(another.open(&item(1), &sealed).await).contains("unwrap a data key: DisabledException"));

    let process = kms.process(&[(KMS_KEY, ARN)]).await;
    assert!(internal(process.seal(&item(1), b"token").await).contains("NotFoundException"));
    let alias = kms.try_process(&[(KMS_KEY, "arn:aws:kms:us-east-1:000000000000:alias/none")]).await;
    assert!(internal(alias).contains("say which key an alias is: NotFoundException"));
}

#[tokio::test]
async fn without_the_kms_what_was_opened_lately_still_opens_and_all_else_is_unavailable() {
    let mut kms = Kms::emulated().await;
    let arn = kms.key().await;
    let process = kms.process(&[(KMS_KEY, &arn)]).await;
    let sealed = process.seal(&item(1), b"token").await.unwrap();
    let another = kms.process(&[(KMS_KEY, &arn)]).await;
    let emulator = kms.process.as_mut().unwrap();
    emulator.kill().unwrap();
    emulator.wait().unwrap();
    assert_eq!(opened(process.open(&item(1), &sealed).await), ("token".to_owned(), false));
    assert!(unavailable(another.open(&item(1), &sealed).await).contains("it cannot be reached"));
    assert!(unavailable(process.seal(&item(1), b"token").await).contains("it cannot be reached"));
}

#[tokio::test]
async fn a_kms_that_does_not_answer_is_given_up_after_three_seconds() {
    // Connections stay in the kernel's queue, and no process accepts them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kms = Kms { url: format!("http://{}", listener.local_addr().unwrap()), process: None };
    let process = kms.process(&[(KMS_KEY, ARN)]).await;
    let started = Instant::now();
    assert!(unavailable(process.seal(&item(1), b"token").await).contains("it timed out"));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_passes_is_unavailable_and_what_does_not_is_internal() {
    for (status, code, passes) in [
        (400, "ThrottlingException", true),
        (500, "KMSInternalException", true),
        (500, "KeyUnavailableException", true),
        (503, "DependencyTimeoutException", true),
        (503, "", true),
        (400, "AccessDeniedException", false),
        (400, "KMSInvalidStateException", false),
        (400, "IncorrectKeyException", false),
        (400, "UnrecognizedClientException", false),
    ] {
        let kms = Kms::answering(status, json!({ "__type": code, "message": "because" })).await;
        let refused = kms.process(&[(KMS_KEY, ARN)]).await.seal(&item(1), b"token").await;
        let cause = if passes { unavailable(refused) } else { internal(refused) };
        assert!(cause.starts_with("the KMS was asked to make a data key: "), "{cause}");
        assert!(cause.contains(code) && cause.contains("because"), "{cause}");
    }
}

#[tokio::test]
async fn an_answer_without_a_whole_key_is_refused_and_not_repeated() {
    let key = BASE64_STANDARD.encode(b"half a data key!");
    for answer in [
        json!({ "Plaintext": key, "CiphertextBlob": "AAAA", "KeyId": ARN }),
        json!({ "CiphertextBlob": "AAAA", "KeyId": ARN }),
        json!({ "Plaintext": BASE64_STANDARD.encode([1; 32]), "KeyId": ARN }),
    ] {
        let kms = Kms::answering(200, answer).await;
        let cause = internal(kms.process(&[(KMS_KEY, ARN)]).await.seal(&item(1), b"token").await);
        assert!(cause.starts_with("the KMS answered "), "{cause}");
        assert!(!cause.contains(&key) && !cause.contains("half"), "{cause}");
    }
}
