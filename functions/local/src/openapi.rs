//! The API description of all functions together.
//!
//! It is generated from the handlers and kept in `functions/admin/openapi.json`. The admin function serves it from
//! there, without linking the other functions. The test here fails when the two differ.
//! `UPDATE_OPENAPI=1 cargo test -p deputize-local openapi` writes it anew.

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use deputize_core::{Core, Settings, issuers::Issuers, vault::Vault};
    use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
    use deputize_service::{
        address::AddressPolicy,
        fetch::HttpFetch,
        openapi::Document,
        outbound::{Outbound, Times},
    };
    use utoipa::OpenApi;
    use zeroize::Zeroizing;

    use crate::{server::functions, store::Store};

    #[tokio::test]
    async fn the_openapi_document_is_the_one_that_the_handlers_generate() {
        let table = Store::in_memory().unwrap().table().await.unwrap();
        let issuers = Issuers::new(Vec::new(), Arc::new(HttpFetch::new()));
        let vault = Vault::local(&Zeroizing::new([0; 32])).unwrap();
        let http = Arc::new(Outbound::new(AddressPolicy::PUBLIC, Times::default()));
        let settings = Settings::at("https://deputize.example.com");
        let core = Arc::new(Core::new(table, settings, issuers, vault, http));
        let upstream = UpstreamClient::new(UpstreamConfig::default());
        let document = functions(&core, upstream).describe(Document::openapi());
        let generated = serde_json::to_string_pretty(&document).unwrap() + "\n";
        assert!(generated.contains(r#""openapi": "3.1.0""#));

        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../admin/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == generated, "stale: run UPDATE_OPENAPI=1 cargo test -p deputize-local openapi");
    }
}
