//! The floor under a token: one ES256 signature, one SHA-256 of a client secret, and one read of the two
//! items that a token request reads, each by itself on one thread. The benchmark prints it beside the
//! token endpoint's rate.

use std::{hint::black_box, time::Instant};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use deputize_core::{
    control::Control,
    table::{Change, Key},
};
use deputize_local::store::Store;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 5_000;

fn per_round(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
    let message = [b'x'; 560];

    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(pair.sign(&random, black_box(&message))?);
    }
    let sign_us = per_round(started);

    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(digest::digest(&digest::SHA256, black_box(&message[..32])));
    }
    let hash_us = per_round(started);

    let table = Store::in_memory()?.table().await?;
    let mut change = Change::new();
    Control::default().create(&mut change)?;
    if table.commit(change).await.is_err() {
        return Err("the control items could not be written".into());
    }
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(table.read(vec![Key::control(0), Key::control(1)]).await?);
    }
    let read_us = per_round(started);

    println!("{}", serde_json::json!({ "sign_us": sign_us, "hash_us": hash_us, "read_us": read_us }));
    Ok(())
}
