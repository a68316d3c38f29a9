"""Each path reaches its function: the routers' paths, from their sources, are sent through the API's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from templates import FUNCTIONS, REPOSITORY, Stack

METHOD = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"


# The paths that have a name there: those that clients share with the server.
NAMED = dict(
    re.findall(r'^pub const (\w+): &str =\s*"(/[^"]*)";', (REPOSITORY / "functions/api/src/path.rs").read_text(), re.M)
)


def paths_of(name: str) -> set[tuple[str, str]]:
    """The methods and paths that a function's handlers declare, and those of its pages, which have any method: a path, or
    the name of one."""
    paths = set()
    for source in (REPOSITORY / "functions" / name / "src").rglob("*.rs"):
        text = source.read_text()
        declared = r'^\s*(?:(\w+),|method\(([\w, ]+)\),)\s*path = (?:"(/[^"]*)"|path::(\w+)),'
        found = re.findall(declared, text, re.M)
        assert len(found) == len(re.findall(r'^\s*path = (?:"/|path::)', text, re.M)), source
        for one, several, path, constant in found:
            paths |= {(method, path or NAMED[constant]) for method in (one or several).split(", ")}
        paths |= {(METHOD, NAMED[constant]) for constant in re.findall(r"\.route\(path::(\w+),", text)}
    assert paths, name
    return paths


ALL_PATHS = [(name, method, path) for name in FUNCTIONS for method, path in sorted(paths_of(name))]


def served(stack: Stack, method: str = METHOD) -> dict[str, str]:
    """The API's own paths, and each one's function. A method of its own comes before that of any."""
    paths = stack.resources["Api"].properties["Body"]["paths"]
    uris = {path: of.get(method, of[METHOD])[INTEGRATION]["uri"] for path, of in paths.items()}
    found = {path: re.search(r":function:\$\{AWS::StackName\}-(\w+)/", uri) for path, uri in uris.items()}
    return {path: match[1] for path, match in found.items() if match}


def answers(stack: Stack, path: str, method: str = METHOD) -> str:
    """The function that answers, by the rules of a REST API (API Gateway Developer Guide, "Set up a proxy integration
    with a proxy resource"): at each step a literal part before `{id}`, and that before `{path+}`, which matches
    all the rest."""
    known = served(stack, method)
    at = ""
    for part in path.strip("/").split("/"):
        for step in (part, "{id}"):
            if any(one == f"{at}/{step}" or one.startswith(f"{at}/{step}/") for one in known):
                at = f"{at}/{step}"
                break
        else:
            return known[f"{at}/{{path+}}"]
    return known[at or "/"]


@pytest.mark.parametrize(
    ("name", "method", "path"), ALL_PATHS, ids=[f"{method.removeprefix('x-amazon-apigateway-')} {path}" for _, method, path in ALL_PATHS]
)
def test_a_request_reaches_its_function(stack: Stack, name: str, method: str, path: str) -> None:
    assert answers(stack, re.sub(r"\{\w+\}", "0197c5a0", path), method) == name


def test_a_method_that_is_another_functions_is_as_its_path_otherwise(stack: Stack) -> None:
    paths = stack.resources["Api"].properties["Body"]["paths"]
    apart = {(path, method): of for path, each in paths.items() for method, of in each.items() if method != METHOD}
    assert apart.keys() == {("/api/v1/users/{id}", "delete")}
    for (path, _), of in apart.items():
        any_method = json.dumps(paths[path][METHOD])
        assert json.dumps(of) == any_method.replace("-admin/invocations", "-grants/invocations") != any_method


def test_an_address_that_ends_with_a_slash_is_in_the_same_folder(stack: Stack) -> None:
    """Some clients write `…/mcp/`. `{path+}` takes all the rest of a path, so no route names the endpoint alone."""
    known = served(stack)
    for folder, name in [("/api/v1/proxy", "proxy"), ("/.well-known", "token")]:
        assert known[f"{folder}/{{path+}}"] == name
        assert not [path for path in known if path.startswith(f"{folder}/") and path != f"{folder}/{{path+}}"]


@pytest.mark.parametrize("path", ["/", "/nothing", "/api", "/api/v1", "/api/v1/oauth/nothing", "/api/v1/servers/demo/no"])
def test_what_nobody_has_is_answered_by_us(stack: Stack, path: str) -> None:
    assert answers(stack, path) in FUNCTIONS


def test_each_folder_has_a_method_and_says_where_the_rest_of_it_goes(stack: Stack) -> None:
    """So the result does not depend on how the gateway matches the folders above."""
    known = served(stack)
    for path in known:
        parts = path.strip("/").split("/")
        for length in range(1, len(parts)):
            folder = "/" + "/".join(parts[:length])
            assert folder in known, f"{folder}, of {path}"
            # The next step may be any id. Then the folder of that id has the route.
            assert {f"{folder}/{{path+}}", f"{folder}/{{id}}"} & known.keys(), f"{folder}, of {path}"


def test_the_proxy_streams_for_as_long_as_its_function_runs_and_nobody_else_does(stack: Stack) -> None:
    paths = stack.resources["Api"].properties["Body"]["paths"]
    for path, name in served(stack).items():
        integration = paths[path][METHOD][INTEGRATION]
        streams = integration.get("responseTransferMode") == "STREAM"
        assert streams == integration["uri"].endswith("/response-streaming-invocations") == (name == "proxy")
        waits = int(integration.get("timeoutInMillis", "29000"))
        runs = 1000 * int(stack.function(name).properties["Timeout"])
        # A cold start is part of the gateway's time, and not of the function's.
        assert waits == runs if streams else 3000 < waits - runs < 5000


# The gateway's own answers that are possible here: API Gateway Developer Guide, "Gateway response types".
GATEWAYS_OWN = {
    "DEFAULT_4XX": ("invalid_request", "request_invalid"),
    "DEFAULT_5XX": ("server_error", "function_failed"),
    "INTEGRATION_FAILURE": ("temporarily_unavailable", "function_failed"),
    "INTEGRATION_TIMEOUT": ("timed_out", "timed_out"),
    "INVALID_API_KEY": ("access_denied", "wrong_address"),
    "REQUEST_TOO_LARGE": ("request_too_large", "body_too_large"),
    "THROTTLED": ("too_many_requests", "rate_limited"),
    "WAF_FILTERED": ("access_denied", "request_blocked"),
}


def test_what_the_gateway_answers_by_itself_looks_like_our_errors_and_can_be_read_by_a_page(stack: Stack) -> None:
    description = json.loads((REPOSITORY / "functions/admin/openapi.json").read_text())
    reasons = description["components"]["schemas"]["Reason"]["enum"]
    own = stack.resources["Api"].properties["Body"]["x-amazon-apigateway-gateway-responses"]
    assert own.keys() == GATEWAYS_OWN.keys()
    for kind, response in own.items():
        text = response["responseTemplates"]["application/json"]
        body = json.loads(text.replace("$context.error.messageString", '"Too many"'))
        assert body.keys() == {"error", "error_description", "detail", "reason"}, kind
        assert (body["error"], body["reason"]) == GATEWAYS_OWN[kind]
        assert body["reason"] in reasons
        assert response["responseParameters"]["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'"
        assert "'retry-after" in response["responseParameters"]["gatewayresponse.header.Access-Control-Expose-Headers"]


def asked(stack: Stack) -> list[object]:
    """What the gateway requires, by method."""
    paths = stack.resources["Api"].properties["Body"]["paths"].values()
    return [operation.get("security") for of in paths for operation in of.values()]


def test_every_path_is_everybodys_who_comes_by_cloudfront(stack: Stack) -> None:
    """Callers prove themselves to the functions; the gateway knows nothing about agents' tokens. It requires the key
    that CloudFront sends, so that no caller can go around CloudFront and its web ACL."""
    assert asked(stack) == [[{"distribution": []}]] * len(asked(stack))
    schemes = stack.resources["Api"].properties["Body"]["components"]["securitySchemes"]
    assert schemes == {"distribution": {"type": "apiKey", "name": "x-api-key", "in": "header"}}
    [origin] = stack.resources["Distribution"].properties["DistributionConfig"]["Origins"]
    [header] = origin["OriginCustomHeaders"]
    assert header == {"HeaderName": "x-api-key", "HeaderValue": stack.resources["DistributionKey"].properties["Value"]}
    assert header["HeaderValue"] == "{{resolve:secretsmanager:${DistributionSecret}}}"
    # So it cannot begin like a user's API key (`rl_`), which is taken from the same header.
    made = stack.resources["DistributionSecret"].properties["GenerateSecretString"]
    assert str(made["ExcludePunctuation"]).lower() == "true"
    assert "GenerateStringKey" not in made
    [opened] = stack.resources["DistributionPlan"].properties["ApiStages"]
    assert opened == {"ApiId": "${Api}", "Stage": "${ApiStage}"}


def test_without_cloudfront_the_gateway_asks_for_nothing(
    sam: Callable[[str], Stack], cdk: Callable[[str], Stack]
) -> None:
    for load in (sam, cdk):
        assert set(asked(load("without CloudFront"))) == {None}
        assert "Distribution" not in load("without CloudFront").resources
