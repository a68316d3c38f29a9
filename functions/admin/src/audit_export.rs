//! `/api/v1/audit-events/export`: the trail as a file, JSON lines or CSV.
//!
//! The file is streamed, a piece of the trail after the other, so it has no bound but its time. If it breaks off, or
//! its time is over, the transfer ends unfinished: the client goes on with `after`, the id of the last whole event that
//! it has.
//!
//! On Lambda this function's answers are not streamed, and hold 6 MB at most. There a file has 4 MB at most, and a `Link` to
//! the next one.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use deputize_api::path;
use deputize_core::{
    Core, Error,
    error::chain,
    ids::EventId,
    trail::{Export, Filter},
};
use deputize_service::{
    Errors, Result,
    extract::{Context, Query, User},
    handlers, next_link,
    routes::Routes,
};
use futures::stream;
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, LINK},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::audit_events::{AuditEvent, ListFilter};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(export(ListFilter, ExportParams)))
}

/// The longest that one export lasts.
const LASTS: Duration = Duration::from_mins(10);
/// The most that a file has where it is sent whole, and how long it is read for at most.
const WHOLE: usize = 4 * 1024 * 1024;
const WHOLE_LASTS: Duration = Duration::from_secs(15);
/// What is left of the platform's time for the end of the transfer.
const SPARE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Jsonl,
    Csv,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Oldest,
    Newest,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportParams {
    /// JSON lines, if neither this nor `Accept` says CSV.
    #[param(inline)]
    format: Option<Format>,
    /// Which events come first. The oldest, if left out.
    #[param(inline)]
    order: Option<Order>,
    /// Continues after this event: the last one of an export that broke off.
    #[param(value_type = Option<uuid::Uuid>)]
    after: Option<EventId>,
}

impl Format {
    fn asked(params: &ExportParams, headers: &HeaderMap) -> Self {
        let accepts_csv = || {
            let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
            accept.is_some_and(|accept| accept.trim_start().to_ascii_lowercase().starts_with("text/csv"))
        };
        params.format.unwrap_or_else(|| if accepts_csv() { Self::Csv } else { Self::Jsonl })
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        })
    }

    fn disposition(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Jsonl => r#"attachment; filename="audit-events.jsonl""#,
            Self::Csv => r#"attachment; filename="audit-events.csv""#,
        })
    }

    /// What comes before the first event.
    fn beginning(self) -> String {
        match self {
            Self::Jsonl => String::new(),
            Self::Csv => COLUMNS.join(",") + "\r\n",
        }
    }

    fn add(self, text: &mut String, event: &AuditEvent) -> serde_json::Result<()> {
        match self {
            Self::Jsonl => {
                text.push_str(&serde_json::to_string(event)?);
                text.push('\n');
            }
            Self::Csv => add_row(text, &serde_json::to_value(event)?),
        }
        Ok(())
    }
}

/// The fields of an event, each a column.
const COLUMNS: [&str; 22] = [
    "id",
    "at",
    "action",
    "outcome",
    "agent_account_id",
    "user_id",
    "server_id",
    "client_id",
    "credential",
    "token_id",
    "subject",
    "tool",
    "arguments_sha256",
    "policies",
    "credentials_of",
    "grant_id",
    "detail",
    "changes",
    "logged",
    "request_id",
    "source_ip",
    "duration_ms",
];

/// A row by RFC 4180. It is written here, since that is all there is to it: a crate would add to a function whose size is
/// bounded.
fn add_row(text: &mut String, event: &Value) {
    for (n, column) in COLUMNS.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        let cell = match &event[column] {
            Value::Null => continue,
            Value::Array(nothing) if nothing.is_empty() => continue,
            Value::String(said) => said.clone(),
            Value::Array(policies) if *column == "policies" => {
                policies.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        text.push('"');
        // A spreadsheet would run it as a formula (https://owasp.org/www-community/attacks/CSV_Injection).
        if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            text.push('\'');
        }
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    }
    text.push_str("\r\n");
}

/// The audit trail, as a file
///
/// All events that match, as JSON lines or as CSV (RFC 4180), the oldest first. Users see what they see in the list. The
/// answer is streamed, for ten minutes at most. If the transfer ends unfinished, continue with `after`, the id of the last
/// event that arrived whole. Deployed on Lambda, a file has 4 MB at most: if there is more, `Link` leads to the next one. In
/// CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(
    get,
    path = path::AUDIT_EXPORT,
    operation_id = "export_audit_events",
    tag = "audit",
    params(ListFilter, ExportParams),
    responses(
        (status = 200, description = "The events.", content(
            (String = "application/jsonl"),
            (String = "text/csv"),
        )),
        Errors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn export(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Query(filter): Query<ListFilter>,
    Query(params): Query<ExportParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let format = Format::asked(&params, &headers);
    let filter = Filter::try_from(filter)?;
    let oldest_first = params.order.unwrap_or_default() == Order::Oldest;
    let export = Export::begin(&core, &caller, filter, oldest_first, params.after).await?;
    let about = [(CONTENT_TYPE, format.content_type()), (CONTENT_DISPOSITION, format.disposition())];
    if let Some(end) = request.work_until {
        let until = (Instant::now() + WHOLE_LASTS).min(end.checked_sub(SPARE).unwrap_or(end));
        let (text, last) = whole(&core, export, format, until).await?;
        let mut response = (about, text).into_response();
        let link = last.and_then(|last| next_link(&uri, "after", &last.to_string()));
        response.headers_mut().extend(link.map(|link| (LINK, link)));
        return Ok(response);
    }
    let until = Instant::now() + LASTS;
    let pieces =
        stream::try_unfold((core, export, format.beginning()), move |(core, mut export, text)| async move {
            if Instant::now() >= until {
                return Err(io::Error::other("the export's time is over"));
            }
            piece(&core, &mut export, format, text)
                .await
                .map(|text| text.map(|text| (text, (core, export, String::new()))))
        });
    Ok((about, Body::from_stream(pieces)).into_response())
}

/// As much as one answer holds, and the last event that is in it if there may be more.
async fn whole(
    core: &Core,
    mut export: Export,
    format: Format,
    until: Instant,
) -> Result<(String, Option<EventId>)> {
    let (mut text, mut last) = (format.beginning(), None);
    while let Some(events) = export.next(core).await? {
        for event in events {
            let id = event.id;
            format.add(&mut text, &event.into()).map_err(Error::internal)?;
            last = Some(id);
            if text.len() >= WHOLE {
                return Ok((text, last));
            }
        }
        if last.is_some() && Instant::now() >= until {
            return Ok((text, last));
        }
    }
    Ok((text, None))
}

/// The text of the next events. `None` after the last one.
async fn piece(
    core: &Core,
    export: &mut Export,
    format: Format,
    mut text: String,
) -> io::Result<Option<String>> {
    let broken = |error: &Error| {
        tracing::warn!(error = %chain(error), "an export ended unfinished");
        io::Error::other("the trail could not be read")
    };
    match export.next(core).await.map_err(|error| broken(&error))? {
        None if text.is_empty() => Ok(None),
        None => Ok(Some(text)),
        Some(events) => {
            for event in events {
                format.add(&mut text, &event.into())?;
            }
            Ok(Some(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_quoted_and_never_a_formula() {
        let mut text = String::new();
        let event = json!({
            "id": "1", "detail": "=HYPERLINK(\"http://evil\")", "tool": "say \"hi\", now\nplease", "subject": "-1+1",
            "policies": ["a", "b"], "changes": [], "duration_ms": 12,
        });
        add_row(&mut text, &event);
        assert_eq!(
            text,
            "\"1\",,,,,,,,,,\"'-1+1\",\"say \"\"hi\"\", now\nplease\",,\"a b\",,,\"'=HYPERLINK(\"\"http://evil\"\")\",,,,,\"12\"\r\n"
        );
    }
}
