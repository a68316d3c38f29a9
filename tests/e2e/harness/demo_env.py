"""`demo.env`: the file that the local server writes, read as its users read it, by `source`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

_SECRET_NAMES = ("SECRET", "TOKEN", "API_KEY")


class DemoEnv(dict[str, str]):
    """The variables of `demo.env` by name; `demo.CLIENT_ID` is `demo["CLIENT_ID"]`."""

    @classmethod
    def source(cls, file: Path) -> DemoEnv:
        """Sources the file in a shell with an empty environment and takes the variables it sets."""
        printed = subprocess.run(
            ["bash", "-c", 'unset PWD OLDPWD SHLVL _; set -a; source "$1"; env -0', "bash", file],
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=True,
        ).stdout.decode()
        pairs = (entry.split("=", 1) for entry in printed.split("\0") if entry)
        return cls({name: value for name, value in pairs if name not in ("PATH", "PWD", "SHLVL", "_")})

    def __getattr__(self, name: str) -> str:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"demo.env sets no {name}; it sets {sorted(self)}") from None

    def secrets(self) -> Iterator[tuple[str, str]]:
        """Those variables whose value must never be printed or logged."""
        return ((name, value) for name, value in self.items() if any(part in name for part in _SECRET_NAMES))
