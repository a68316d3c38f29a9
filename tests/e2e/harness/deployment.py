"""Several server processes that are one deployment: one table, one root key, one address."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.output import Output
from harness.server import READY_LINE, START_DEADLINE_SECONDS, STOP_DEADLINE_SECONDS, Server, binary

# The deployment's address. A load balancer would be there; here the tests distribute the requests.
PUBLIC_URL = "http://127.0.0.1:8787"


@contextmanager
def table() -> Iterator[str]:
    """The address of a DynamoDB for several processes."""
    engine = binary().parent / "examples" / "dynamodb"
    assert engine.exists(), f"no {engine}: run `cargo build -p deputize-local --examples` first"
    process = subprocess.Popen(
        [engine],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stderr
    stdout, stderr = Output(), Output()
    stdout.follow(process.stdout)
    stderr.follow(process.stderr)
    try:
        ready = stdout.line_starting_with(READY_LINE, START_DEADLINE_SECONDS)
        assert ready is not None, f"the table did not become ready:\n{stderr.text()}"
        yield ready.removeprefix(READY_LINE).strip()
    finally:
        process.kill()
        process.wait(STOP_DEADLINE_SECONDS)
        stdout.finish()
        stderr.finish()


@contextmanager
def deployment(directory: Path, processes: int) -> Iterator[list[Server]]:
    """This many processes. The first has made the demo organization, so it has the `demo.env`."""
    with ExitStack() as stack:
        shared = ["--dynamodb-url", stack.enter_context(table()), "--url", PUBLIC_URL]
        first = stack.enter_context(Server.start(directory / "1", flags=shared))
        servers = [first]
        for number in range(2, processes + 1):
            data_dir = directory / str(number)
            data_dir.mkdir(mode=0o700)
            shutil.copy(first.data_dir / "vault.key", data_dir)
            servers.append(stack.enter_context(Server.start(data_dir, flags=["--no-demo", *shared])))
        yield servers
