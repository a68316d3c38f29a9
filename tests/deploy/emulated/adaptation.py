"""What `ministack` cannot do with the template, put in its own terms.

- It imports no `x-amazon-apigateway-any-method`: each method is written out.
- It does not stream through API Gateway: the proxy is invoked like the others (and told so by
  `DEPUTIZE_STREAM_RESPONSES`). The release binary streams in tests/lambda, to a Runtime API of the tests' own.

All else of the template goes to CloudFormation as it is.
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
    paths = template["Resources"]["Api"]["Properties"]["Body"]["paths"]
    for of in paths.values():
        operation = of.pop(_ANY)
        operation[_INTEGRATION] = _buffered(operation[_INTEGRATION])
        of |= {method: operation for method in _METHODS}
    return template


def _buffered(integration: dict[str, Any]) -> dict[str, Any]:
    for streaming in ("responseTransferMode", "timeoutInMillis"):
        integration.pop(streaming, None)
    text = json.dumps(integration)
    text = text.replace("/2021-11-15/", "/2015-03-31/").replace("/response-streaming-invocations", "/invocations")
    return json.loads(text)
