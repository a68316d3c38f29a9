"""`infra/COST.md` is what its script writes from the figures beside it."""

from __future__ import annotations

import subprocess
import sys

from harness.paths import REPOSITORY

_INFRA = REPOSITORY / "infra"


def test_the_table_of_costs_is_what_its_script_writes() -> None:
    written = subprocess.run(
        [sys.executable, _INFRA / "cost" / "run", "--print"], capture_output=True, text=True, check=True
    ).stdout
    assert (_INFRA / "COST.md").read_text() == written, "run infra/cost/run"
