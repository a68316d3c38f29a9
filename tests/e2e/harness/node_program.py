"""A program of `tests/upstreams` that Node runs beside the service."""

from __future__ import annotations

import subprocess

from harness.output import Output
from harness.paths import REPOSITORY
from harness.server import STOP_DEADLINE_SECONDS


class NodeProgram:
    """A process whose standard output and standard error are followed."""

    def __init__(self, script: str, *flags: str) -> None:
        self._process = subprocess.Popen(
            ["node", REPOSITORY / "tests/upstreams" / script, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stdout, self.stderr = Output(), Output()
        assert self._process.stdout and self._process.stderr
        self.stdout.follow(self._process.stdout)
        self.stderr.follow(self._process.stderr)

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self.stdout.finish()
            self.stderr.finish()
