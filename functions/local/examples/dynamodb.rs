//! The embedded DynamoDB by itself, in memory, speaking DynamoDB's protocol: the table of several server
//! processes in the end-to-end tests.

use dynoxide::{Database, server::serve_on};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve_on(listener, Database::memory()?).await;
    Ok(())
}
