"""What AWS does to requests, answers and streams, by its documentation. The service must work with it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from emulated.cloudfront import VIEWER, CloudFront
from emulated.deployment import SESSION_STREAMS_SECONDS, Deployment
from emulated.gateway import LIMIT_BYTES, wait_for
from emulated.talkative import Talkative
from harness.api import caller, done
from harness.demo_env import DemoEnv
from templates import REPOSITORY

SMOKE = REPOSITORY / "deploy" / "smoke"
ENDPOINT = "/api/v1/proxy/demo/mcp"
MCP = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
RENAMED = "x-amzn-remapped-www-authenticate"


def smoke(url: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SMOKE, url, *more], capture_output=True, text=True, check=False, env={})


@pytest.fixture(scope="module")
def without_the_edge(unchanged_server: Deployment) -> Iterator[CloudFront]:
    """The same deployment in a region without the other stack: its distribution runs no function."""
    config = unchanged_server.stack.synthesized.resources["Distribution"].properties["DistributionConfig"]
    behavior = {name: of for name, of in config["DefaultCacheBehavior"].items() if name != "LambdaFunctionAssociations"}
    sent_along = unchanged_server.stack.cloudfront.sent_along
    plain = CloudFront(config | {"DefaultCacheBehavior": behavior}, unchanged_server.stack.gateway, sent_along)
    yield plain
    plain.stop()


@pytest.fixture
def talkative(server: Deployment, demo: DemoEnv) -> Iterator[Talkative]:
    """A server with streams, which everyone may use."""
    talkative = Talkative()
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    done(alice.post("/api/v1/servers", json={"id": "talkative", "name": "Talkative", "url": talkative.url, "auth": "none"}))
    yield talkative
    talkative.stop()


def session_at(client: httpx.Client, path: str) -> dict[str, str]:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    begun = done(client.post(path, json=asked, headers=MCP))
    headers = MCP | {"mcp-session-id": begun.headers["mcp-session-id"]}
    done(client.post(path, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers))
    return headers


# --- WWW-Authenticate, and the way from a 401 to a token -----------------------------------------------


def test_a_401_has_its_challenge_by_its_own_name(unchanged_server: Deployment) -> None:
    refused = caller(unchanged_server).post(ENDPOINT, json={}, headers=MCP)
    assert refused.status_code == 401
    assert RENAMED not in refused.headers
    [led_to] = re.findall('resource_metadata="([^"]+)"', refused.headers["www-authenticate"])
    metadata = done(httpx.get(led_to)).json()
    assert metadata["resource"] == unchanged_server.url + ENDPOINT
    assert metadata["authorization_servers"] == [unchanged_server.url]


def test_without_the_edge_it_has_another_name_and_the_well_known_addresses_lead_on(without_the_edge: CloudFront) -> None:
    refused = httpx.post(without_the_edge.url + ENDPOINT, json={}, headers=MCP)
    assert refused.status_code == 401
    assert "www-authenticate" not in refused.headers
    assert refused.headers[RENAMED].startswith("Bearer realm=")
    for path in (f"oauth-protected-resource{ENDPOINT}", "oauth-authorization-server"):
        done(httpx.get(f"{without_the_edge.url}/.well-known/{path}"))


def test_a_page_reads_the_challenge_by_either_name(unchanged_server: Deployment) -> None:
    answer = caller(unchanged_server).get("/.well-known/oauth-authorization-server", headers={"origin": "https://a.example"})
    shown = answer.headers["access-control-expose-headers"].split(",")
    assert {"www-authenticate", RENAMED} <= set(shown)


# --- Past CloudFront -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/proxy/demo/tools"])
@pytest.mark.parametrize("headers", [{}, {"x-api-key": "guessed-guessed-guessed"}])
def test_nobody_gets_past_cloudfront(unchanged_server: Deployment, path: str, headers: dict[str, str]) -> None:
    refused = httpx.get(unchanged_server.stack.gateway.url + path, headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (403, "access_denied")
    assert refused.json().keys() == {"error", "error_description", "detail", "reason"}
    assert refused.headers["access-control-allow-origin"] == "*"


def test_a_users_key_comes_by_the_header_that_the_distribution_does_not_use(server: Deployment, demo: DemoEnv) -> None:
    """CloudFront puts its own key into `x-api-key`, in place of the caller's."""
    client = caller(server)
    assert done(client.get("/api/v1/me", headers={"x-auth-token": demo.BOB_API_KEY})).json()["id"] == demo.BOB_ID
    for path in ("/api/v1/me", "/api/v1/proxy/demo/tools"):
        assert client.get(path, headers={"x-api-key": demo.BOB_API_KEY}).status_code == 401


def test_what_a_caller_says_of_where_they_are_is_not_believed(server: Deployment, demo: DemoEnv) -> None:
    said = {"cloudfront-viewer-address": "192.0.2.1:1", "x-forwarded-for": "192.0.2.1", "x-api-key": "mine"}
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    done(alice.post("/api/v1/api-keys", json={"name": "where"}, headers=said))
    events = done(alice.get("/api/v1/audit-events")).json()
    [made] = [event for event in events if event["action"] == "api_key.create" and event.get("source_ip")][:1]
    assert made["source_ip"] == VIEWER


# --- Sizes and times -----------------------------------------------------------------------------------


def test_the_longest_token_fits_and_what_does_not_is_refused_in_our_form(unchanged_server: Deployment) -> None:
    """Including everything that CloudFront adds, and what an SDK sends."""
    client = caller(unchanged_server)
    client.headers.update(MCP | {"user-agent": "a" * 200, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "mcp-session-id": "s" * 700})
    fits = client.get("/api/v1/proxy/demo/tools", headers={"authorization": f"Bearer {'a' * 7168}"})
    assert (fits.status_code, fits.json()["error"]) == (401, "invalid_token")
    refused = client.get("/api/v1/me", headers={"authorization": f"Bearer {'a' * LIMIT_BYTES}"})
    assert refused.status_code == 431
    assert refused.json().keys() == {"error", "error_description", "detail", "reason"}


# --- Streams -------------------------------------------------------------------------------------------


def test_a_stream_comes_as_it_is_said_and_ends_before_it_costs_much(
    server: Deployment, demo: DemoEnv, talkative: Talkative
) -> None:
    path = "/api/v1/proxy/talkative/mcp"
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    headers = session_at(alice, path)
    began, first, last = time.monotonic(), 0.0, ""
    with alice.stream("GET", path, headers=headers) as stream:
        for line in stream.iter_lines():
            first = first or time.monotonic() - began
            last = line.removeprefix("id: ") if line.startswith("id: ") else last
    lasted = time.monotonic() - began
    assert first < SESSION_STREAMS_SECONDS / 2, "its first event came with the rest"
    assert SESSION_STREAMS_SECONDS - 1 < lasted < SESSION_STREAMS_SECONDS + 4
    # The client continues where it stopped.
    with alice.stream("GET", path, headers=headers | {"last-event-id": last}) as stream:
        assert stream.status_code == 200
    assert talkative.asked_from == [None, last]


def test_an_abandoned_stream_is_billed_to_its_end_which_comes_soon(
    server: Deployment, demo: DemoEnv, talkative: Talkative
) -> None:
    path = "/api/v1/proxy/talkative/mcp"
    proxy = server.stack.gateway.proxy
    alice = caller(server, api_key=demo.ALICE_API_KEY)
    headers = session_at(alice, path)
    wait_for(lambda: proxy.at_once() == 0, 5)
    before = len(proxy.billed)
    with alice.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        next(stream.iter_lines())
    # The client has disconnected, and the function was not told. Other calls do not wait for it.
    assert proxy.at_once() == 1
    assert caller(server).get("/api/v1/proxy/demo/tools").status_code == 401
    wait_for(lambda: proxy.at_once() == 0, SESSION_STREAMS_SECONDS + 4)
    assert max(proxy.billed[before:]) > SESSION_STREAMS_SECONDS - 1
    wait_for(lambda: talkative.open == 0, 5)


# --- deploy/smoke --------------------------------------------------------------------------------------


def test_the_smoke_test_finds_nothing_wrong(server: Deployment, demo: DemoEnv, talkative: Talkative) -> None:  # noqa: ARG001
    done_ = smoke(server.url, "--api-key", demo.ALICE_API_KEY, "--server", "talkative")
    assert done_.returncode == 0, done_.stdout + done_.stderr
    assert done_.stdout.splitlines()[-1] == "0 failed, 0 skipped"
    assert demo.ALICE_API_KEY not in done_.stdout
    # The account that it has made is disabled.
    accounts = done(caller(server, api_key=demo.ALICE_API_KEY).get("/api/v1/agent-accounts")).json()
    assert [one["active"] for one in accounts if one["name"].startswith("smoke test")] == [False]


def test_the_smoke_test_says_that_the_edge_is_missing(without_the_edge: CloudFront) -> None:
    found = smoke(without_the_edge.url)
    assert found.returncode == 1
    wrong = [line for line in found.stdout.splitlines() if line.startswith("FAIL")]
    assert any("WWW-Authenticate" in line and RENAMED in line for line in wrong), found.stdout


def test_the_smoke_test_says_that_it_is_the_wrong_address(unchanged_server: Deployment) -> None:
    found = smoke(unchanged_server.stack.gateway.url)
    assert found.returncode == 1
    assert "Come by the address that the service says it has" in found.stdout


def test_the_smoke_test_says_who_does_not_answer() -> None:
    found = smoke("http://127.0.0.1:9", "--timeout", "2")
    assert found.returncode == 1
    assert "was not answered" in found.stdout
