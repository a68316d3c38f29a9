"""Loaded by Schemathesis: the values of some formats, which a JSON schema cannot describe, and the things to spare."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import schemathesis
from hypothesis import strategies as st

_POLICIES = (
    'forbid(principal, action, resource in Server::"unheard-of");',
    'permit(principal is User, action == Action::"call_tool", resource) when { principal.role == "admin" };',
    'permit(principal is Agent, action, resource == Tool::"demo/list_repos");',
)
schemathesis.openapi.format("cedar", st.sampled_from(_POLICIES))

# Only a text that a browser would write is an origin.
schemathesis.openapi.format("origin", st.sampled_from(("https://app.example.com", "http://localhost:5173")))

# A cursor contains a position, which is an id in most lists. It is opaque to clients.
def _cursors(prefix: str = "") -> st.SearchStrategy[str]:
    return st.uuids(version=4).map(lambda id: urlsafe_b64encode(f"{prefix}{id}".encode()).decode().rstrip("="))


schemathesis.openapi.format("cursor", _cursors())
schemathesis.openapi.format("feed-cursor", _cursors("FEED#"))

# Actions and outcomes are words, several with commas.
schemathesis.openapi.format("audit-actions", st.sampled_from(("policy.create", "tool.call,tool.list")))
schemathesis.openapi.format("audit-outcomes", st.sampled_from(("denied", "denied,failed")))

schemathesis.openapi.format("audit-actor", st.uuids(version=4).map(lambda id: f"agent:{id}"))

# Expiries must be in the future, and the audit trail is asked for at most a month.
_TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
schemathesis.openapi.format(
    "date-time", st.integers(0, 20).map(lambda days: (_TOMORROW + timedelta(days=days)).isoformat())
)

# The caller, and the caller's own key. Schemathesis learns ids from answers. Without these two, the rest of
# the run would only get 401.
_SPARED = frozenset(os.environ.get("SPARED_IDS", "").split())


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    named = {str(value) for value in case.path_parameters.values()}
    return case.method.upper() == "GET" or not (named & _SPARED)


# Nobody meets the state of a thing by chance, nor repeats a request. tests/contract/management tests these headers.
_NOT_BY_CHANCE = ("If-Match", "Idempotency-Key")


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, schema: dict) -> None:
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    for operation in operations:
        parameters = operation.get("parameters", [])
        operation["parameters"] = [each for each in parameters if each.get("name") not in _NOT_BY_CHANCE]
