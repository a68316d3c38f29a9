//! What `CloudWatch` is told of each request, as a line of its log ([embedded metric format](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html)).
//! It is the request's one line at the usual level, so it also has what one looks for in an access log.
//!
//! Written here and not by `metrics_cloudwatch_embedded`: that is a process's recorder, which adds up and is flushed,
//! and cannot tell a stream's end from an invocation's.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use deputize_core::audit;
use http::{Method, StatusCode};
use serde::Serialize;

use crate::edge::Served;

/// Where lines go.
pub type Print = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) fn to_stdout() -> Print {
    // One write for a line, so that lines of logs and of metrics do not mix.
    Arc::new(|line| println!("{line}"))
}

const NAMESPACE: &str = "Deputize";

/// A request that is being served.
pub(super) struct Gauge {
    function: Arc<str>,
    print: Print,
    began: Instant,
    method: Method,
}

impl Gauge {
    pub(super) fn begin(function: &Arc<str>, print: &Print, method: Method) -> Self {
        Self { function: Arc::clone(function), print: Arc::clone(print), began: Instant::now(), method }
    }

    /// Once its answer has been sent, or will not be.
    pub(super) fn end(self, status: StatusCode, served: Option<&Served>) {
        let request = served.map(|served| &served.request);
        let line = Line {
            aws: About::now(),
            function: &self.function,
            route: served.map_or("-", |served| served.route.as_str()),
            requests: 1,
            errors: u8::from(status.is_server_error()),
            denied: u8::from(
                status == StatusCode::FORBIDDEN
                    || request.is_some_and(|request| request.measured.was_denied()),
            ),
            unauthorized: u8::from(status == StatusCode::UNAUTHORIZED),
            latency: millis(self.began.elapsed()),
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

fn trace_id(request: &audit::Request) -> String {
    request.trace.id()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Metrics are the fields that `_aws` names, dimensions those that it says are; the rest are properties, which cost
/// nothing and can be searched for.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    #[serde(rename = "_aws")]
    aws: About,
    function: &'a str,
    /// The path as it is in the code, such as `/api/v1/proxy/{server_id}/tools`, so that there are not more of
    /// them than endpoints.
    route: &'a str,
    requests: u8,
    errors: u8,
    denied: u8,
    unauthorized: u8,
    latency: f64,
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
    metrics: [Metric; 6],
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
                count("Denied"),
                count("Unauthorized"),
                time("Latency"),
                // Where no server was called the field is missing, and CloudWatch takes no value.
                time("UpstreamLatency"),
            ],
        };
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { timestamp, cloud_watch_metrics: [directive] }
    }
}
