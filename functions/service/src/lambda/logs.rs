//! Logs as JSON lines, which can be searched by field in `CloudWatch`.
//!
//! Lines have the request's id, trace and span. Our crates log no secret at any level. The end-to-end tests check this
//! for everything that they print. Other crates' lines below `info` are left out, because they may hold secrets.

use deputize_core::error::{Cause, because};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, ParseError, Targets, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Begins to log. A level applies to our own crates. Below `info`, other crates log what passes through them, including
/// tokens and bodies.
pub(super) fn begin(levels: &str) -> Result<(), Cause> {
    let logs = Registry::default().with(layer(levels, std::io::stdout)?);
    Ok(logs.try_init()?)
}

fn layer<W>(levels: &str, to: W) -> Result<impl Layer<Registry>, Cause>
where
    W: for<'w> MakeWriter<'w> + 'static,
{
    let levels: Targets = levels.parse().map_err(|error: ParseError| because("DEPUTIZE_LOG", error))?;
    let lines = fmt::layer().json().flatten_event(true).with_span_list(false).without_time().with_writer(to);
    Ok(lines.with_filter(levels.and(filter_fn(is_fit))))
}

fn is_fit(of: &Metadata<'_>) -> bool {
    of.target().starts_with("deputize") || *of.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(levels: &str, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let logs = Registry::default().with(layer(levels, move || writer.clone()).unwrap());
        tracing::subscriber::with_default(logs, work);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_names_its_request_and_trace() {
        let line = logged("info", || {
            let span = tracing::info_span!("request", request_id = "r1", trace_id = "t1", function = "token");
            span.in_scope(|| tracing::warn!(cause = "gone", "unavailable"));
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "unavailable");
        assert_eq!(line["cause"], "gone");
        assert_eq!(line["target"], "deputize_service::lambda::logs::tests");
        assert_eq!(line["span"]["request_id"], "r1");
        assert_eq!(line["span"]["trace_id"], "t1");
        assert_eq!(line["span"]["function"], "token");
    }

    #[test]
    fn what_others_log_below_info_is_left_out_at_every_level() {
        let lines = logged("trace,lambda_runtime=trace", || {
            tracing::trace!(target: "lambda_runtime", "raw JSON event received from Lambda: secret");
            tracing::debug!(target: "aws_smithy_runtime", "request: secret");
            tracing::info!(target: "lambda_runtime", "started");
            tracing::trace!("ours");
        });
        assert!(!lines.contains("secret"), "{lines}");
        assert!(lines.contains("started") && lines.contains("ours"), "{lines}");
    }
}
