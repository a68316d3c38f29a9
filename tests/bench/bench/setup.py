"""Installs what the benchmark needs and the machine does not have. A second run finds everything installed."""

import os
import shutil
import subprocess
import sys

from .paths import HERE, NODE, PYTHON


def needed_by(parts: set[str]) -> None:
    if parts & {"tokens", "calls", "person", "refresh", "scale", "second-day"}:
        _wrk()
    if parts & {"client", "pages"}:
        _browser()
    _node_packages()
    if "calls" in parts:
        _python_packages()


def chromium() -> str | None:
    """The browser for measurements, if there is one."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _browser() -> None:
    if not chromium():
        _debian_package("chromium", "https://www.chromium.org")


def _wrk() -> None:
    if not shutil.which("wrk"):
        _debian_package("wrk", "https://github.com/wg/wrk")


def _debian_package(name: str, otherwise: str) -> None:
    if not shutil.which("apt-get"):
        sys.exit(f"bench: {name} is missing and there is no apt-get; install it ({otherwise})")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    _step(f"Debian package {name}", [*sudo, "apt-get", "update", "-qq"])
    _step(f"Debian package {name}", [*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", name])


def _node_packages() -> None:
    stamp = HERE / "node_modules" / ".bench-stamp"
    if _is_newer(stamp, HERE / "package-lock.json") and NODE.exists():
        return
    # Node 22 itself is one of them: its install script downloads the binary, and package.json allows it.
    _step("Node packages, Node 22 among them", ["npm", "ci", "--no-fund", "--no-audit"])
    if not NODE.exists():
        sys.exit(f"bench: npm did not run the install script of `node` (is ignore-scripts set?): no {NODE}")
    stamp.touch()


def _python_packages() -> None:
    stamp = PYTHON.parent.parent / ".bench-stamp"
    if _is_newer(stamp, HERE / "requirements.txt"):
        return
    _step("a virtual environment", [sys.executable, "-m", "venv", str(PYTHON.parent.parent)])
    _step("Python packages", [str(PYTHON), "-m", "pip", "install", "-q", "-r", "requirements.txt"])
    stamp.touch()


def _is_newer(stamp, source) -> bool:
    return stamp.exists() and stamp.stat().st_mtime >= source.stat().st_mtime


def _step(what: str, command: list[str]) -> None:
    print(f"bench: installing {what}", file=sys.stderr)
    if subprocess.run(command, cwd=HERE, stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"bench: could not install {what}: `{' '.join(command)}` failed")
