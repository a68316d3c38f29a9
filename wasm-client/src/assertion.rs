//! `private_key_jwt` (RFC 7523 sections 2.2 and 3): a client that signs in place of a secret. The key stays with
//! WebCrypto; it need not be extractable.

use js_sys::{JSON, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::{
    bodies::set,
    environment::{base64url, now, random},
    failure::failure,
};

/// For how many seconds an assertion is good. It is used at once; the time is for clocks that differ.
const LIFETIME: f64 = 60.0;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = sign)]
    fn sign(algorithm: &Object, key: &JsValue, data: &Uint8Array) -> Result<Promise, JsValue>;
}

/// A key pair's private half, and the claims of its assertions.
pub(crate) struct SigningKey {
    pub key: JsValue,
    pub key_id: Option<String>,
    /// The issuer or the token endpoint, as the service names itself.
    pub audience: String,
}

impl SigningKey {
    /// A new assertion. Each is good once.
    pub(crate) async fn assertion(&self, client_id: &str) -> Result<String, JsValue> {
        let (name, algorithm) = self.algorithm()?;
        let header = Object::new();
        set(&header, "alg", name);
        set(&header, "typ", "JWT");
        if let Some(key_id) = &self.key_id {
            set(&header, "kid", key_id.as_str());
        }
        let issued_at = (now() / 1000.0).floor();
        let claims = Object::new();
        set(&claims, "iss", client_id);
        set(&claims, "sub", client_id);
        set(&claims, "aud", self.audience.as_str());
        set(&claims, "jti", base64url(&random::<16>()?));
        set(&claims, "iat", issued_at);
        set(&claims, "exp", issued_at + LIFETIME);
        let mut jwt = format!("{}.{}", encode(&header)?, encode(&claims)?);
        let signed =
            async { JsFuture::from(sign(&algorithm, &self.key, &Uint8Array::from(jwt.as_bytes()))?).await };
        let signature = signed.await.map_err(|cause| {
            failure(
                "invalid_key",
                "The private key does not sign",
                "Its usages must include \"sign\"",
                Some(cause),
            )
        })?;
        jwt.push('.');
        jwt.push_str(&base64url(&Uint8Array::new(&signature).to_vec()));
        Ok(jwt)
    }

    /// The algorithm's name in RFC 7518 section 3.1 or RFC 8037, and its parameters for WebCrypto.
    fn algorithm(&self) -> Result<(&'static str, Object), JsValue> {
        let of_key = Reflect::get(&self.key, &"algorithm".into())?;
        let text = |of: &JsValue, name: &str| {
            Reflect::get(of, &name.into()).ok().and_then(|value| value.as_string()).unwrap_or_default()
        };
        let hash = Reflect::get(&of_key, &"hash".into()).unwrap_or_default();
        let (family, curve, hash) = (text(&of_key, "name"), text(&of_key, "namedCurve"), text(&hash, "name"));
        let name = match (&*family, &*curve, &*hash) {
            ("ECDSA", "P-256", _) => "ES256",
            ("ECDSA", "P-384", _) => "ES384",
            ("Ed25519", ..) => "EdDSA",
            ("RSASSA-PKCS1-v1_5", _, "SHA-256") => "RS256",
            ("RSASSA-PKCS1-v1_5", _, "SHA-384") => "RS384",
            ("RSASSA-PKCS1-v1_5", _, "SHA-512") => "RS512",
            ("RSA-PSS", _, "SHA-256") => "PS256",
            ("RSA-PSS", _, "SHA-384") => "PS384",
            ("RSA-PSS", _, "SHA-512") => "PS512",
            _ => {
                let hint = "Use EC P-256 or P-384, Ed25519, or RSA with SHA-256, SHA-384 or SHA-512";
                return Err(failure(
                    "invalid_key",
                    "The private key's algorithm is not supported",
                    hint,
                    None,
                ));
            }
        };
        let parameters = Object::new();
        set(&parameters, "name", family);
        // Each name ends with its hash's bits. A salt is as long as the hash (RFC 7518 section 3.5).
        if let Some(bits) = name.get(2..).and_then(|bits| bits.parse::<u16>().ok()) {
            set(&parameters, "hash", format!("SHA-{bits}"));
            set(&parameters, "saltLength", bits / 8);
        }
        Ok((name, parameters))
    }
}

fn encode(object: &Object) -> Result<String, JsValue> {
    Ok(base64url(String::from(JSON::stringify(object)?).as_bytes()))
}
