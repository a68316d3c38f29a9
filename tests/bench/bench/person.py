"""A tool call with a person's token, which an app has, beside the same call with the person's API key."""

from . import http, load, mcp
from .deputize import Deputize, expect_echo
from .load import Load, Measured
from .people import Person, client_of
from .plan import Plan
from .report import Row, percentiles

APP, KEY = "a person's token", "an API key"
SHAPES = {"one at a time": Load(0, 1), "4 connections": Load(0, 4, think_ms=10)}
TARGET_RATIO = 1.1
# The difference is small, so more turns than elsewhere.
TURNS = 3


def measure(server: Deputize, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    server_id = server.register(upstream_url)
    alice = Person(server, client_of(server), server.env["DEMO_EMAIL"])
    credentials = {
        APP: http.bearer(alice.tokens(server_id)["access_token"]),
        KEY: server.with_api_key(),
    }
    requests = {
        name: mcp.echo_call(server.mcp_url(server_id), credential) for name, credential in credentials.items()
    }
    for request in requests.values():
        expect_echo(mcp.result_of(request))
        load.run(request, Load(plan.warm_up_seconds, 4, think_ms=10))

    rows, measured = [], {}
    for name, shape in SHAPES.items():
        timed = Load(plan.call_seconds, shape.connections, shape.think_ms)
        measured[name] = load.interleaved(requests, timed, plan.repetitions * TURNS)
        rows.append(_row(name, measured[name]))
    return rows, measured


def _row(shape: str, measured: dict[str, Measured]) -> Row:
    ratio = measured[APP].median("p50_ms") / measured[KEY].median("p50_ms")
    return Row(
        f"`tools/call` over /mcp with {APP}, {shape}",
        percentiles(measured[APP]),
        f"with {KEY}: {percentiles(measured[KEY])}",
        f"{ratio:.2f}×",
        f"≤ {TARGET_RATIO}×",
        ratio <= TARGET_RATIO,
    )
