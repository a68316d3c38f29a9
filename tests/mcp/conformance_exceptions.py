"""Checks of the conformance suite with a worse result through Deputize than directly at the server, and why.

Directly, the suite tests a server of its own revision. Through Deputize it also tests a server of the other era,
which offers less than the suite expects. If an exception is no longer one, the test fails, so that it gets
removed.
"""

from __future__ import annotations

from dataclasses import dataclass

from support.organization import CONFORMANCE, CONFORMANCE_MODERN


@dataclass(frozen=True)
class Less:
    """`check` is one of the scenario's checks; if it is left out, all of them."""

    reason: str
    scenario: str
    check: str | None = None

    def covers(self, scenario: str, check: str) -> bool:
        return self.scenario == scenario and self.check in (None, check)


_NO_SESSION_STREAM = "a stateless server has no session, over whose stream it could ask the client something"
_NO_SUBSCRIPTION = "a stateless server keeps no subscription"
_NO_LOG_LEVEL = "a stateless server keeps no log level"
_PLAIN_ANSWER = (
    "a stateless server answers without a stream if there is nothing to stream, or to come back for"
)
_NOTHING_ENDS = (
    "a session at a stateless server is a sealed description of the client, of which nothing is kept"
)

_HANDSHAKE_CLIENT_AT_STATELESS_SERVER = [
    Less(_NO_SESSION_STREAM, "tools-call-sampling"),
    Less(_NO_SESSION_STREAM, "tools-call-elicitation"),
    Less(_NO_SESSION_STREAM, "elicitation-sep1034-defaults"),
    Less(_NO_SESSION_STREAM, "elicitation-sep1330-enums"),
    Less(_NO_SUBSCRIPTION, "resources-subscribe"),
    Less(_NO_SUBSCRIPTION, "resources-unsubscribe"),
    Less(_NO_LOG_LEVEL, "logging-set-level"),
    Less(_NO_LOG_LEVEL, "tools-call-with-logging"),
    Less(_PLAIN_ANSWER, "server-sse-polling"),
    Less(_PLAIN_ANSWER, "server-sse-multiple-streams"),
    Less(_NOTHING_ENDS, "server-session-lifecycle"),
]

_CANNOT_BE_ASKED = (
    "a handshake server asks by requests over a session's stream, which a stateless client does not have; so it "
    "is told that the client cannot be asked"
)
_NO_ANNOTATIONS = "tools of a handshake server have no parameters for headers"
_LISTENS_TO_NOTHING = "a handshake server's subscriptions are those of a session"

EXCEPTIONS: dict[tuple[str, str], list[Less]] = {
    ("2025-11-25", CONFORMANCE_MODERN): _HANDSHAKE_CLIENT_AT_STATELESS_SERVER,
    ("2026-07-28", CONFORMANCE): [
        *(
            Less(_CANNOT_BE_ASKED, f"input-required-result-{scenario}")
            for scenario in [
                "basic-elicitation",
                "basic-sampling",
                "basic-list-roots",
                "request-state",
                "multiple-input-requests",
                "multi-round",
                "missing-input-response",
                "non-tool-request",
                "result-type",
                "tampered-state",
                "capability-check",
                "validate-input",
            ]
        ),
        Less(_CANNOT_BE_ASKED, "server-stateless", "sep-2575-server-rejects-undeclared-capability"),
        Less(_CANNOT_BE_ASKED, "server-stateless", "sep-2575-missing-capability-http-400"),
        Less(_NO_ANNOTATIONS, "http-custom-header-server-validation"),
        *(
            Less(_LISTENS_TO_NOTHING, "server-stateless", f"sep-2575-server-{check}")
            for check in [
                "sends-subscription-ack",
                "tags-subscription-id",
                "honors-notification-filter",
                "sends-prompts-list-changed-on-subscription",
                "sends-tools-list-changed-on-subscription",
            ]
        ),
    ],
}
