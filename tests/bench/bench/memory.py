"""The most memory that the server takes while many large calls are under way."""

import json
import socket
import threading
import urllib.parse

from .deputize import Deputize
from .mcp import ECHO_TOOL
from .report import Row

CALLS = 200
"""At once. None is complete before all have sent everything but their last byte."""
TEXT_BYTES = 4_000_000
TARGET_MIB = 1536
WITHIN_SECONDS = 300


def measure(server: Deputize, upstream_url: str) -> tuple[list[Row], dict]:
    server_id = server.register(upstream_url)
    url = urllib.parse.urlsplit(f"{server.url}/api/v1/proxy/{server_id}/tools")
    body = json.dumps({"tool_name": ECHO_TOOL, "arguments": {"message": "x" * TEXT_BYTES}}).encode()
    head = "".join(
        f"{line}\r\n"
        for line in [
            f"POST {url.path} HTTP/1.1",
            f"host: {url.netloc}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
            *(f"{name}: {value}" for name, value in server.as_agent().items()),
            "",
        ]
    ).encode()
    all_sent = threading.Barrier(CALLS)
    statuses: list[int] = [0] * CALLS

    def call(number: int) -> None:
        with socket.create_connection((url.hostname, url.port), timeout=WITHIN_SECONDS) as connection:
            connection.sendall(head)
            connection.sendall(memoryview(body)[:-1])
            all_sent.wait(WITHIN_SECONDS)
            connection.sendall(body[-1:])
            statuses[number] = _status(connection)

    idle = server.process.resident_mib()
    threads = [threading.Thread(target=call, args=(number,)) for number in range(CALLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if statuses != [200] * CALLS:
        answered = {status: statuses.count(status) for status in set(statuses)}
        raise RuntimeError(f"{CALLS} calls were answered {answered}")
    peak, in_flight = server.process.peak_mib(), CALLS * len(body) / 1024**2
    row = Row(
        f"Memory at {CALLS} simultaneous calls of 4 MB, at its peak",
        f"{peak:.0f} MiB (idle {idle:.0f} MiB)",
        f"{in_flight:.0f} MiB of bodies in flight; each answer is as large again",
        f"{peak / in_flight:.2g}×",
        f"≤ {TARGET_MIB / 1024:g} GiB",
        peak <= TARGET_MIB,
    )
    return [row], {"peak_mib": peak, "idle_mib": idle, "in_flight_mib": in_flight}


def _status(connection: socket.socket) -> int:
    """The status of the answer, which is read to its end and not kept."""
    begun = b""
    while part := connection.recv(1 << 20):
        if len(begun) < 16:
            begun += part[:16]
    return int(begun.split(b" ")[1])
