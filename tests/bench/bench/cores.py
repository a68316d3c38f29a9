"""Which core runs which process: the process under test has its own; load and upstream share another."""

import os
import sys

_available = sorted(os.sched_getaffinity(0))
if len(_available) < 2:
    sys.exit("bench: two cores are needed, one for the server and one for its load")

SERVER_CORE, LOAD_CORE = _available[:2]


def pinned(core: int, command: list) -> list[str]:
    return ["taskset", "-c", str(core), *map(str, command)]
