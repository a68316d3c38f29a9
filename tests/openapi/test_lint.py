"""`/openapi.json` is clean by the recommended rules of `@redocly/cli`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tools import Described, run


def problems(file: Path) -> list[str]:
    """Errors and warnings alike: the rule, and where."""
    ran = run("redocly", "lint", file, "--extends", "recommended", "--format", "json", "--max-problems", "1000")
    report = json.loads(ran.stdout)
    assert (ran.returncode == 0) == (report["totals"]["errors"] == 0)
    return [
        f"{problem['severity']} {problem['ruleId']}: {problem['message']} {problem['location'][0].get('pointer')}"
        for problem in report["problems"]
    ]


def test_the_document_is_clean_by_the_recommended_rules(described: Described) -> None:
    assert problems(described.file) == []


def without_description(document: dict[str, Any]) -> None:
    del document["paths"]["/api/v1/me"]["get"]["responses"]["200"]["description"]


def without_security(document: dict[str, Any]) -> None:
    del document["paths"]["/healthz"]["get"]["security"]


def without_server(document: dict[str, Any]) -> None:
    del document["servers"]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (without_description, "struct"),
        (without_security, "security-defined"),
        (without_server, "no-empty-servers"),
    ],
)
def test_what_was_missing_once_would_be_found(
    described: Described, tmp_path: Path, spoil: Any, rule: str
) -> None:
    document = copy.deepcopy(described.document)
    spoil(document)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    found = problems(file)
    assert found and all(problem.startswith(f"error {rule}:") for problem in found), found
