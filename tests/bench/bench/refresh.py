"""Refreshes a second, each on one core: Deputize and oidc-provider, both rotating."""

import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

from . import http, load, processes
from .deputize import Deputize
from .load import Load, Measured, Sample
from .people import Person, client_of
from .plan import Plan
from .report import Row, percentiles, rate, times
from .tokens import expect_es256

OURS, PEER = "Deputize", "oidc-provider"
CONNECTIONS = 16
CLIENT = "bench-app"


@dataclass
class Refreshes:
    """Where one refreshes, as whom, and how new families begin. Each run has its own, since wrk forgets the answers
    that are under way at its end."""

    url: str
    client_id: str
    begin: Callable[[int], list[str]]

    def fields(self) -> dict[str, str]:
        return {"grant_type": "refresh_token", "client_id": self.client_id}

    def run(self, timed: Load) -> Sample:
        return load.run_script(
            "refresh.lua",
            self.url,
            timed,
            BENCH_FIELDS=urllib.parse.urlencode(self.fields()),
            BENCH_TOKENS="\n".join(self.begin(timed.connections)),
        )


def measure(server: Deputize, upstream_url: str, plan: Plan) -> tuple[list[Row], dict]:
    with processes.oidc_provider(people=True) as (_, url):
        both = {PEER: _peers(url), OURS: _ours(server, server.register(upstream_url))}
        for name, refreshes in both.items():
            _expect_rotation(name, refreshes)
            refreshes.run(Load(plan.warm_up_seconds, CONNECTIONS))
        run = Refreshes.run
        busy = load.interleaved(both, Load(plan.token_seconds, CONNECTIONS), plan.repetitions, run)
        alone = load.interleaved(both, Load(plan.call_seconds, 1), plan.repetitions, run)
    return [_throughput(busy), _latency(alone)], {"busy": busy, "alone": alone}


def _ours(server: Deputize, server_id: str) -> Refreshes:
    """One client, and a person for each connection: all installations of a client share its id."""
    client_id = client_of(server)
    people = [Person(server, client_id, f"bench-{number}@example.com") for number in range(CONNECTIONS)]

    def begin(count: int) -> list[str]:
        return [person.tokens(server_id)["refresh_token"] for person in people[:count]]

    return Refreshes(f"{server.url}/api/v1/oauth/token", client_id, begin)


def _peers(url: str) -> Refreshes:
    def begin(count: int) -> list[str]:
        return http.get(f"{url}/bench/refresh-tokens?count={count}").send()

    return Refreshes(f"{url}/token", CLIENT, begin)


def _expect_rotation(name: str, refreshes: Refreshes) -> None:
    """Both sides must do the same work: a JWT by ES256, and another refresh token, each time."""
    [token] = refreshes.begin(1)
    seen = {token}
    for turn in range(1, 4):
        request = http.post_form(refreshes.url, **refreshes.fields(), refresh_token=token)
        answer = expect_es256(name, request)
        token = answer["refresh_token"]
        seen.add(token)
        if len(seen) != turn + 1 or "id_token" in answer:
            raise RuntimeError(f"{name} answers a refresh with {sorted(answer)}, not with a new refresh token")


def _throughput(measured: dict[str, Measured]) -> Row:
    ratio = measured[OURS].median("per_second") / measured[PEER].median("per_second")
    return Row(
        f"Refreshes, {CONNECTIONS} connections, one core",
        rate(measured[OURS]),
        f"{PEER} with rotation: {rate(measured[PEER])}",
        times(ratio),
    )


def _latency(measured: dict[str, Measured]) -> Row:
    ratio = measured[OURS].median("p50_ms") / measured[PEER].median("p50_ms")
    return Row(
        "Refreshes, one at a time",
        percentiles(measured[OURS]),
        f"{PEER} with rotation: {percentiles(measured[PEER])}",
        f"{times(ratio)} of its p50",
    )
