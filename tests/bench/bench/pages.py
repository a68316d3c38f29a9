"""The sign-in page: the time to its first byte, its size with everything, and that it works without scripts."""

import json
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path
from statistics import median

from . import deputize, processes, setup
from .browser import Browser
from .cores import LOAD_CORE, pinned
from .deputize import ANOTHER_PROVIDER, Deputize
from .http import Refused, Request
from .paths import HERE, NODE
from .people import REDIRECT_URI, authorization_request, client_of
from .plan import Plan
from .report import Row, milliseconds

LOOK = HERE / "client" / "pages.mjs"
WITHIN_SECONDS = 120

OURS, PEER = "Deputize", "oidc-provider"
PEERS_CLIENT = "bench-app"
MOST_BYTES = 30_000


def measure(binary: Path, plan: Plan) -> tuple[list[Row], dict]:
    environment = {"DEPUTIZE_TRUSTED_ISSUERS": json.dumps([ANOTHER_PROVIDER])}
    with (
        deputize.started(binary, "deputize-pages", environment=environment) as server,
        processes.oidc_provider(people=True) as (_, peer_url),
    ):
        beginnings = {
            OURS: authorization_request(f"{server.url}/api/v1/oauth/authorize", client_of(server)),
            PEER: authorization_request(f"{peer_url}/auth", PEERS_CLIENT, scope="openid"),
        }
        ways, pages = _first_bytes(beginnings, plan)
        seen = {name: _look(url, server if name == OURS else None) for name, url in beginnings.items()}
    rows = [
        _timed("From an anonymous authorization request to the sign-in page's first byte", ways),
        _timed("Sign-in page, to its first byte", pages),
        _size(seen),
    ]
    return rows, {"ways_ms": ways, "pages_ms": pages, "seen": seen}


# Time to the first byte


def _first_bytes(beginnings: dict[str, str], plan: Plan) -> tuple[dict, dict]:
    """Milliseconds: to the first byte of the page at the end of the redirects, and of that page alone. In turn, each
    in a new browser on a new connection."""
    ways: dict[str, list[float]] = {name: [] for name in beginnings}
    pages: dict[str, list[float]] = {name: [] for name in beginnings}
    for turn in range(-plan.first_bytes // 10, plan.first_bytes):
        for name, url in beginnings.items():
            way, page = _first_byte(url)
            if turn >= 0:
                ways[name].append(way)
                pages[name].append(page)
    return ways, pages


def _first_byte(url: str) -> tuple[float, float]:
    browser = Browser()
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        while True:
            sent = time.perf_counter()
            head, came = _get(connection, url, browser)
            status = int(head.split(" ", 2)[1])
            fields = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
            browser.keep([value for name, value in fields if name.lower() == "set-cookie"])
            if status == 200:
                return (came - began) * 1000, (came - sent) * 1000
            location = next((value for name, value in fields if name.lower() == "location"), None)
            if location is None:
                raise Refused(Request(url, method="GET"), status, head)
            url = urllib.parse.urljoin(url, location)


def _get(connection: socket.socket, url: str, browser: Browser) -> tuple[str, float]:
    """The head of an answer, which is read to its end, and when its first byte came."""
    parts = urllib.parse.urlsplit(url)
    headers = {"host": parts.netloc, "accept": "text/html", **browser.headers()}
    lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    text = connection.recv(1 << 16)
    came = time.perf_counter()
    while b"\r\n\r\n" not in text:
        text += connection.recv(1 << 16)
    head, _, body = text.partition(b"\r\n\r\n")
    head = head.decode()
    length = next(
        int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")
    )
    while len(body) < length:
        body += connection.recv(1 << 16)
    return head, came


def _timed(what: str, took: dict[str, list[float]]) -> Row:
    ratio = median(took[OURS]) / median(took[PEER])
    return Row(what, _shown(took[OURS]), f"{PEER}'s development page: {_shown(took[PEER])}", f"{ratio:.2f}×")


def _shown(took: list[float]) -> str:
    p99 = sorted(took)[max(0, round(len(took) * 0.99) - 1)]
    return f"p50 {milliseconds(median(took))}, p99 {milliseconds(p99)}"


# Size


def _look(url: str, server: Deputize | None) -> dict:
    """What Chromium loads, with scripts off. At ours, a person goes on and signs in."""
    press = []
    if server:
        press = ["text=Demo", f'button[value="{server.env["DEMO_EMAIL"]}"]', 'button[value="allow"]']
    asked = {
        "url": url,
        "chromium": setup.chromium(),
        "until": REDIRECT_URI,
        "press": press,
    }
    done = subprocess.run(
        pinned(LOAD_CORE, [NODE, LOOK]),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{LOOK.name}: {done.stderr[-800:]}")
    return json.loads(done.stdout)


def _size(seen: dict[str, dict]) -> Row:
    def shown(one: dict) -> str:
        elsewhere = f", {one['elsewhere']} more asked of other hosts" if one["elsewhere"] else ""
        return f"{one['bytes'] / 1000:.1f} KB in {one['files']} files{elsewhere}"

    ours = seen[OURS]
    if "code=" not in ours["ended_at"]:
        raise RuntimeError(f"with scripts off a person ends at {ours['ended_at']}")
    return Row(
        "Sign-in page in Chromium with everything, as it comes",
        f"{shown(ours)}; signing in and allowing an app works with scripts off",
        f"{PEER}'s development page: {shown(seen[PEER])}",
        f"{ours['bytes'] / seen[PEER]['bytes']:.2f}×",
        f"≤ {MOST_BYTES / 1000:.0f} KB, nothing from elsewhere, no script",
        ours["bytes"] <= MOST_BYTES and not ours["elsewhere"] and not ours["scripts"],
    )
