"""`ministack`: CloudFormation, API Gateway, Lambda, DynamoDB, KMS, S3 and the rest in one process.

Functions run as processes of this machine, and are kept for the next event, as on AWS.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import botocore.config
import botocore.session
import httpx

REGION = "eu-central-1"
# Requests without credentials, such as those to the API, belong to this account.
ACCOUNT = "000000000000"
_DEADLINE_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def credentials() -> dict[str, str]:
    """An operator's credentials. A caller with this access key belongs to the account of that number."""
    return {
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def client(service: str, url: str) -> Any:
    session = botocore.session.Session()
    return session.create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="test",
        config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@dataclass
class Emulator:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, folder: Path) -> Self:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "ministack.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DEPUTIZE_"))}
        environment |= {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "LAMBDA_EXECUTOR": "local",
            # Disables another service's listener at a fixed port.
            "IOT_MTLS_ENABLED": "0",
            # Functions inherit it.
            "AWS_ENDPOINT_URL": url,
            "TMPDIR": str(folder),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [Path(sys.executable).parent / "ministack"],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started = cls(url, process, log)
        started._wait()
        return started

    def _wait(self) -> None:
        until = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/_ministack/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"ministack did not start:\n{self.log.read_text()}")

    def client(self, service: str) -> Any:
        return client(service, self.url)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
