"""A release build of one function as a process, as Lambda runs it (`infra/build`)."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.output import Output
from harness.paths import REPOSITORY
from harness.private_address import PRIVATE_NETWORKS
from harness.runtime_api import DEADLINE_SECONDS, Invocation, RuntimeApi

# Debian's and Amazon Linux's.
_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
FUNCTIONS = ("token", "delegations", "grants", "proxy", "admin", "console")


def archive(name: str) -> Path:
    """The deployed archive."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    archive = Path(os.environ.get("DEPUTIZE_PACKAGES", target / "lambda")) / name / "bootstrap.zip"
    assert archive.exists(), f"no {archive}: run infra/build first"
    return archive


def executable(name: str) -> Path:
    """The executable in it, unpacked beside it. With DEPUTIZE_FUNCTIONS, the one in that folder, to try something
    out."""
    if elsewhere := os.environ.get("DEPUTIZE_FUNCTIONS"):
        return Path(elsewhere) / name
    packed = archive(name)
    unpacked = packed.with_name("bootstrap")
    if not unpacked.exists() or unpacked.stat().st_mtime < packed.stat().st_mtime:
        with zipfile.ZipFile(packed) as zipped:
            unpacked.write_bytes(zipped.read("bootstrap"))
        unpacked.chmod(0o755)
    return unpacked


def environment(url: str, data_dir: Path, table_url: str) -> dict[str, str]:
    """The variables that make a function one deployment with a local server on the same table."""
    issuer = {
        "issuer": f"{url}/demo/issuer",
        "jwks_uri": f"{url}/demo/issuer/jwks.json",
        "audiences": ["deputize"],
        "link_by_email": True,
        "provision": True,
    }
    return {
        "DEPUTIZE_URL": url,
        "DEPUTIZE_TABLE": "deputize",
        "DEPUTIZE_VAULT_KEY": base64.b64encode((data_dir / "vault.key").read_bytes()).decode(),
        "DEPUTIZE_TRUSTED_ISSUERS": json.dumps([issuer]),
        "DEPUTIZE_PRIVATE_UPSTREAMS": ",".join(PRIVATE_NETWORKS),
        "AWS_ENDPOINT_URL_DYNAMODB": table_url,
        # As in the templates, but at this machine's path: one file with all certificates.
        "SSL_CERT_FILE": next(path for path in _CERTIFICATES if Path(path).exists()),
    }


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """A child inherits the cores of the thread that starts it. `taskset` would also measure the start of another
    program."""
    if core is None:
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


class Function:
    """`with Function(name, variables) as function:` always ends it. It runs on one core, if one is given."""

    def __init__(self, name: str, variables: Mapping[str, str], core: int | None = None) -> None:
        self.api = RuntimeApi()
        self.output = Output()
        # Only what Lambda sets, and nothing of this machine: neither its proxies nor its AWS profile.
        lambdas_own = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        }
        program = executable(name)
        with _on(core):
            self.started = time.perf_counter()
            self.process = subprocess.Popen(
                [program],
                env=lambdas_own | dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        assert self.process.stdout and self.process.stderr
        self.output.follow(self.process.stdout)
        self.output.follow(self.process.stderr)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        self.process.wait()
        self.api.process_ended()

    def invoke(self, event: dict | bytes, seconds: float = DEADLINE_SECONDS) -> Invocation:
        return self.api.invoke(event, seconds)

    def resident_mib(self, figure: str = "VmHWM") -> float:
        """The highest value, unless another figure of /proc/PID/status is asked for."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{figure}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def exit_code(self, seconds: float = DEADLINE_SECONDS) -> int:
        """For a function that should end by itself."""
        code = self.process.wait(seconds)
        self.output.finish()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.api.close()
        self.output.finish()

    def __enter__(self) -> Function:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
