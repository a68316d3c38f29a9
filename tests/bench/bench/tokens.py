"""Tokens a second, each on one core: Deputize and oidc-provider."""

import base64
import json

from . import http, load, processes
from .deputize import Deputize
from .load import Load, Measured
from .plan import Plan
from .report import MISSING, Row, percentiles, rate, times

PEER = "oidc-provider"
CONNECTIONS = 16
TARGET_RATIO = 5


def measure(server: Deputize | None, plan: Plan) -> tuple[list[Row], dict]:
    with processes.oidc_provider() as (peer, url):
        requests = {PEER: _peer_request(url)}
        if server:
            requests |= {"M2M": server.m2m_token(), "OBO by user UUID": server.obo_token()}
        for name, request in requests.items():
            expect_es256(name, request)
            load.run(request, Load(plan.warm_up_seconds, CONNECTIONS))
        busy = load.interleaved(requests, Load(plan.token_seconds, CONNECTIONS), plan.repetitions)
        alone = load.interleaved(requests, Load(plan.call_seconds, 1), plan.repetitions)
        resident = peer.resident_mib()

    rows = []
    for name in ["M2M", "OBO by user UUID"]:
        rows.append(_throughput(name, busy))
        rows.append(_latency(name, alone))
    return rows, {"busy": busy, "alone": alone, "peer_resident_mib": resident}


def _peer_request(url: str) -> http.Request:
    return http.post_form(
        f"{url}/token",
        grant_type="client_credentials",
        client_id="bench",
        client_secret="bench-secret-bench-secret-bench-secret-bench",
        scope="tools",
    )


def expect_es256(name: str, request: http.Request) -> dict:
    """Both sides must do the same work. Opaque or RSA tokens would make it another benchmark."""
    answer = request.send()
    header = answer["access_token"].split(".")[0]
    algorithm = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["alg"]
    if algorithm != "ES256":
        raise RuntimeError(f"{name} signs with {algorithm}, not ES256")
    return answer


def _throughput(name: str, measured: dict[str, Measured]) -> Row:
    what = f"Tokens, {name}, {CONNECTIONS} connections, one core"
    peer = measured[PEER]
    beside = f"{PEER}: {rate(peer)}"
    if name not in measured:
        return Row(what, MISSING, beside)
    ratio = measured[name].median("per_second") / peer.median("per_second")
    return Row(what, rate(measured[name]), beside, times(ratio), f"≥ {TARGET_RATIO}×", ratio >= TARGET_RATIO)


def _latency(name: str, measured: dict[str, Measured]) -> Row:
    what = f"Tokens, {name}, one at a time"
    peer = measured[PEER]
    beside = f"{PEER}: {percentiles(peer)}"
    if name not in measured:
        return Row(what, MISSING, beside)
    ratio = measured[name].median("p50_ms") / peer.median("p50_ms")
    return Row(what, percentiles(measured[name]), beside, f"{times(ratio)} of its p50")
