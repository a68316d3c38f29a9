"""The deployed archives: for each function one executable, with the name that the runtime starts."""

from __future__ import annotations

import stat
import zipfile

import pytest
from harness.function import FUNCTIONS, archive

_ELF = b"\x7fELF"
# This much is fetched at a cold start.
_MOST_BYTES = 6_000_000
# Nobody's call waits for the admin function, which has the most endpoints.
_MOST_BYTES_OF_ADMIN = 6_400_000


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_archive_is_one_executable_of_bounded_size(name: str) -> None:
    packed = archive(f"deputize-{name}")
    with zipfile.ZipFile(packed) as zipped:
        (only,) = zipped.infolist()
        assert only.filename == "bootstrap"
        assert only.external_attr >> 16 & stat.S_IXOTH
        assert zipped.read(only)[:4] == _ELF
    assert packed.stat().st_size <= (_MOST_BYTES_OF_ADMIN if name == "admin" else _MOST_BYTES)
