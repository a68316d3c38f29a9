"""The `deputize` binary as a process: starts it, waits for its ready line, reads its output, ends it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.demo_env import DemoEnv
from harness.output import Output
from harness.paths import REPOSITORY
from harness.secrets_ledger import LEDGER

READY_LINE = "listening on "
# A start takes well under a second. The margin is for a machine that is also compiling.
START_DEADLINE_SECONDS = 60
STOP_DEADLINE_SECONDS = 20

# Every line that our own crates can log. No secret may be in any of them, whatever a test does.
CRATES = ("core", "service", "token", "delegations", "grants", "proxy", "admin", "console", "local")
ALL_OF_OURS = ",".join(["info", "rmcp=warn", "deputize=trace", *(f"deputize_{c}=trace" for c in CRATES)])


def binary() -> Path:
    """The binary under test: the one that `tests/run` has built (DEPUTIZE_BIN), otherwise the newest build."""
    if chosen := os.environ.get("DEPUTIZE_BIN"):
        return Path(chosen)
    builds = [REPOSITORY / "target" / profile / "deputize" for profile in ("debug", "release")]
    found = [build for build in builds if build.exists()]
    if not found:
        raise FileNotFoundError("no target/{debug,release}/deputize: run `cargo build` first")
    return max(found, key=lambda build: build.stat().st_mtime)


@dataclass
class Server:
    """A running server. `with Server.start(data_dir) as server:` always ends it."""

    data_dir: Path
    process: subprocess.Popen[bytes]
    stdout: Output = field(default_factory=Output)
    stderr: Output = field(default_factory=Output)
    url: str = ""

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        port: int = 0,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
    ) -> Server:
        process = subprocess.Popen(
            [binary(), "--port", str(port), "--data-dir", data_dir, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"RUST_LOG": ALL_OF_OURS} | dict(environment or {}),
            umask=umask,
        )
        server = cls(data_dir, process)
        LEDGER.watch(server.output)
        assert process.stdout and process.stderr
        server.stdout.follow(process.stdout)
        server.stderr.follow(process.stderr)
        ready = server.stdout.line_starting_with(READY_LINE, START_DEADLINE_SECONDS)
        if ready is None:
            server.kill()
            raise AssertionError(f"the server did not become ready:\n{server.output()}")
        server.url = ready.removeprefix(READY_LINE).strip()
        if server.demo_env_file.exists():
            LEDGER.add_all(server.demo.secrets())
        return server

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def demo_env_file(self) -> Path:
        return self.data_dir / "demo.env"

    @property
    def demo(self) -> DemoEnv:
        """The demo organization's variables, as in a shell that has sourced `demo.env`."""
        return DemoEnv.source(self.demo_env_file)

    def output(self) -> str:
        return self.stdout.text() + self.stderr.text()

    def kill(self) -> None:
        """Ends the process like a power failure (SIGKILL): nothing is flushed or finished."""
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        """Asks the process to end (SIGTERM), and checks that it does."""
        self.process.terminate()
        self._reap()

    def _reap(self) -> None:
        for key in self.data_dir.glob("*.key"):
            LEDGER.add_key(key.name, key.read_bytes())
        try:
            self.process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end within its deadline") from None
        finally:
            self.stdout.finish()
            self.stderr.finish()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


@dataclass(frozen=True)
class Exit:
    """The end of a start that should fail."""

    code: int
    stdout: str
    stderr: str


def run_to_exit(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Exit:
    """Runs the binary with arguments after which it should end by itself."""
    done = subprocess.run(
        [binary(), *arguments],
        stdin=subprocess.DEVNULL,
        env=os.environ | dict(environment or {}),
        capture_output=True,
        timeout=START_DEADLINE_SECONDS,
        check=False,
    )
    return Exit(done.returncode, done.stdout.decode(), done.stderr.decode())
