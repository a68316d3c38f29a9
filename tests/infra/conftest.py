"""The two stacks, in each of the configurations that they are compared in."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from configurations import ALL
from templates import FUNCTIONS, Stack, cdk_stack, cdk_synthesis, sam_stack


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for each function. What is in it is nothing to a template, so that nothing need be built."""
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
    return cache(lambda configuration: cdk_stack(cdk_template(configuration)[0]))


@pytest.fixture(scope="session", params=["sam", "cdk"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """Each of the two, as it is by default."""
    return request.getfixturevalue(request.param)("default")
