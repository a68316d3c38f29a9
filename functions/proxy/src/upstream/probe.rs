//! What a server shows of itself without a credential.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::era::EraCache;
use super::message::{DiscoverParams, MODERN_VERSION, Meta};
use super::session::Sessions;
use super::tools::KnownHeaders;
use super::{ProtocolEra, Shared, Target, UpstreamClient, UpstreamError};

/// Characters of a name that are shown.
const MAX_NAME: usize = 256;

/// What a server shows.
pub(crate) struct Shown {
    /// Its era, or why it could not be found out.
    pub(crate) era: Result<ProtocolEra, UpstreamError>,
    /// The revision that is spoken to it.
    pub(crate) version: Option<String>,
    /// What it calls itself.
    pub(crate) name: Option<String>,
    /// The names of its tools.
    pub(crate) tools: Result<Vec<String>, UpstreamError>,
    /// Its address, if it is a better one at the same origin than the one that was asked.
    pub(crate) moved: Option<Url>,
}

impl UpstreamClient {
    /// Looks at a server: what it is, and which tools it lists. Nothing of it is remembered, and its session is ended.
    pub(crate) async fn look_at(&self, target: &Target) -> Shown {
        let apart = self.apart();
        let known = apart.era(target).await;
        let (mut version, mut name) = (None, None);
        let (era, tools) = match known {
            Ok(known) => {
                if let Ok(described) = apart.describe(known.era, target).await {
                    (version, name) = described;
                }
                let listed = Box::pin(apart.list_tools(target)).await;
                (Ok(known.era), listed.map(|tools| tools.iter().filter_map(|tool| name_of(tool)).collect()))
            }
            Err(error) => (Err(error), Ok(Vec::new())),
        };
        let Shared { transport, sessions, .. } = &*apart.shared;
        sessions.end(transport).await;
        Shown { era, version, name, tools, moved: transport.moved(target) }
    }

    fn apart(&self) -> Self {
        let shared = Shared {
            transport: self.shared.transport.apart(),
            eras: EraCache::new(1),
            sessions: Sessions::new(1),
            known_headers: KnownHeaders::new(1),
            next_id: AtomicU64::new(2),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The revision that is spoken, and the server's name.
    async fn describe(
        &self,
        era: ProtocolEra,
        target: &Target,
    ) -> Result<(Option<String>, Option<String>), UpstreamError> {
        let described: Value = match era {
            ProtocolEra::Modern => {
                let params = DiscoverParams { meta: Meta { era, traceparent: None } };
                let asked = self.in_time(target, self.ask(era, target, "server/discover", &params));
                parsed(&Box::pin(asked).await?)
            }
            ProtocolEra::Handshake => parsed(&self.initialized(target).await?),
        };
        let info = [&described["_meta"]["io.modelcontextprotocol/serverInfo"], &described["serverInfo"]];
        let name = info.iter().find_map(|info| info["name"].as_str()).map(shown);
        let version = match era {
            ProtocolEra::Modern => Some(MODERN_VERSION.to_owned()),
            ProtocolEra::Handshake => described["protocolVersion"].as_str().map(shown),
        };
        Ok((version, name))
    }
}

fn parsed(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn name_of(tool: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    let Named { name } = serde_json::from_str(tool.get()).ok()?;
    Some(shown(&name))
}

fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NAME).collect()
}
