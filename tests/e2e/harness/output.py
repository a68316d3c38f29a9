"""The output of a process."""

from __future__ import annotations

import threading
from typing import IO

# How long reading the rest of the output may take, after the process has ended.
_FINISH_SECONDS = 20


class Output:
    """Everything that a process prints, line by line, readable while it runs."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._open_streams = 0
        self._changed = threading.Condition()
        self._readers: list[threading.Thread] = []

    def follow(self, stream: IO[bytes]) -> None:
        with self._changed:
            self._open_streams += 1
        reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line.decode("utf-8", "replace"))
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    def line_starting_with(self, prefix: str, deadline_seconds: float) -> str | None:
        """The first such line, as soon as it is printed. None when the streams end or the time is over."""

        def found() -> str | None:
            return next((line for line in self._lines if line.startswith(prefix)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or not self._open_streams, deadline_seconds)
            return found()

    def line(self, number: int, deadline_seconds: float) -> str | None:
        """The line of this number, from 0, as soon as it is printed. None when the streams end or the time is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._lines) > number or not self._open_streams, deadline_seconds
            )
            return self._lines[number] if len(self._lines) > number else None

    def text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def finish(self) -> None:
        for reader in self._readers:
            reader.join(_FINISH_SECONDS)
