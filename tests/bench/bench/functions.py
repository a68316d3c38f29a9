"""The functions as deployed, on this machine: release binaries behind a Runtime API, on one table. For comparison,
the smallest possible functions, built by the same command."""

import json
import os
import urllib.parse
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import function as harness_function
from harness.function import Function, archive, environment
from harness.gateway import Request, answer, rest_api
from harness.private_address import private_address
from harness.runtime_api import Invocation

from . import deputize, http, mcp, processes
from .cores import LOAD_CORE, SERVER_CORE
from .deputize import ANOTHER_PROVIDER, Deputize
from .people import Person, client_of

HELLO = "hello"
HELLO_TABLE = "hello-table"
FUNCTIONS = harness_function.FUNCTIONS


class Refreshes:
    """A refresh, again and again: each has the token that the last one gave."""

    def __init__(self, person: Person, refresh_token: str):
        self._person = person
        self._token = refresh_token

    def request(self) -> Request:
        return _as_event(self._person.server, self._person.refresh(self._token))

    def note(self, body: str) -> None:
        self._token = json.loads(body)["refresh_token"]


@dataclass
class Deployment:
    """Everything that a function needs around it, and a request for each function."""

    server: Deputize
    environment: dict[str, str]
    requests: dict[str, Request | Refreshes]
    """By what is asked; those of `FIRST` are what a function is first asked."""

    def start(self, binary: str) -> Function:
        """A new process, alone on the core for measured processes."""
        return Function(binary, self.environment, SERVER_CORE)


FIRST = {
    "token": "M2M token",
    "delegations": "list of delegations",
    "grants": "list of grants",
    "proxy": "M2M call",
    "admin": "who am I",
    "console": "sign-in page",
}
OPERATIONS = {
    "M2M token": "token",
    "OBO token": "token",
    "M2M call": "proxy",
    "OBO call": "proxy",
    "user-key call": "proxy",
    "user-key call over /mcp": "proxy",
    "call over /mcp with a person's token": "proxy",
    "refresh": "token",
    "sign-in page": "console",
    "consent page": "console",
    "list of delegations": "delegations",
    "list of grants": "grants",
    "who am I": "admin",
}


def binary(function: str) -> str:
    return f"deputize-{function}"


def missing() -> str | None:
    """What must be built first."""
    try:
        for name in [*map(binary, FUNCTIONS), HELLO, HELLO_TABLE]:
            archive(name)
    except AssertionError as error:
        return str(error)
    return None


@contextmanager
def deployment(server_binary: Path):
    with ExitStack() as stack:
        _, upstream_url = stack.enter_context(processes.upstream(private_address()))
        _, table_url = stack.enter_context(processes.table())
        flags = ("--dynamodb-url", table_url)
        server = stack.enter_context(deputize.started(server_binary, "deputize-beside", flags=flags))
        # The Runtime API is this process. It shares its core with everything that is not measured.
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {LOAD_CORE})
        yield Deployment(
            server,
            _with_sign_in(environment(server.url, server.data, table_url)),
            _requests(server, server.register(upstream_url)),
        )


def _with_sign_in(variables: dict[str, str]) -> dict[str, str]:
    """People sign in by the demo's provider, or by another."""
    issuers = json.loads(variables["DEPUTIZE_TRUSTED_ISSUERS"])
    issuers[0]["sign_in"] = {"client_id": "deputize-console", "id": "demo", "name": "Demo"}
    return variables | {"DEPUTIZE_TRUSTED_ISSUERS": json.dumps([*issuers, ANOTHER_PROVIDER])}


def _requests(server: Deputize, echo_server_id: str) -> dict[str, Request | Refreshes]:
    alice = Person(server, client_of(server), server.env["DEMO_EMAIL"])
    tokens = alice.tokens(echo_server_id)
    endpoint = server.mcp_url(echo_server_id)
    asked = {
        "M2M token": server.m2m_token(),
        "OBO token": server.obo_token(),
        "M2M call": server.call_echo(echo_server_id, server.as_agent()),
        "OBO call": server.call_echo(echo_server_id, server.on_behalf_of_alice()),
        "user-key call": server.call_echo(echo_server_id, server.with_api_key()),
        "user-key call over /mcp": mcp.echo_call(endpoint, server.with_api_key()),
        "call over /mcp with a person's token": mcp.echo_call(endpoint, http.bearer(tokens["access_token"])),
        "sign-in page": http.get(f"{server.url}/sign-in"),
        "consent page": alice.consent_page(echo_server_id),
        **server.management(),
    }
    requests = {name: _as_event(server, each) for name, each in asked.items()}
    return {**requests, "refresh": Refreshes(alice, tokens["refresh_token"])}


def _as_event(server: Deputize, request: http.Request) -> Request:
    path, _, query = request.url.removeprefix(server.url).partition("?")
    return Request(request.method, path, request.headers, request.body, dict(urllib.parse.parse_qsl(query)))


def ask(function: Function, asked: Request | Refreshes) -> Invocation:
    """Waits for the complete answer, which must be a success."""
    request = asked.request() if isinstance(asked, Refreshes) else asked
    invocation = function.invoke(rest_api(request))
    answered = answer(invocation)
    if answered.status != 200:
        raise RuntimeError(f"{request.method} {request.path} answered {answered.status}: {answered.body[:400]}")
    if isinstance(asked, Refreshes):
        asked.note(answered.body)
    return invocation


def on_cpu_ms(function: Function) -> float:
    """The processor time of all threads. It does not depend on other processes that want the core."""
    tasks = Path(f"/proc/{function.process.pid}/task")
    return sum(int((tasks / task / "schedstat").read_text().split()[0]) for task in os.listdir(tasks)) / 1e6
