"""Runs last (see `conftest.py`): no function of this run has printed a secret that it received or sent."""

from __future__ import annotations

from deployed import Deployed, api_key, bearer, call_tool, m2m_token, obo_token
from harness.function import FUNCTIONS, Function
from harness.gateway import Request, answer, rest_api
from harness.secrets_ledger import LEDGER
from support.organization import MODERN


def test_functions_that_log_everything_of_ours_log_no_secret(deployed: Deployed) -> None:
    demo = deployed.demo
    verbose = ",".join(["info", *(f"deputize_{name}=trace" for name in ("core", "service", *FUNCTIONS))])
    asked: dict[str, list[Request]] = {
        "token": [m2m_token(demo), obo_token(demo)],
        "proxy": [
            call_tool(MODERN, "echo", api_key(demo.ALICE_API_KEY), text="hello"),
            call_tool(MODERN, "echo", bearer("broken." + demo.USER_TOKEN)),
        ],
        "admin": [Request("GET", "/api/v1/me", bearer(demo.USER_TOKEN), query={"access_token": demo.USER_TOKEN})],
    }
    for name, requests in asked.items():
        with deployed.start(name, DEPUTIZE_LOG=verbose) as function:
            for request in requests:
                _observed(function, request)
        assert function.output.text() != "", "it does log at that level"


def _observed(function: Function, request: Request) -> None:
    answered = answer(function.invoke(rest_api(request)))
    for name, value in (answered.json() if answered.body else {}).items():
        if name == "access_token":
            LEDGER.add(name, value)


def test_nothing_printed_during_the_whole_run_contains_a_secret() -> None:
    assert len(LEDGER) > 0
    assert LEDGER.printed() != ""
    assert LEDGER.leaks_in(LEDGER.printed()) == []
