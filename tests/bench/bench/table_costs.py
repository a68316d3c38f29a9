"""The cost of a token and of a call in DynamoDB: requests and units, as counted by the server's SDK client."""

from collections.abc import Callable
from dataclasses import replace

from . import http, mcp
from .deputize import Deputize, expect_echo, per_request
from .http import Request
from .people import Person, client_of
from .plan import Plan
from .report import Row

READS = {"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"}


def measure(server: Deputize, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    rows, costs = [], {}
    echo_server_id = server.register(upstream_url)

    def count(name: str, request: Request) -> None:
        count_each(name, request.send)

    def count_each(name: str, send: Callable[[], object]) -> None:
        costs[name] = cost = per_request(server, send, plan.counted_requests)
        rows.append(_row(name, cost))

    count("M2M token", server.m2m_token())
    count("OBO token", server.obo_token())
    count("M2M call", _echo(server, echo_server_id, server.as_agent()))
    count("OBO call", _echo(server, echo_server_id, server.on_behalf_of_alice()))
    count("user-key call", _echo(server, echo_server_id, server.with_api_key()))

    count("M2M call over /mcp", _mcp_echo(server, echo_server_id, server.as_agent()))
    count("user-key call over /mcp", _mcp_echo(server, echo_server_id, server.with_api_key()))

    alice = Person(server, client_of(server), server.env["DEMO_EMAIL"])
    tokens = alice.tokens(echo_server_id)
    as_app = http.bearer(tokens["access_token"])
    count("call over /mcp with a person's token", _mcp_echo(server, echo_server_id, as_app))
    refreshed = [tokens["refresh_token"]]
    count_each("refresh", lambda: refreshed.append(alice.refresh(refreshed[-1]).send()["refresh_token"]))
    codes = [alice.redemption(alice.code(echo_server_id)) for _ in range(plan.counted_requests + 1)]
    count_each("code exchange", lambda: codes.pop().send())

    oauth_server_id = server.env["SLACK_SERVER_ID"]
    own = server.grant("ALICE_API_KEY", oauth_server_id, shared=False)
    count("OBO call of an OAuth server, own grant", _any_tool(server, oauth_server_id))
    server.revoke_grant("ALICE_API_KEY", own)
    server.grant("CAROL_API_KEY", oauth_server_id, shared=True)
    count("OBO call of an OAuth server, shared grant", _any_tool(server, oauth_server_id))

    # These have no target, but they are a part of the bill.
    for name, request in server.management().items():
        costs[name] = cost = per_request(server, request.send, plan.counted_requests)
        rows.append(replace(_row(name, cost), target="", met=None))
    consent = alice.consent_page(echo_server_id)
    costs["consent page"] = cost = per_request(
        server, lambda: alice.browser.open(consent.url), plan.counted_requests
    )
    rows.append(replace(_row("consent page", cost), target="", met=None))
    return rows, costs


def _echo(server: Deputize, server_id: str, credential: dict[str, str]) -> Request:
    request = server.call_echo(server_id, credential)
    expect_echo(request.send())
    return request


def _mcp_echo(server: Deputize, server_id: str, credential: dict[str, str]) -> Request:
    request = mcp.echo_call(server.mcp_url(server_id), credential)
    expect_echo(mcp.result_of(request))
    return request


def _any_tool(server: Deputize, server_id: str) -> Request:
    """A call of the OAuth server's first read-only tool, with arguments that its schema accepts."""
    credential = server.on_behalf_of_alice()
    tools = server.tools(server_id, credential)
    tool = next((tool for tool in tools if tool["name"].startswith(("list", "get", "search"))), tools[0])
    schema = tool.get("inputSchema", {})
    properties = schema.get("properties", {})
    arguments = {name: _example(properties.get(name, {})) for name in schema.get("required", [])}
    return server.call(server_id, tool["name"], arguments, credential)


def _example(schema: dict):
    if "enum" in schema:
        return schema["enum"][0]
    return {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}.get(
        schema.get("type"), "bench"
    )


def _row(name: str, cost: dict) -> Row:
    shown = " + ".join(f"{count:g} {operation}" for operation, count in sorted(cost["requests"].items()))
    reads = sum(count for operation, count in cost["requests"].items() if operation in READS)
    writes = sum(count for operation, count in cost["requests"].items() if operation not in READS)
    return Row(
        f"DynamoDB for one {name}",
        f"{shown or 'nothing'}; {cost['read_units']:g} read units, {cost['write_units']:g} write units",
        target="≤ 1 read round trip, ≤ 1 write",
        met=reads <= 1 and writes <= 1,
    )
