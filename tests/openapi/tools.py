"""The tools that read the document, as commands, and the document of a running server."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.server import Server

HERE = Path(__file__).parent

# A tool takes a second or two. The margin is for a machine that is also compiling.
TOOL_DEADLINE_SECONDS = 120


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a tool: of this folder's Node packages, or of the Python that runs the tests."""
    programs = [HERE / "node_modules/.bin", Path(sys.executable).parent]
    quiet = {"NO_COLOR": "1", "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    return subprocess.run(
        command,
        env=os.environ | quiet | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=TOOL_DEADLINE_SECONDS,
        check=False,
    )


@dataclass(frozen=True)
class Described:
    """A running server, and the document in which it describes itself."""

    server: Server
    document: dict[str, Any]
    file: Path

    @property
    def address(self) -> str:
        """Where the document says that the API is."""
        [server] = self.document["servers"]
        return server["url"]
