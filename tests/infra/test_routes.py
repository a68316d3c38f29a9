"""Each path reaches the function that has it: the routers' own paths, found in their sources, sent through the API's."""

from __future__ import annotations

import re

import pytest
from templates import FUNCTIONS, REPOSITORY, Stack

METHOD = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"


# What has a name there: the paths that clients share with the server.
NAMED = dict(
    re.findall(r'^pub const (\w+): &str =\s*"(/[^"]*)";', (REPOSITORY / "functions/api/src/path.rs").read_text(), re.M)
)


def paths_of(name: str) -> set[str]:
    """What a function's handlers say that they answer: a path, or the name of one."""
    paths = set()
    for source in (REPOSITORY / "functions" / name / "src").rglob("*.rs"):
        for path, constant in re.findall(r'^\s*path = (?:"(/[^"]*)"|path::(\w+)),', source.read_text(), re.M):
            paths.add(path or NAMED[constant])
    assert paths, name
    return paths


ALL_PATHS = [(name, path) for name in FUNCTIONS for path in sorted(paths_of(name))]


def served(stack: Stack) -> dict[str, str]:
    """The API's own paths, and the function that each leads to."""
    paths = stack.resources["Api"].properties["Body"]["paths"]
    uris = {path: of[METHOD][INTEGRATION]["uri"] for path, of in paths.items()}
    found = {path: re.search(r":function:\$\{AWS::StackName\}-(\w+)/", uri) for path, uri in uris.items()}
    return {path: match[1] for path, match in found.items() if match}


def answers(stack: Stack, path: str) -> str:
    """Who answers, by the rules of a REST API (API Gateway Developer Guide, "Set up a proxy integration with a proxy
    resource"): at each step a literal part before `{id}`, and that before `{path+}`, which takes all the rest."""
    known = served(stack)
    at = ""
    for part in path.strip("/").split("/"):
        for step in (part, "{id}"):
            if any(one == f"{at}/{step}" or one.startswith(f"{at}/{step}/") for one in known):
                at = f"{at}/{step}"
                break
        else:
            return known[f"{at}/{{path+}}"]
    return known[at or "/"]


@pytest.mark.parametrize(("name", "path"), ALL_PATHS, ids=[path for _, path in ALL_PATHS])
def test_a_path_reaches_its_function(stack: Stack, name: str, path: str) -> None:
    assert answers(stack, re.sub(r"\{\w+\}", "0197c5a0", path)) == name


@pytest.mark.parametrize("path", ["/", "/nothing", "/api", "/api/v1", "/api/v1/oauth/nothing", "/api/v1/servers/demo/no"])
def test_what_nobody_has_is_answered_by_us(stack: Stack, path: str) -> None:
    assert answers(stack, path) in FUNCTIONS


def test_each_folder_has_a_method_and_says_where_the_rest_of_it_goes(stack: Stack) -> None:
    """So that nothing is left to how the gateway looks further up."""
    known = served(stack)
    for path in known:
        parts = path.strip("/").split("/")
        for length in range(1, len(parts)):
            folder = "/" + "/".join(parts[:length])
            assert folder in known, f"{folder}, of {path}"
            # What is one step down may be any id; then the folder of that id says it.
            assert {f"{folder}/{{path+}}", f"{folder}/{{id}}"} & known.keys(), f"{folder}, of {path}"


def test_the_proxy_streams_for_as_long_as_its_function_runs_and_nobody_else_does(stack: Stack) -> None:
    paths = stack.resources["Api"].properties["Body"]["paths"]
    for path, name in served(stack).items():
        integration = paths[path][METHOD][INTEGRATION]
        streams = integration.get("responseTransferMode") == "STREAM"
        assert streams == integration["uri"].endswith("/response-streaming-invocations") == (name == "proxy")
        waits = int(integration.get("timeoutInMillis", "29000"))
        assert waits == 1000 * int(stack.function(name).properties["Timeout"])


def test_every_path_is_everybodys(stack: Stack) -> None:
    """Callers prove who they are to the functions; the gateway knows nothing of agents' tokens."""
    body = stack.resources["Api"].properties["Body"]
    assert "security" not in str(body)
