"""Real MCP clients as processes. A script of steps says what to do, and they report the result of each step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CLIENTS = Path(__file__).resolve().parents[1] / "clients"
_DEADLINE_SECONDS = 60

MODERN_ERA = "modern"
HANDSHAKE_ERA = "handshake"


@dataclass(frozen=True)
class Client:
    """A client and its era."""

    program: str
    mode: str
    era: str

    @property
    def name(self) -> str:
        return f"{Path(self.program).stem}-{self.era}"

    def run(self, url: str, steps: list[dict[str, Any]], **access: str) -> dict[str, Any]:
        """`access` is a `token`, or a `client_id` and `client_secret`."""
        interpreter = "node" if self.program.endswith(".mjs") else sys.executable
        done = subprocess.run(
            [interpreter, self.program],
            cwd=_CLIENTS,
            env=os.environ | {"PYTHONWARNINGS": "ignore", "FASTMCP_LOG_LEVEL": "ERROR"},
            input=json.dumps({"url": url, "mode": self.mode, "steps": steps} | access),
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{self.name} failed:\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)


CLIENTS = [
    Client("typescript2.mjs", "auto", MODERN_ERA),
    Client("typescript2.mjs", "legacy", HANDSHAKE_ERA),
    Client("typescript1.mjs", "legacy", HANDSHAKE_ERA),
    Client("python_sdk.py", "auto", MODERN_ERA),
    Client("python_sdk.py", "legacy", HANDSHAKE_ERA),
    Client("fastmcp_client.py", "auto", MODERN_ERA),
    Client("fastmcp_client.py", "legacy", HANDSHAKE_ERA),
]
