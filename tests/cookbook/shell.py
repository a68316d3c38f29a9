"""Runs a shell recipe as a reader would: in bash, after `source demo.env`."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEADLINE_SECONDS = 60
# Separates the recipe's output from the variables that are printed after it.
_MARK = "\n--- variables ---\n"


@dataclass(frozen=True)
class Ran:
    """A recipe's output, and the shell variables after it."""

    stdout: str
    variables: dict[str, str]

    def __getitem__(self, variable: str) -> str:
        return self.variables[variable]

    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.stdout)

    def json_stream(self) -> list[Any]:
        """Standard output as the sequence of documents that `jq` prints."""
        decoder, documents, rest = json.JSONDecoder(), [], self.stdout.strip()
        while rest:
            document, end = decoder.raw_decode(rest)
            documents.append(document)
            rest = rest[end:].lstrip()
        return documents


def run(recipe: str, demo_env: Path, *, keep: tuple[str, ...] = (), **variables: str) -> Ran:
    """Sources `demo_env`, sets `variables`, runs the recipe unchanged, and returns the variables in `keep`.

    An unset variable, or a command or pipe that fails, makes the run fail.
    """
    assignments = "\n".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    afterwards = "\n".join(f'printf "%s\\0" "${name}"' for name in keep)
    script = f"set -euo pipefail\nsource {shlex.quote(str(demo_env))}\n{assignments}\n{recipe}\n"
    script += f"printf %s {shlex.quote(_MARK)}\n{afterwards}\n"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=_DEADLINE_SECONDS, check=False
    )
    assert done.returncode == 0, (
        f"the recipe failed ({done.returncode}):\n{recipe}\n{done.stdout}\n{done.stderr}"
    )
    stdout, values = done.stdout.split(_MARK)
    return Ran(stdout, dict(zip(keep, values.split("\0"), strict=False)))
