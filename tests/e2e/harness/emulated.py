"""Emulators of providers that others wrote: npm `emulate` (GitHub, Google, Slack, Microsoft, Okta, Linear, Clerk)."""

from __future__ import annotations

import html
import json
import re
import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx

from harness.connecting import CALLBACK_PATH
from harness.output import Output
from harness.paths import REPOSITORY
from harness.server import START_DEADLINE_SECONDS, STOP_DEADLINE_SECONDS

_MODULES = REPOSITORY / "tests/upstreams/node_modules"
_FORM = re.compile(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
_FIELD = re.compile(r'name="([^"]+)" value="([^"]*)"')

SERVICES = ("github", "google", "slack", "microsoft", "okta", "linear", "clerk")
CLIENT = {"client_id": "deputize", "client_secret": "emulated-client-secret"}


def _free_ports(many: int) -> int:
    """The first of so many consecutive ports that are free now."""
    for first in range(20_000, 30_000, many):
        try:
            for port in range(first, first + many):
                with closing(socket.socket()) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


class Emulated:
    """All of them, at consecutive ports. `with Emulated(…) as emulated:` ends them."""

    def __init__(self, directory: Path, redirect_uri: str) -> None:
        app = CLIENT | {"name": "Deputize", "redirect_uris": [redirect_uri]}
        seed = {"linear": {"oauth_apps": [app]}, "clerk": {"oauth_applications": [app]}}
        config = directory / "emulate.json"
        config.write_text(json.dumps(seed))
        first = _free_ports(len(SERVICES))
        self._urls = {name: f"http://localhost:{first + n}" for n, name in enumerate(SERVICES)}
        # It needs Node 22, which is newer than some distributions'.
        command = [_MODULES / "node/bin/node", _MODULES / "emulate/dist/index.js", "start"]
        self._process = subprocess.Popen(
            [*command, "--service", ",".join(SERVICES), "--port", str(first), "--seed", config],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._output = Output()
        assert self._process.stdout
        self._output.follow(self._process.stdout)
        if self._output.line_starting_with("  Ready.", START_DEADLINE_SECONDS) is None:
            self.__exit__()
            raise AssertionError(f"the emulators did not become ready:\n{self._output.text()}")

    def __getitem__(self, service: str) -> str:
        return self._urls[service]

    def __enter__(self) -> Emulated:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._output.finish()


def consent(authorization_url: str) -> str:
    """Signs in as the first user that an emulator offers. Returns the address to which the browser is sent."""
    with httpx.Client() as browser:
        page = browser.get(authorization_url)
        form = _FORM.search(page.text)
        assert form, f"{page.status_code} {page.text}"
        fields = {name: html.unescape(value) for name, value in _FIELD.findall(form[2])}
        answer = browser.post(urljoin(str(page.url), html.unescape(form[1])), data=fields)
        back = answer.headers.get("location", "")
        assert urlsplit(back).path == CALLBACK_PATH, f"{answer.status_code} {back} {answer.text}"
        return back


def parameters(url: str) -> Mapping[str, Any]:
    return dict(parse_qsl(urlsplit(url).query))
