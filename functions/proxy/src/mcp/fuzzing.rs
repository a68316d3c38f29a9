//! What must hold for every message of a client.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fuzz target fails by panicking")]

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, value::RawValue};

use super::{
    answer::event,
    authorize::ClientRequest,
    incoming::{Incoming, Kind, ProtocolEra, Tidied, param_headers},
    translate,
};
use crate::upstream::ServerEvent;

/// A request: header lines, an empty line, a body.
pub fn client_message(request: &[u8]) {
    let (head, body) = match request.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&request[..at], &request[at + 2..]),
        None => (&[][..], request),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(40) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), value) {
            headers.append(name, value);
        }
    }
    let tidied = Tidied::of(&bytes::Bytes::copy_from_slice(body));
    let incoming = match Incoming::read(&tidied, &headers) {
        Ok(incoming) => incoming,
        Err(refusal) => return drop(serde_json::from_str::<Value>(&refusal.json()).unwrap()),
    };
    let Kind::Request { id, method, params } = &incoming.kind else { return };
    // What is judged is what is sent: another reader, which knows no case and takes the last of two, sees the same.
    let seen: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_slice(tidied.text()).unwrap();
    let seen_as = |name: &str| {
        let same = seen.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.get().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen_as("id"), [crate::upstream::message::without_zeros(id.get())]);
    let methods: Vec<String> =
        seen_as("method").iter().map(|raw| serde_json::from_str(raw).unwrap()).collect();
    assert_eq!(methods, [method.as_ref()]);
    if let Some(params) = params {
        assert_eq!(seen_as("params"), [params.get()]);
    }
    if incoming.era == ProtocolEra::Modern {
        param_headers(&headers).ok();
    }
    ClientRequest::read(method, *params).ok();
    for written in
        [translate::params_for_handshake(*params), Some(translate::params_for_modern(*params, None))]
    {
        let sent = translate::request(id, method, written.as_ref(), incoming.text).unwrap();
        serde_json::from_slice::<Box<RawValue>>(&sent.joined()).unwrap();
    }
    let place = ServerEvent { said: None, event_id: None, retry: None };
    assert!(event(&place, Some(id.get())).ends_with("\n\n"));
}
