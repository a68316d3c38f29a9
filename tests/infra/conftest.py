"""The two stacks, in each configuration in which they are compared."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from configurations import ALL, EVERYTHING
from templates import EDGE_TEMPLATE, FUNCTIONS, Stack, cdk_stack, cdk_synthesis, sam_stack


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for each function. A template does not depend on its content, so nothing needs to be built."""
    folder = tmp_path_factory.mktemp("packages")
    for name in FUNCTIONS:
        zip_file = folder / f"deputize-{name}" / "bootstrap.zip"
        zip_file.parent.mkdir()
        with zipfile.ZipFile(zip_file, "w") as archive:
            archive.writestr(zipfile.ZipInfo("bootstrap"), f"#!/bin/sh\necho {name}\n")
    return folder


@pytest.fixture(scope="session")
def sam() -> Callable[[str], Stack]:
    return cache(lambda configuration: sam_stack(ALL[configuration]))


@pytest.fixture(scope="session")
def cdk_template(
    packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[dict[str, Any], Path]]:
    """The app's template and the folder of its synthesis."""

    @cache
    def synthesize(configuration: str) -> tuple[dict[str, Any], Path]:
        folder = tmp_path_factory.mktemp("cdk")
        return cdk_synthesis(ALL[configuration], packages, folder), folder

    return synthesize


@pytest.fixture(scope="session")
def cdk(cdk_template: Callable[[str], tuple[dict[str, Any], Path]]) -> Callable[[str], Stack]:
    return cache(lambda configuration: cdk_stack(cdk_template(configuration)[0], ALL[configuration]))


@pytest.fixture(scope="session")
def edges(cdk_template: Callable[[str], tuple[dict[str, Any], Path]]) -> tuple[Stack, Stack]:
    """The edge's stack for another region, with all its parts: SAM's and the CDK's."""
    _, folder = cdk_template("everything")
    synthesized = json.loads((folder / "deputize-edge.template.json").read_text())
    parameters = {"WafRateLimit": EVERYTHING["WafRateLimit"]}
    return sam_stack(parameters, EDGE_TEMPLATE), cdk_stack(synthesized, parameters)


@pytest.fixture(scope="session", params=["sam", "cdk"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """Each of the two stacks, in the default configuration."""
    return request.getfixturevalue(request.param)("default")
