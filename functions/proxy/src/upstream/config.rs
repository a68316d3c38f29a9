use std::time::Duration;

use super::{AddressPolicy, Authorities};

/// What one client may connect to, and how much time and how many bytes an upstream may use.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Which addresses may be connected to. The default is the public internet only.
    pub addresses: AddressPolicy,
    /// Who vouches for servers, in addition to the authorities that the machine trusts.
    pub authorities: Authorities,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The longest silence inside an answer that has begun. Before it begins, only
    /// [`total_timeout`](Self::total_timeout) counts: a slow tool is silent until it is done. Headers, comments and events
    /// without a message begin no answer, but a comment inside of one is a sign of life.
    pub idle_timeout: Duration,
    /// How long the first request to a server may be without an answer, before the server counts as one of the handshake
    /// era.
    pub probe_timeout: Duration,
    /// For a whole [`call_tool`](super::UpstreamClient::call_tool) or
    /// [`list_tools`](super::UpstreamClient::list_tools), with all requests that they need.
    pub total_timeout: Duration,
    /// The longest silence on a stream of notifications (`subscriptions/listen`, or a handshake client's `GET`). On
    /// such a stream nothing may happen for a long time.
    pub stream_idle_timeout: Duration,
    /// How long such a stream may last. After that, its client opens another.
    pub stream_total_timeout: Duration,
    /// Whether a handshake client's `GET` opens a stream at all.
    pub session_streams: bool,
    /// How long an unused connection is kept. It is less than the 5 seconds after which Node's servers hang up, so that
    /// a call seldom uses a connection that is just being closed: such a call cannot be repeated.
    pub keep_alive: Duration,
    /// Bytes of one answer, progress messages included; also of one whole list of tools.
    pub max_response_bytes: usize,
    /// Pages of one list of tools.
    pub max_list_pages: usize,
    /// Tools in one list.
    pub max_tools: usize,
    /// The bound for each of three memories: the eras of servers, the open sessions, and the header annotations of
    /// servers. The entries used least are dropped first.
    pub max_remembered: usize,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            addresses: AddressPolicy::PUBLIC,
            authorities: Authorities::default(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(1),
            probe_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_mins(2),
            stream_idle_timeout: Duration::from_mins(5),
            stream_total_timeout: Duration::from_mins(14),
            session_streams: true,
            keep_alive: Duration::from_secs(4),
            max_response_bytes: 8 * 1024 * 1024,
            max_list_pages: 100,
            max_tools: 5_000,
            max_remembered: 10_000,
        }
    }
}
