"""All of the cookbook is tested: each piece of code in it is a recipe, and a test runs each recipe."""

from __future__ import annotations

import re

import pytest
import recipes
from recipes import HERE, PLACEHOLDERS, TEXT


@pytest.mark.parametrize("request_start", ["curl -", "httpx.post(", "httpx.get(", 'curl -s "'])
def test_every_request_in_the_text_is_in_exactly_one_recipe(request_start: str) -> None:
    in_recipes = sum(recipe.count(request_start) for recipe in recipes.ALL.values())
    assert TEXT.count(request_start) == in_recipes > 0


def test_every_recipe_is_run_by_a_test() -> None:
    tests = "\n".join(file.read_text() for file in HERE.glob("test_*.py"))
    assert [name for name in recipes.ALL if not re.search(rf"recipes\.{name}\b", tests)] == []


# This row is caused by time passing, or by a provider that revokes a token. The Rust tests, which set the
# clock, cover it. A server with the demo's sessions of 30 days cannot be brought to it from outside.
PROVEN_BY_THE_RUST_TESTS = ["401 OAuth session expired"]


def test_every_row_of_the_troubleshooting_table_has_its_test() -> None:
    tests = (HERE / "test_troubleshooting.py").read_text()
    rows = [row.error for row in recipes.troubleshooting_table()]
    assert len(rows) == 8
    assert [row for row in rows if f'promised("{row}")' not in tests] == PROVEN_BY_THE_RUST_TESTS


def test_only_placeholders_are_left_out_and_each_is_in_the_text() -> None:
    assert [line for line in PLACEHOLDERS if line not in TEXT] == []
    assert recipes.without_placeholders("\n".join(["a = 1", *PLACEHOLDERS, "print(a)"])) == "a = 1\nprint(a)"


def test_every_placeholder_assignment_of_the_text_is_listed() -> None:
    """Everything that looks like a value to replace is a known placeholder, not part of a recipe."""
    runs = "\n".join(recipes.without_placeholders(recipe) for recipe in recipes.ALL.values())
    assert [mark for mark in ("your-", "aaaaaaaa-", "eyJ", "rl_") if mark in runs] == []
