//! The metrics of each request, for `CloudWatch`, as a line of its log
//! ([embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html)).
//! It is the request's one line at the usual level, so it also has what an access log would have.
//!
//! The line is written when the answer has ended, also for a stream. There are few dimensions: the function, and the
//! route as it is in the code. So a caller cannot create more of them.
//!
//! `metrics_cloudwatch_embedded` is not used. It is a recorder for a whole process, which sums up and is flushed. It
//! cannot distinguish the end of a stream from the end of an invocation.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use deputize_core::audit;
use http::{Method, StatusCode};
use serde::Serialize;

use crate::edge::Served;

/// The output for lines.
pub type Print = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) fn to_stdout() -> Print {
    // One write for each line, so that lines of logs and of metrics do not mix.
    Arc::new(|line| println!("{line}"))
}

const NAMESPACE: &str = "Deputize";

/// A request that is being served.
pub(super) struct RequestMetrics {
    function: Arc<str>,
    print: Print,
    began: Instant,
    /// The time until an answer began.
    answered: Option<Duration>,
    method: Method,
}

impl RequestMetrics {
    pub(super) fn begin(function: &Arc<str>, print: &Print, method: Method) -> Self {
        let (function, print) = (Arc::clone(function), Arc::clone(print));
        Self { function, print, began: Instant::now(), answered: None, method }
    }

    /// To be called when the answer is known. The time for sending it is not counted.
    pub(super) fn answers(&mut self) {
        self.answered.get_or_insert_with(|| self.began.elapsed());
    }

    /// To be called when the answer has been sent, or will not be.
    pub(super) fn end(self, status: StatusCode, served: Option<&Served>) {
        let request = served.map(|served| &served.request);
        let line = Line {
            aws: About::now(),
            function: &self.function,
            route: served.map_or("-", |served| served.route.as_str()),
            requests: 1,
            errors: u8::from(status.is_server_error()),
            upstream_errors: u8::from(
                status.is_server_error() && served.is_some_and(|served| served.is_upstreams_fault),
            ),
            denied: u8::from(
                status == StatusCode::FORBIDDEN
                    || request.is_some_and(|request| request.measured.was_denied()),
            ),
            unauthorized: u8::from(status == StatusCode::UNAUTHORIZED),
            latency: millis(self.began.elapsed()),
            time_to_answer: millis(self.answered.unwrap_or_else(|| self.began.elapsed())),
            upstream_latency: request.and_then(|request| request.measured.upstream()).map(millis),
            method: self.method.as_str(),
            status: status.as_u16(),
            request_id: request.map(|request| request.id.to_string()),
            trace_id: request.map(trace_id),
        };
        if let Ok(line) = serde_json::to_string(&line) {
            (self.print)(&line);
        }
    }
}

fn trace_id(request: &audit::RequestContext) -> String {
    request.trace.id()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The fields that `_aws` names as metrics are metrics, and those that it names as dimensions are dimensions. The
/// others are properties: they cost nothing and can be searched.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    #[serde(rename = "_aws")]
    aws: About,
    function: &'a str,
    /// The path as it is in the code, such as `/api/v1/proxy/{server_id}/tools`. So there are only as many routes as
    /// endpoints.
    route: &'a str,
    requests: u8,
    errors: u8,
    /// Errors that an MCP server or an authorization server caused.
    upstream_errors: u8,
    denied: u8,
    unauthorized: u8,
    /// The time until the end of the answer. For a stream, this is its whole duration.
    latency: f64,
    /// The time until the answer began.
    time_to_answer: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_latency: Option<f64>,
    method: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct About {
    /// Milliseconds since the Unix epoch.
    timestamp: u128,
    cloud_watch_metrics: [Directive; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [&'static [&'static str]; 2],
    metrics: [Metric; 8],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

impl About {
    fn now() -> Self {
        let count = |name| Metric { name, unit: "Count" };
        let time = |name| Metric { name, unit: "Milliseconds" };
        let directive = Directive {
            namespace: NAMESPACE,
            dimensions: [&["Function", "Route"], &["Function"]],
            metrics: [
                count("Requests"),
                count("Errors"),
                count("UpstreamErrors"),
                count("Denied"),
                count("Unauthorized"),
                time("Latency"),
                time("TimeToAnswer"),
                // If no server was called, the field is missing, and CloudWatch records no value.
                time("UpstreamLatency"),
            ],
        };
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { timestamp, cloud_watch_metrics: [directive] }
    }
}
