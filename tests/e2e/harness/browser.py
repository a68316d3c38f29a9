"""A user's browser: Chromium, through `tests/upstreams/browser.mjs`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.output import Output
from harness.paths import REPOSITORY
from harness.server import STOP_DEADLINE_SECONDS

# Each command has its own time limit in browser.mjs. This one is for a driver that has died.
_ANSWER_DEADLINE_SECONDS = 60
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "Chromium is missing: run tests/run, which installs it"
    return found


class Browser:
    """A browser with one tab and without a history. `with Browser() as browser:` closes it. `hosts_here` are ports of
    this machine that stand in for hosts of the internet, by https. Without `scripts`, pages run none."""

    def __init__(self, hosts_here: Mapping[str, int] | None = None, *, scripts: bool = True) -> None:
        hosts = json.dumps(dict(hosts_here or {}))
        settings = {"CHROMIUM": chromium(), "HOSTS_HERE": hosts, "SCRIPTS": "on" if scripts else "off"}
        self._process = subprocess.Popen(
            ["node", REPOSITORY / "tests/upstreams/browser.mjs"],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._input = self._process.stdin
        self._answers, self._errors = Output(), Output()
        self._answers.follow(self._process.stdout)
        self._errors.follow(self._process.stderr)
        self._answered = 0
        self._answer("start")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._answers.finish()
            self._errors.finish()

    def _do(self, name: str, *arguments: Any) -> Any:
        self._input.write(json.dumps([name, *arguments]).encode() + b"\n")
        self._input.flush()
        return self._answer(" ".join(map(str, (name, *arguments))))

    def _answer(self, what: str) -> Any:
        line = self._answers.line(self._answered, _ANSWER_DEADLINE_SECONDS)
        assert line is not None, f"{what}: the browser has ended:\n{self._errors.text()}"
        self._answered += 1
        answer = json.loads(line)
        assert "failed" not in answer, f"{what}: {answer['failed']}"
        return answer["done"]

    def tab(self, name: str) -> None:
        """Goes to the tab of this name, and opens it if there is none. The first one is called `first`."""
        self._do("tab", name)

    def forget(self) -> None:
        """Forgets all cookies: in this browser, nobody is signed in anywhere."""
        self._do("forget")

    def open(self, url: str) -> int:
        """Returns the status."""
        return self._do("open", url)

    def fill(self, selector: str, text: str) -> None:
        self._do("fill", selector, text)

    def click(self, selector: str) -> None:
        self._do("click", selector)

    def check(self, selector: str) -> None:
        """Checks a box, or chooses one of several."""
        self._do("check", selector)

    def choose(self, selector: str, value: str) -> None:
        """Chooses of a list."""
        self._do("choose", selector, value)

    def press(self, key: str) -> None:
        """Presses a key, such as `Tab`."""
        self._do("press", key)

    def has_focus(self) -> str:
        """The element that has the focus."""
        return self._do("has_focus")

    def inaccessible(self) -> list[dict[str, Any]]:
        """What axe-core finds against the page: the rule and the elements."""
        return self._do("inaccessible")

    def wait_for(self, selector: str) -> None:
        """Waits until there is a visible element."""
        self._do("wait_for", selector)

    def text(self, selector: str = "body") -> str:
        """The text of an element."""
        return self._do("text", selector)

    def call(self, function: str, value: Any) -> Any:
        """The result of one of the page's functions."""
        return self._do("call", function, value)

    @property
    def url(self) -> str:
        return self._do("url")

    def goes_to(self, start: str) -> str:
        """The first address so far, or from now on, to which the page went and which starts like this. Another program
        may be what opens it, as with `cursor://`."""
        return self._do("goes_to", start)

    def screenshot(self, path: Path) -> None:
        self._do("screenshot", str(path))

    def prefer(self, color_scheme: str) -> None:
        """`light` or `dark`."""
        self._do("prefer", color_scheme)

    def resize(self, width: int, height: int) -> None:
        self._do("resize", width, height)

    def fits(self) -> bool:
        """Whether the whole page fits into the width of the window."""
        return self._do("fits")

    def add_cookie(self, url: str, name: str, value: str) -> None:
        self._do("add_cookie", {"url": url, "name": name, "value": value})

    def answers(self) -> list[dict[str, Any]]:
        """All answers that the browser has got so far: url, status, headers, body."""
        return self._do("answers")

    def complaints(self) -> list[str]:
        """The errors in the console: for example a style that the page's policy forbids."""
        return self._do("complaints")
