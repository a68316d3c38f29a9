"""The functions as deployed, on this machine: release binaries behind a Runtime API, on one table. For comparison,
the smallest possible functions, built by the same command."""

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.function import FUNCTIONS, Function, archive, environment
from harness.gateway import Request, answer, rest_api
from harness.private_address import private_address
from harness.runtime_api import Invocation

from . import deputize, processes
from .cores import LOAD_CORE, SERVER_CORE
from .deputize import Deputize

HELLO = "hello"
HELLO_TABLE = "hello-table"


@dataclass
class Deployment:
    """Everything that a function needs around it, and a request for each function."""

    server: Deputize
    environment: dict[str, str]
    requests: dict[str, Request]
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
}
OPERATIONS = {
    "M2M token": "token",
    "OBO token": "token",
    "M2M call": "proxy",
    "OBO call": "proxy",
    "user-key call": "proxy",
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
            environment(server.url, server.data, table_url),
            _requests(server, server.register(upstream_url)),
        )


def _requests(server: Deputize, echo_server_id: str) -> dict[str, Request]:
    asked = {
        "M2M token": server.m2m_token(),
        "OBO token": server.obo_token(),
        "M2M call": server.call_echo(echo_server_id, server.as_agent()),
        "OBO call": server.call_echo(echo_server_id, server.on_behalf_of_alice()),
        "user-key call": server.call_echo(echo_server_id, server.with_api_key()),
        **server.management(),
    }
    return {
        name: Request(each.method, each.url.removeprefix(server.url), each.headers, each.body)
        for name, each in asked.items()
    }


def ask(function: Function, request: Request) -> Invocation:
    """Waits for the complete answer, which must be a success."""
    invocation = function.invoke(rest_api(request))
    answered = answer(invocation)
    if answered.status != 200:
        raise RuntimeError(f"{request.method} {request.path} answered {answered.status}: {answered.body[:400]}")
    return invocation


def on_cpu_ms(function: Function) -> float:
    """The processor time of all threads. It does not depend on other processes that want the core."""
    tasks = Path(f"/proc/{function.process.pid}/task")
    return sum(int((tasks / task / "schedstat").read_text().split()[0]) for task in os.listdir(tasks)) / 1e6
