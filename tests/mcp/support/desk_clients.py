"""Real clients as a person has them on their desk: they open a browser, and keep what they get between starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.output import Output
from harness.waiting import wait_until
from support.upstreams import free_port

_MCP = Path(__file__).resolve().parents[1]
_PROGRAMS = _MCP / "sign_in/programs"
_PACKAGES = _MCP / "node_modules"
# The Inspector needs a newer Node than the rest.
_NEW_NODE = _PACKAGES / "node/bin/node"
_INSPECTOR = _PACKAGES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
_MCP_REMOTE = _PACKAGES / "mcp-remote/dist/proxy.js"
_DEADLINE_SECONDS = 30
# Between the end of a process's output and its own.
_END_SECONDS = 5

_BROWSER = """#!/bin/sh
printf '%s\\n' "$1" >>"$OPENED"
"""


@dataclass
class Desk:
    """A client that a person has installed, and the address that they pasted into it."""

    program: Program
    home: Path
    url: str
    document: str | None = None
    # Whether the client opens addresses for servers, where it can be told.
    opens: bool = False
    # What is given to `mcp-remote` beside the address.
    flags: list[str] = field(default_factory=list)

    def start(self) -> Running:
        self.home.mkdir(parents=True, exist_ok=True)
        browser = self.home / "browser"
        browser.write_text(_BROWSER)
        browser.chmod(0o755)
        return self.program.start(self)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HOME": str(self.home),
            "BROWSER": str(self.home / "browser"),
            "OPENED": str(self._opened),
            "PYTHONWARNINGS": "ignore",
            "FASTMCP_LOG_LEVEL": "ERROR",
            "MCP_REMOTE_CONFIG_DIR": str(self.home),
            "MCP_STORAGE_DIR": str(self.home),
            "MCP_INSPECTOR_SECRET_STORE": "file",
            "MCP_AUTO_OPEN_ENABLED": "true",
        }

    @property
    def _opened(self) -> Path:
        return self.home / "opened"

    def openings(self) -> list[str]:
        """The addresses that the client has opened in the browser since the last time that this was asked for."""
        lines = self._opened.read_text().splitlines() if self._opened.exists() else []
        self._opened.unlink(missing_ok=True)
        return lines

    def opening(self) -> str:
        """The one address that it opens now."""
        wait_until(
            f"{self.program.name} opens the browser",
            lambda: self._opened.exists() and self._opened.read_text().endswith("\n"),
            _DEADLINE_SECONDS,
        )
        (address,) = self.openings()
        return address

    def kept(self, field_name: str) -> str:
        """A field of the tokens that the client keeps in a file."""
        for file in sorted(self.home.rglob("*.json"), key=lambda file: -file.stat().st_mtime):
            try:
                if found := _find(json.loads(file.read_text()), field_name):
                    return found
            except json.JSONDecodeError:
                continue
        raise AssertionError(f"{self.program.name} keeps no {field_name}")


def _find(document: Any, name: str) -> str | None:
    if isinstance(document, str) and document.startswith("{"):
        document = json.loads(document)
    if isinstance(document, list):
        document = dict(enumerate(document))
    if not isinstance(document, dict):
        return None
    if isinstance(document.get(name), str):
        return document[name]
    return next(filter(None, (_find(value, name) for value in document.values())), None)


class Running(Protocol):
    """A client that runs. `with desk.start() as client:` ends it."""

    def ask(self, do: str, **parameters: Any) -> None:
        """Begins a step: `list_tools`, or `call_tool` with `name` and `arguments`. The first one connects."""

    def answer(self) -> dict[str, Any]:
        """The step's `result` or `error`, and what the client was `asked` to open."""

    def __enter__(self) -> Running: ...

    def __exit__(self, *_: object) -> None: ...


def say(client: Running, do: str, **parameters: Any) -> dict[str, Any]:
    client.ask(do, **parameters)
    return client.answer()


class Program(Protocol):
    name: str
    # What it calls itself on the consent page.
    shown_as: str

    def start(self, desk: Desk) -> Running: ...


class _Lines:
    """A process that answers each line of its standard input by one of its standard output."""

    def __init__(self, command: list[str | Path], desk: Desk) -> None:
        self._name = desk.program.name
        self._process = subprocess.Popen(
            command,
            cwd=_PROGRAMS,
            env=desk.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._input = self._process.stdin
        self._output, self._errors = Output(), Output()
        self._output.follow(self._process.stdout)
        self._errors.follow(self._process.stderr)
        self._read = 0

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._input.write(json.dumps(line).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            # It has ended. The answer says so.
            pass

    def _line(self) -> dict[str, Any] | None:
        line = self._output.line(self._read, _DEADLINE_SECONDS)
        self._read += 1
        return None if line is None else json.loads(line)

    def log(self) -> str:
        """What it has printed beside its answers. All of it, if it has ended."""
        try:
            self._process.wait(_END_SECONDS)
            self._errors.finish()
        except subprocess.TimeoutExpired:
            pass
        return self._errors.text()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        try:
            self._input.close()
        except BrokenPipeError:
            pass
        self._output.finish()
        self._errors.finish()


class _App(_Lines):
    """One of `sign_in/programs`."""

    def __enter__(self) -> _App:
        return self

    def ask(self, do: str, **parameters: Any) -> None:
        self._write({"do": do, **parameters})

    def answer(self) -> dict[str, Any]:
        line = self._line()
        assert line is not None, f"{self._name} has ended:\n{self.log()}"
        return line


@dataclass(frozen=True)
class Sdk:
    """An official client, or FastMCP's, in an app around it."""

    program: str
    shown_as: str
    keeps: bool = True

    @property
    def name(self) -> str:
        return Path(self.program).stem

    def start(self, desk: Desk) -> _App:
        interpreter = "node" if self.program.endswith(".mjs") else sys.executable
        options = {"url": desk.url, "home": str(desk.home), "name": self.shown_as}
        options |= {"opens": desk.opens, "keeps": self.keeps}
        if desk.document is not None:
            options["document"] = desk.document
        return _App([interpreter, self.program, json.dumps(options)], desk)


_METHODS = {"list_tools": "tools/list", "call_tool": "tools/call"}


class _Proxy(_Lines):
    """`mcp-remote`, as a program of the desk starts it that only knows servers on standard input and output."""

    _last_id = 0

    def __enter__(self) -> _Proxy:
        return self

    def ask(self, do: str, **parameters: Any) -> None:
        if self._last_id == 0:
            self._request(
                "initialize",
                {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": {"name": "a desk's program", "version": "1"},
                },
            )
            self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._request(_METHODS[do], parameters)

    def _request(self, method: str, parameters: dict[str, Any]) -> None:
        self._last_id += 1
        self._write({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": parameters})

    def answer(self) -> dict[str, Any]:
        while (message := self._line()) is not None:
            if message.get("id") == self._last_id:
                return {"asked": []} | message
        return {"asked": [], "error": {"message": self.log()}}


@dataclass(frozen=True)
class McpRemote:
    name: str = "mcp-remote"
    shown_as: str = "MCP CLI Proxy"

    def start(self, desk: Desk) -> _Proxy:
        # With a document it must be told a port, since it takes that one or none.
        document = [str(free_port()), "--client-metadata-url", desk.document] if desk.document else []
        return _Proxy(["node", _MCP_REMOTE, desk.url, *document, *desk.flags], desk)


class _Command:
    """The Inspector's CLI, which is a process for each step."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def ask(self, do: str, **parameters: Any) -> None:
        step: list[str] = ["--method", _METHODS[do]]
        if do == "call_tool":
            step += ["--tool-name", parameters["name"]]
            step += ["--tool-args-json", json.dumps(parameters["arguments"])]
        if self._desk.document is not None:
            step += ["--client-metadata-url", self._desk.document]
        # One that is not taken, unlike perhaps its own.
        step += ["--callback-url", f"http://127.0.0.1:{free_port()}/oauth/callback"]
        self._process = subprocess.Popen(
            [_NEW_NODE, _INSPECTOR, "--cli", "--server-url", self._desk.url, "--transport", "http"]
            + ["--format", "json", "--quiet", *step],
            env=self._desk.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        assert self._process
        output, errors = self._process.communicate(timeout=_DEADLINE_SECONDS)
        if output:
            return {"asked": []} | json.loads(output)
        return {"asked": [], "error": {"message": errors}}


@dataclass(frozen=True)
class Inspector:
    name: str = "inspector"
    shown_as: str = "MCP Inspector"

    def start(self, desk: Desk) -> _Command:
        return _Command(desk)


TYPESCRIPT_2 = Sdk("typescript2.mjs", "A desk in TypeScript")
TYPESCRIPT_1 = Sdk("typescript1.mjs", "An older desk in TypeScript")
PYTHON = Sdk("python_sdk.py", "A desk in Python")
FASTMCP = Sdk("fastmcp_client.py", "FastMCP Client")
# With `auth="oauth"` it keeps nothing beyond its process.
FASTMCP_BY_WORD = Sdk("fastmcp_client.py", "FastMCP Client", keeps=False)
MCP_REMOTE = McpRemote()
INSPECTOR = Inspector()
