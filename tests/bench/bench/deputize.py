"""Our server: started on an empty data directory, and the requests that the benchmark sends to it."""

import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from . import http
from .cores import SERVER_CORE
from .http import Request
from .mcp import ECHO_ARGUMENTS, ECHO_TOOL
from .paths import OUTPUT
from .processes import Process, running

SEED_WITHIN_SECONDS = 1800

# With a second provider, a page asks by which one. Nothing is ever asked of this one.
ANOTHER_PROVIDER = {
    "issuer": "http://127.0.0.1:9/issuer",
    "sign_in": {"client_id": "bench", "id": "another", "name": "Another"},
}


class Deputize:
    def __init__(self, process: Process, url: str, data: Path):
        self.process = process
        self.url = url
        self.data = data
        self.env = _read_env(data / "demo.env")
        self._registered: dict[str, str] = {}

    # Tokens

    def m2m_token(self) -> Request:
        return self._token_request()

    def obo_token(self, user_id: str | None = None) -> Request:
        return self._token_request(
            actor_token=user_id or self.env["USER_ID"], actor_token_type="urn:runlayer:token-type:user-id"
        )

    def _token_request(self, **more: str) -> Request:
        return http.post_form(
            f"{self.url}/api/v1/oauth/token",
            grant_type="client_credentials",
            client_id=self.env["CLIENT_ID"],
            client_secret=self.env["CLIENT_SECRET"],
            **more,
        )

    def as_agent(self) -> dict[str, str]:
        return http.bearer(self.m2m_token().send()["access_token"])

    def on_behalf_of_alice(self) -> dict[str, str]:
        return http.bearer(self.obo_token().send()["access_token"])

    def with_api_key(self, name: str = "API_KEY") -> dict[str, str]:
        return {"x-runlayer-api-key": self.env[name]}

    # Calls

    def call(self, server_id: str, tool: str, arguments: dict, credential: dict[str, str]) -> Request:
        return http.post_json(
            f"{self.url}/api/v1/proxy/{server_id}/tools",
            {"tool_name": tool, "arguments": arguments},
            credential,
        )

    def call_echo(self, server_id: str, credential: dict[str, str]) -> Request:
        return self.call(server_id, ECHO_TOOL, ECHO_ARGUMENTS, credential)

    def mcp_url(self, server_id: str) -> str:
        return f"{self.url}/api/v1/proxy/{server_id}/mcp"

    def tools(self, server_id: str, credential: dict[str, str]) -> list[dict]:
        answer = http.get(f"{self.url}/api/v1/proxy/{server_id}/tools", credential).send()
        return answer["tools"] if isinstance(answer, dict) else answer

    # Administration

    def register(self, upstream_url: str) -> str:
        """Registers the MCP server once, permits everyone to call its tools, and returns its id."""
        if upstream_url not in self._registered:
            self._registered[upstream_url] = self._register(upstream_url)
        return self._registered[upstream_url]

    def _register(self, upstream_url: str) -> str:
        admin = http.bearer(self.env["ADMIN_TOKEN"])
        server = http.post_json(
            f"{self.url}/api/v1/servers", {"name": "bench", "url": upstream_url}, admin
        ).send()
        text = f'permit(principal, action == Action::"call_tool", resource in Server::"{server["id"]}");'
        http.post_json(f"{self.url}/api/v1/policies", {"name": "bench", "text": text}, admin).send()
        return server["id"]

    def management(self) -> dict[str, Request]:
        """The lists and items that a user looks at, by name."""
        account = f"{self.url}/api/v1/agent-accounts/{self.env['AGENT_ACCOUNT_ID']}"
        paths = {
            "list of delegations": f"{account}/delegations",
            "list of grants": f"{account}/session-grants",
            "who am I": f"{self.url}/api/v1/me",
        }
        return {name: http.get(url, self.with_api_key()) for name, url in paths.items()}

    def grant(self, key_name: str, server_id: str, shared: bool) -> str:
        agent = self.env["AGENT_ACCOUNT_ID"]
        return http.post_json(
            f"{self.url}/api/v1/agent-accounts/{agent}/session-grants",
            {"server_id": server_id, "shared": shared},
            self.with_api_key(key_name),
        ).send()["id"]

    def revoke_grant(self, key_name: str, grant_id: str) -> None:
        url = f"{self.url}/api/v1/session-grants/{grant_id}"
        Request(url, self.with_api_key(key_name), None, "DELETE").send()

    def table_stats(self) -> dict:
        return http.get(f"{self.url}/local/table-stats").send()


@contextmanager
def started(
    binary: Path,
    name: str = "deputize",
    seed: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
):
    """The server with its own data directory, on the disk of `target`, not in memory."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix=f"data-{name}-", dir=OUTPUT))
    try:
        if seed:
            _seed(binary, data, seed)
        command = [binary, "--port", "0", "--data-dir", data, *flags]
        with running(name, SERVER_CORE, command, environment) as (process, url):
            yield Deputize(process, url, data)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _seed(binary: Path, data: Path, seed: tuple[str, ...]) -> None:
    command = [binary, "--port", "0", *seed, "--data-dir", data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SEED_WITHIN_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"`deputize {' '.join(seed)}` failed: {done.stderr[-400:]}")


def per_request(server: Deputize, send: Callable[[], object], requests: int) -> dict:
    """What one request costs in the table: requests by their operation, and units."""
    send()  # what only a first request does (keys, policies, the upstream's era) isn't counted
    before = server.table_stats()
    for _ in range(requests):
        send()
    after = server.table_stats()
    operations = {
        name: (count - before["requests"].get(name, 0)) / requests for name, count in after["requests"].items()
    }
    return {
        "requests": {name: count for name, count in operations.items() if count},
        "read_units": (after["read_units"] - before["read_units"]) / requests,
        "write_units": (after["write_units"] - before["write_units"]) / requests,
    }


def _read_env(path: Path) -> dict[str, str]:
    lines = re.findall(r"^(?:export\s+)?(\w+)=(.*)$", path.read_text(), re.MULTILINE)
    return {name: "".join(shlex.split(value)) for name, value in lines}


def expect_echo(result: dict) -> None:
    """A tool's error has status 200, which the load generator would count as a success."""
    if result.get("isError") or result["content"][0]["text"] != ECHO_ARGUMENTS["message"]:
        raise RuntimeError(f"the echo tool answered {json.dumps(result)}")
