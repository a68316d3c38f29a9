"""What stands between HTTP and a function: requests as the events of API Gateway and of function URLs, and answers
back, as AWS documents both.

- REST APIs: https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html
- HTTP APIs, format 2.0: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
- function URLs: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from harness.runtime_api import Invocation

HOST = "deputize.example.com"
SOURCE_IP = "198.51.100.7"
_PRELUDE_END = b"\0" * 8


@dataclass(frozen=True)
class Request:
    """An HTTP request to a function."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def form(cls, path: str, **fields: str) -> Request:
        return cls("POST", path, {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields))

    @classmethod
    def json(cls, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Request:
        return cls("POST", path, {"content-type": "application/json", **(headers or {})}, json.dumps(body))


def rest_api(request: Request, stage: str = "live", encoded: bool = False) -> dict[str, Any]:
    """API Gateway's REST API (payload format 1.0)."""
    headers = {"Host": HOST, **request.headers}
    return {
        "resource": "/{proxy+}",
        "path": request.path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": {name: [value] for name, value in request.query.items()} or None,
        "pathParameters": {"proxy": request.path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdef1234",
            "domainName": HOST,
            "httpMethod": request.method,
            "identity": {"sourceIp": SOURCE_IP, "userAgent": "curl/8.5.0"},
            "path": f"/{stage}{request.path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTimeEpoch": 1_767_225_600_000,
            "resourceId": "123456",
            "resourcePath": "/{proxy+}",
            "stage": stage,
        },
        **_body(request, encoded),
    }


def http_api(request: Request, stage: str = "$default", encoded: bool = False) -> dict[str, Any]:
    """API Gateway's HTTP API (payload format 2.0)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": urlencode(request.query),
        "headers": {"host": HOST, **request.headers},
        "queryStringParameters": dict(request.query),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdef1234",
            "domainName": HOST,
            "domainPrefix": HOST.split(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": SOURCE_IP,
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000,
        },
        **_body(request, encoded),
    }


def function_url(request: Request, encoded: bool = False) -> dict[str, Any]:
    """A Lambda function URL: the HTTP API's format, with one of Lambda's hosts."""
    event = http_api(request, encoded=encoded)
    host = "abcdefghijklmnopqrstuvwxyz123456.lambda-url.eu-central-1.on.aws"
    event["headers"]["host"] = host
    event["requestContext"] |= {"domainName": host, "domainPrefix": host.split(".")[0], "authentication": None}
    return event


Shape = Callable[[Request], dict[str, Any]]
SHAPES: dict[str, Shape] = {"REST API": rest_api, "HTTP API": http_api, "function URL": function_url}


def _body(request: Request, encoded: bool) -> dict[str, Any]:
    if request.body is None:
        return {"body": None, "isBase64Encoded": False}
    if encoded:
        return {"body": base64.b64encode(request.body.encode()).decode(), "isBase64Encoded": True}
    return {"body": request.body, "isBase64Encoded": False}


@dataclass(frozen=True)
class Answer:
    """The answer that the gateway would send."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def is_streamed(invocation: Invocation) -> bool:
    return invocation.headers.get("lambda-runtime-function-response-mode") == "streaming"


def answer(invocation: Invocation) -> Answer:
    """The complete answer, streamed or not."""
    body = invocation.body()
    if is_streamed(invocation):
        prelude, _, rest = body.partition(_PRELUDE_END)
        return Answer(*_head(json.loads(prelude)), rest)
    answered = json.loads(body)
    content = (answered.get("body") or "").encode()
    if answered.get("isBase64Encoded"):
        content = base64.b64decode(content)
    return Answer(*_head(answered), content)


def _head(answered: dict[str, Any]) -> tuple[int, dict[str, str]]:
    headers = {name.lower(): value for name, value in (answered.get("headers") or {}).items()}
    for name, values in (answered.get("multiValueHeaders") or {}).items():
        headers[name.lower()] = ", ".join(values)
    return answered["statusCode"], headers
