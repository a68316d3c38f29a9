//! What the policies are asked about a request, and which lists are filtered to their permitted entries.

use std::{borrow::Cow, fmt};

use deputize_core::{
    Error, Result,
    access::{Access, PolicyContext},
    audit::Action,
    error::{Told, UpstreamFailure},
    policies::Operation,
    wording,
};
use deputize_service::extract;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::fields::{Fields, shadows};
use crate::call_audit::{CallAudit, MAX_TOOL_NAME};

/// The most resources that one request can be about. Each of them is judged.
const MAX_RESOURCES: usize = 1_000;
/// The most entries that a list can have on one page. Each of them is judged.
const MAX_ENTRIES: usize = 5_000;

/// A request, as policies and the audit trail see it.
#[derive(Debug)]
pub(super) enum ClientRequest<'a> {
    CallTool {
        name: Cow<'a, str>,
        arguments: Option<&'a RawValue>,
    },
    ReadResources(Vec<Cow<'a, str>>),
    GetPrompt {
        name: Cow<'a, str>,
        arguments: Option<&'a RawValue>,
    },
    /// A list, of which only the permitted entries are shown.
    List(List),
    /// A request that by itself tells nothing and does nothing.
    Free,
    /// Any other method.
    Other,
}

/// What some revision of the protocol has and nothing else here speaks of: tasks
/// ([2025-11-25](https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks), and the extension that
/// they became).
const TASKS: &str = "tasks/";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Located<'a> {
    #[serde(borrow)]
    uri: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow, rename = "ref")]
    of: &'a RawValue,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Listen<'a> {
    #[serde(borrow, default)]
    notifications: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Wanted<'a> {
    #[serde(borrow, default, rename = "resourceSubscriptions")]
    resources: AtMost<Uri<'a>, MAX_RESOURCES>,
}

/// A URI. It is borrowed if it holds no escapes.
#[derive(Deserialize)]
struct Uri<'a>(#[serde(borrow)] Cow<'a, str>);

/// An array, of which no more than so many entries are kept.
pub(super) struct AtMost<T, const MAX: usize> {
    pub(super) entries: Vec<T>,
    pub(super) has_more: bool,
}

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> Self {
        Self { entries: Vec::new(), has_more: false }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for AtMost<T, MAX> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self, A::Error> {
        while self.entries.len() < MAX {
            match seq.next_element()? {
                Some(entry) => self.entries.push(entry),
                None => return Ok(self),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            self.has_more = true;
        }
        Ok(self)
    }
}

impl<'a> ClientRequest<'a> {
    pub(super) fn read(method: &str, params: Option<&'a RawValue>) -> Result<Self> {
        Ok(match method {
            "tools/call" => {
                let Named { name, arguments } = read(params)?;
                let fits = !name.is_empty() && name.chars().count() <= MAX_TOOL_NAME;
                if !fits || name.contains(char::is_control) {
                    return Err(Error::invalid(format!(
                        "name must have 1 to {MAX_TOOL_NAME} characters, none of them a control character"
                    )));
                }
                Self::CallTool { name, arguments }
            }
            "prompts/get" => {
                let Named { name, arguments } = read(params)?;
                Self::GetPrompt { name, arguments }
            }
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                Self::ReadResources(vec![read::<Located<'_>>(params)?.uri])
            }
            "completion/complete" => match read_inner::<Reference<'_>>(
                read::<Completion<'_>>(params)?.of,
                &["type", "name", "uri"],
            )? {
                Reference { kind, name: Some(name), .. } if kind == "ref/prompt" => {
                    Self::GetPrompt { name, arguments: None }
                }
                Reference { kind, uri: Some(uri), .. } if kind == "ref/resource" => {
                    Self::ReadResources(vec![uri])
                }
                _ => return Err(Error::invalid("ref names neither a prompt nor a resource")),
            },
            "subscriptions/listen" => match params {
                Some(params) => match read::<Listen<'_>>(Some(params))?.notifications {
                    Some(wanted) => {
                        let wanted = read_inner::<Wanted<'_>>(wanted, &["resourceSubscriptions"])?;
                        let AtMost { entries, has_more } = wanted.resources;
                        if has_more {
                            let why = format!("params: more than {MAX_RESOURCES} resourceSubscriptions");
                            return Err(Error::invalid(why));
                        }
                        Self::ReadResources(entries.into_iter().map(|uri| uri.0).collect())
                    }
                    None => Self::Free,
                },
                None => Self::Free,
            },
            "tools/list" => Self::List(List::Tools),
            "prompts/list" => Self::List(List::Prompts),
            "resources/list" => Self::List(List::Resources),
            "resources/templates/list" => Self::List(List::ResourceTemplates),
            "initialize" | "ping" | "server/discover" | "logging/setLevel" => Self::Free,
            _ => Self::Other,
        })
    }

    /// Whether no revision of the protocol has the method. The policies are asked about it all the same, since it may be a
    /// server's own. If they do not permit it, it is answered as by a server that does not have it: that is what a client
    /// wants to find out, and it tells nothing of the server, which is not asked.
    pub(super) fn is_of_no_revision(&self, method: &str) -> bool {
        matches!(self, Self::Other) && !method.starts_with(TASKS)
    }

    pub(super) fn action(&self) -> Action {
        match self {
            Self::CallTool { .. } => Action::ToolCall,
            Self::List(List::Tools) => Action::ToolList,
            Self::ReadResources(uris) if !uris.is_empty() => Action::ResourceRead,
            Self::GetPrompt { .. } => Action::PromptGet,
            Self::ReadResources(_) | Self::List(_) | Self::Free | Self::Other => Action::McpRequest,
        }
    }

    /// Notes in the trail what is requested.
    pub(super) fn note(&self, audit: &mut CallAudit, method: &str) {
        let short = |text: &str| text.chars().take(MAX_TOOL_NAME).collect::<String>();
        let subject = match self {
            Self::CallTool { name, arguments } => {
                audit.tool(name, arguments.map_or("{}", RawValue::get));
                return;
            }
            Self::ReadResources(uris) if !uris.is_empty() => format!("resource:{}", short(&uris[0])),
            Self::GetPrompt { name, .. } => format!("prompt:{}", short(name)),
            Self::ReadResources(_) | Self::List(_) | Self::Free | Self::Other => {
                format!("method:{}", short(method))
            }
        };
        audit.event.subject = Some(subject);
    }

    /// Asks the policies. Other tasks get their turn between two questions.
    pub(super) async fn authorize(
        &self,
        access: &Access,
        audit: &mut CallAudit,
        method: &str,
        context: PolicyContext<'_>,
    ) -> Result<()> {
        let mut require = |operation: Operation<'_>, arguments: Option<&RawValue>| {
            audit.require_permitted(access, operation, arguments, context)
        };
        match self {
            Self::CallTool { name, arguments } => {
                // A call without arguments is judged as a call with none, and not as a tool that is only listed.
                let none = RawValue::from_string("{}".to_owned()).map_err(Error::internal)?;
                require(Operation::CallTool(name), Some(arguments.unwrap_or(&none)))
            }
            Self::GetPrompt { name, arguments } => require(Operation::GetPrompt(name), *arguments),
            Self::ReadResources(uris) => {
                for uri in uris {
                    require(Operation::ReadResource(uri), None)?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Self::Other => require(Operation::SendRequest(method), None),
            Self::List(_) | Self::Free => Ok(()),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<T> {
    let params = params.ok_or_else(|| Error::invalid("params is missing"))?;
    serde_json::from_str(params.get()).map_err(|error| {
        // Read again, since this reader also knows where it is.
        let why = extract::parse_json::<T>(params.get().as_bytes()).err();
        let why = why.map_or_else(|| wording::of_json(".", &error), |why| why.to_string());
        let why = match why.strip_prefix("the body ") {
            Some(of_all) => format!("params: {of_all}"),
            None => format!("params.{why}"),
        };
        Error::Invalid(Told::new(why).because(error))
    })
}

/// Reads an object in the parameters. It is refused if a name differs from one of `known` only by its case.
fn read_inner<'a, T: Deserialize<'a>>(object: &'a RawValue, known: &[&str]) -> Result<T> {
    if shadows(object.get().as_bytes(), known) {
        return Err(Error::invalid(format!(
            "params: an object with {} in it must be one in which nothing occurs twice, in whatever case",
            known.join(", ")
        )));
    }
    read(Some(object))
}

impl List {
    pub(super) const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::ResourceTemplates];

    /// The field that holds the list, and the field of an entry by which it is judged.
    fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::Tools => ("tools", "name"),
            Self::Prompts => ("prompts", "name"),
            Self::Resources => ("resources", "uri"),
            Self::ResourceTemplates => ("resourceTemplates", "uriTemplate"),
        }
    }

    fn operation(self, name: &str) -> Operation<'_> {
        match self {
            Self::Tools => Operation::CallTool(name),
            Self::Prompts => Operation::GetPrompt(name),
            Self::Resources => Operation::ReadResource(name),
            Self::ResourceTemplates => Operation::ReadAnyOf(name),
        }
    }

    /// Leaves in a result only the entries that the caller may use, and of these only the tools that are not held back.
    /// Their order and their bytes stay. Other tasks get their turn between two entries.
    pub(super) async fn filter(
        self,
        result: &mut Fields<'_>,
        access: &Access,
        context: PolicyContext<'_>,
        mut is_shown: impl FnMut(&RawValue) -> bool,
    ) -> Result<()> {
        let (list, name) = self.fields();
        let Some(entries) = result.get(list) else { return Ok(()) };
        let AtMost::<&RawValue, MAX_ENTRIES> { entries, has_more } =
            serde_json::from_str(entries.get()).map_err(|_| no_list("no list"))?;
        if has_more {
            return Err(no_list(&format!("a list of more than {MAX_ENTRIES}")));
        }
        let mut permitted = Vec::with_capacity(entries.len());
        for entry in entries {
            tokio::task::yield_now().await;
            // An entry without a name cannot be requested.
            let Some(named) = Fields::of(entry) else { continue };
            let Some(name) = named.get(name) else { continue };
            let Ok(name) = serde_json::from_str::<Cow<'_, str>>(name.get()) else { continue };
            let is_possible = access.could_permit(self.operation(&name), context)?;
            if is_possible && (self != Self::Tools || is_shown(entry)) {
                permitted.push(entry.to_owned());
            }
        }
        let permitted = serde_json::value::to_raw_value(&permitted).map_err(Error::internal)?;
        result.set(list, permitted);
        Ok(())
    }
}

fn no_list(what: &str) -> Error {
    Error::Upstream {
        kind: UpstreamFailure::Bad,
        detail: format!("The MCP server breaks the protocol: {what}"),
        may_have_run: false,
        cause: None,
    }
}
