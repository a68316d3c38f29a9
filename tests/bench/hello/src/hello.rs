//! `lambda_http`'s own example: what no function in Rust starts faster than.

use lambda_http::{Error, Request, run, service_fn, tracing};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(hello)).await
}

async fn hello(_: Request) -> Result<&'static str, Error> {
    Ok("hello")
}
