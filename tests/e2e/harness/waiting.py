"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.01


def wait_until(what: str, condition: Callable[[], T], deadline_seconds: float = 10) -> T:
    """Returns the condition's first truthy value. Fails with `what` at the deadline."""
    deadline = time.monotonic() + deadline_seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {deadline_seconds} s in vain until {what}")
        time.sleep(_POLL_SECONDS)
