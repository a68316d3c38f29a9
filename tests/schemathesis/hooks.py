"""Loaded by Schemathesis: what a JSON schema cannot say of the values of some formats, and what to spare."""

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

# Only what a browser would write is an origin.
schemathesis.openapi.format("origin", st.sampled_from(("https://app.example.com", "http://localhost:5173")))

# A cursor holds a position, which in most lists is an id. It is opaque to everybody but us.
schemathesis.openapi.format(
    "cursor", st.uuids(version=4).map(lambda id: urlsafe_b64encode(str(id).encode()).decode().rstrip("="))
)

# What expires does so in the future, and the audit trail is asked for a month at most.
_TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
schemathesis.openapi.format(
    "date-time", st.integers(0, 20).map(lambda days: (_TOMORROW + timedelta(days=days)).isoformat())
)

# The caller, and the caller's own key: Schemathesis learns ids from answers, and without these two the rest
# of the run would see nothing but 401.
_SPARED = frozenset(os.environ.get("SPARED_IDS", "").split())


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    named = {str(value) for value in case.path_parameters.values()}
    return case.method.upper() == "GET" or not (named & _SPARED)
