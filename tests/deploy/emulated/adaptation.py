"""Replaces the parts of the template that `ministack` does not support.

- It does not import `x-amazon-apigateway-any-method`, so each method is written out.
- It does not stream through API Gateway, so the proxy's integration is like the others. `gateway.py` streams instead.
- It has no alarms with several metrics, so an alarm has only the first one.

The rest of the template goes to CloudFormation unchanged.
"""

from __future__ import annotations

import copy
import json
from typing import Any

_ANY = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_METHODS = ("get", "post", "put", "delete", "patch", "head", "options")


def adapted(template: dict[str, Any]) -> dict[str, Any]:
    template = copy.deepcopy(template)
    [api] = (of for of in template["Resources"].values() if of["Type"] == "AWS::ApiGateway::RestApi")
    for of in api["Properties"]["Body"]["paths"].values():
        # A method of its own comes before that of any (API Gateway Developer Guide, "Set up an HTTP method").
        operations = {method: of[_ANY] for method in _METHODS} | {method: of[method] for method in of.keys() - {_ANY}}
        of.clear()
        for method, operation in operations.items():
            of[method] = operation | {_INTEGRATION: _buffered(operation[_INTEGRATION])}
    for of in template["Resources"].values():
        if of["Type"] == "AWS::CloudWatch::Alarm" and (metrics := of["Properties"].pop("Metrics", None)):
            first = next(metric["MetricStat"] for metric in metrics if "MetricStat" in metric)
            of["Properties"] |= first["Metric"] | {"Period": first["Period"], "Statistic": first["Stat"]}
    return template


def _buffered(integration: dict[str, Any]) -> dict[str, Any]:
    for streaming in ("responseTransferMode", "timeoutInMillis"):
        integration.pop(streaming, None)
    text = json.dumps(integration)
    text = text.replace("/2021-11-15/", "/2015-03-31/").replace("/response-streaming-invocations", "/invocations")
    return json.loads(text)
