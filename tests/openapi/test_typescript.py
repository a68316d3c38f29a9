"""`openapi-typescript` makes types of `/openapi.json`, and `tsc` compiles what is written with them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools import HERE, Described, run


def test_types_are_generated_and_what_is_written_with_them_compiles(described: Described, tmp_path: Path) -> None:
    made = run("openapi-typescript", described.file, "--output", tmp_path / "schema.d.ts")
    assert made.returncode == 0, made.stdout + made.stderr
    uses = Path(shutil.copy(HERE / "uses.ts", tmp_path))
    compiled = run(
        "tsc", "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--module", "nodenext",
        "--target", "es2022", uses,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
