"""AWS Lambda's Runtime API, for one process: hands out events and takes answers, buffered or streamed.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, and for streams
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_RUNTIME = "/2018-06-01/runtime"
_NEXT = f"{_RUNTIME}/invocation/next"
_INIT_ERROR = f"{_RUNTIME}/init/error"
_INVOCATION = re.compile(rf"{_RUNTIME}/invocation/([^/]+)/(response|error)")

DEADLINE_SECONDS = 30


@dataclass
class Invocation:
    """An event and its result. Times are those of `time.perf_counter`."""

    event: bytes
    seconds: float
    trace_id: str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    handed_out: float = 0.0
    """When the event was handed out."""
    answered: float = 0.0
    """When the answer began to come."""
    ended: float = 0.0
    """When it had come."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the answer's request, by lower-case name."""
    error: dict | None = None
    """A function error: what no function of ours may answer with."""
    _parts: list[tuple[float, bytes]] = field(default_factory=list)
    _trailers: dict[str, str] = field(default_factory=dict)
    _ended: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def parts(self) -> Iterator[tuple[float, bytes]]:
        """The answer's bytes as they come, each with its time."""
        seen = 0
        while True:
            with self._changed:
                self._wait(lambda: len(self._parts) > seen or self._ended)
                if len(self._parts) == seen:
                    return
                part = self._parts[seen]
            seen += 1
            yield part

    def body(self) -> bytes:
        """The whole answer, after it has ended."""
        with self._changed:
            self._wait(lambda: self._ended)
            assert self.error is None, f"a function error: {self.error}"
            return b"".join(part for _, part in self._parts)

    def milliseconds(self) -> float:
        """How long the function took, from the event to the end of its answer."""
        self.body()
        return (self.ended - self.handed_out) * 1000

    def trailers(self) -> dict[str, str]:
        """The end of a stream: an error, if it broke off."""
        self.body()
        return self._trailers

    def _wait(self, condition) -> None:
        assert self._changed.wait_for(condition, self.seconds), "no answer before the deadline"

    def _append(self, part: bytes) -> None:
        with self._changed:
            self._parts.append((time.perf_counter(), part))
            self._changed.notify_all()

    def _end_by(self, error: dict) -> None:
        """Unless it has ended already."""
        with self._changed:
            if not self._ended:
                self._end(error)

    def _end(self, error: dict | None = None, trailers: dict[str, str] | None = None) -> None:
        with self._changed:
            self.ended = time.perf_counter()
            self.error, self._trailers, self._ended = error, trailers or {}, True
            self._changed.notify_all()


class RuntimeApi:
    """Listens on loopback. `address` is the process's AWS_LAMBDA_RUNTIME_API."""

    def __init__(self) -> None:
        self.first_poll = 0.0
        """When the process asked for an event for the first time."""
        self.init_error: dict | None = None
        self._gone = False
        self._changed = threading.Condition()
        self._events: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._invocations: dict[str, Invocation] = {}
        api = self

        class Handler(_Handler):
            pass

        Handler.api = api
        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def invoke(self, event: dict | bytes, seconds: float = DEADLINE_SECONDS) -> Invocation:
        """Hands an event to the next poll. A dict is sent as JSON."""
        raw = event if isinstance(event, bytes) else json.dumps(event).encode()
        invocation = Invocation(raw, seconds)
        self._invocations[invocation.id] = invocation
        self._events.put(invocation)
        return invocation

    def wait_for_first_poll(self, seconds: float = DEADLINE_SECONDS) -> float:
        with self._changed:
            polled = self._changed.wait_for(lambda: self.first_poll or self.init_error or self._gone, seconds)
        assert polled, "no poll"
        assert self.first_poll, f"the function stopped at its start: {self.init_error or 'see its output'}"
        return self.first_poll

    def process_ended(self) -> None:
        """Ends every wait for the process."""
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        for invocation in list(self._invocations.values()):
            invocation._end_by({"errorMessage": "the process ended"})

    def close(self) -> None:
        self._events.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _polled(self, at: float) -> Invocation | None:
        if not self.first_poll:
            with self._changed:
                self.first_poll = at
                self._changed.notify_all()
        return self._events.get()

    def _failed_to_start(self, error: dict) -> None:
        with self._changed:
            self.init_error = error
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A killed process disconnects. Callers who wait for its answer are told."""


class _Handler(BaseHTTPRequestHandler):
    api: RuntimeApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    at = 0.0

    def parse_request(self) -> bool:
        self.at = time.perf_counter()
        return super().parse_request()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path != _NEXT:
            return self._reply(404, b"")
        invocation = self.api._polled(self.at)
        if invocation is None:
            self.close_connection = True
            return None
        invocation.handed_out = time.perf_counter()
        deadline = int((time.time() + invocation.seconds) * 1000)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:tested",
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        try:
            self._reply(200, invocation.event, headers)
        except OSError:
            invocation._end({"errorMessage": "the process is gone"})

    def do_POST(self) -> None:
        if self.path == _INIT_ERROR:
            self.api._failed_to_start(json.loads(self._whole()))
            return self._reply(202, b"{}")
        named = _INVOCATION.fullmatch(self.path)
        invocation = named and self.api._invocations.get(named[1])
        if not invocation:
            self._whole()
            return self._reply(404, b"{}")
        invocation.answered = self.at
        invocation.headers = {name.lower(): value for name, value in self.headers.items()}
        if named[2] == "error":
            invocation._end(json.loads(self._whole()))
            return self._reply(202, b"{}")
        try:
            for part in self._parts():
                invocation._append(part)
        except (OSError, ValueError) as error:
            invocation._end({"errorMessage": f"the answer broke off: {error}"})
            self.close_connection = True
            return None
        invocation._end(trailers=self._trailers())
        return self._reply(202, b"{}")

    def _whole(self) -> bytes:
        return b"".join(self._parts())

    def _is_chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    def _parts(self) -> Iterator[bytes]:
        if not self._is_chunked():
            yield self._exactly(int(self.headers.get("content-length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0] or b"x", 16):
            yield self._exactly(size)
            self.rfile.readline()

    def _exactly(self, size: int) -> bytes:
        read = self.rfile.read(size)
        if len(read) < size:
            raise ValueError(f"{len(read)} bytes of {size}")
        return read

    def _trailers(self) -> dict[str, str]:
        trailers: dict[str, str] = {}
        while self._is_chunked() and (line := self.rfile.readline().strip()):
            name, _, value = line.decode().partition(":")
            trailers[name.lower()] = value.strip()
        return trailers

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
