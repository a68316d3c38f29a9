"""Long-running processes: starts them, waits until they are ready, and always stops them."""

import os
import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

from .cores import LOAD_CORE, SERVER_CORE, pinned
from .paths import NODE, OUTPUT, PEERS, PYTHON, TABLE

READY = re.compile(r"listening on (http://\S+)")
READY_WITHIN_SECONDS = 60


class Process:
    """A child process that prints `listening on <url>` on standard output when it is ready."""

    def __init__(self, name: str, core: int, command: list, environment: dict | None = None):
        self.name = name
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.log = OUTPUT / f"{name}.log"
        with self.log.open("w") as log:
            self.child = subprocess.Popen(
                pinned(core, command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def wait_until_ready(self) -> str:
        found: list[str] = []
        ready = threading.Event()

        def read() -> None:
            # Goes on reading after the ready line: a full pipe would stop the child.
            for line in self.child.stdout:
                if not found and (match := READY.search(line)):
                    found.append(match[1])
                    ready.set()
            ready.set()

        threading.Thread(target=read, daemon=True).start()
        if not ready.wait(READY_WITHIN_SECONDS) or not found:
            raise RuntimeError(f"{self.name} did not get ready; its log is {self.log}:\n{self._last_lines()}")
        return found[0]

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def peak_mib(self) -> float:
        """The most that it has ever had resident."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def stop(self) -> None:
        if self.child.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
        self._signal(signal.SIGKILL)
        self.child.wait()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def running(name: str, core: int, command: list, environment: dict | None = None):
    """Yields the process and the URL it listens on."""
    process = Process(name, core, command, environment)
    try:
        yield process, process.wait_until_ready()
    finally:
        process.stop()


def oidc_provider(people: bool = False):
    command = [NODE, PEERS / "oidc-provider.mjs", *(["people"] if people else [])]
    return running("oidc-provider", SERVER_CORE, command, {"NODE_ENV": "production"})


def upstream(host: str = "127.0.0.1"):
    environment = {"NODE_ENV": "production", "HOST": host}
    return running("upstream", LOAD_CORE, [NODE, PEERS / "upstream.mjs"], environment)


def table():
    """An in-memory DynamoDB for several processes."""
    return running("table", LOAD_CORE, [TABLE])


def fastmcp_proxy(upstream_url: str, reuse: bool = False):
    name, option = ("fastmcp-reuse", ["--reuse"]) if reuse else ("fastmcp", [])
    return running(name, SERVER_CORE, [PYTHON, PEERS / "fastmcp_proxy.py", upstream_url, *option])
