// Which function answers at which path. Each folder has a route for the rest of its paths, so the result does not
// depend on how the gateway matches the folders above it.

export const FUNCTIONS = ["token", "delegations", "grants", "proxy", "admin", "console"] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

export const ROUTES: Record<string, FunctionName> = {
  "/": "console",
  "/{path+}": "console",
  // The end of a connection opens what is revoked at its provider.
  "/connections": "console",
  "/connections/{id}": "console",
  "/connections/{id}/{path+}": "console",
  "/connections/{id}/disconnect": "grants",
  "/healthz": "admin",
  "/openapi.json": "admin",
  // Where some MCP clients look for these, whatever the metadata says.
  "/token": "token",
  "/register": "token",
  "/.well-known": "token",
  "/.well-known/{path+}": "token",
  "/api": "admin",
  "/api/{path+}": "admin",
  "/api/v1": "admin",
  "/api/v1/{path+}": "admin",
  "/api/v1/oauth": "token",
  "/api/v1/oauth/{path+}": "token",
  "/api/v1/oauth/authorize": "console",
  "/api/v1/oauth/callback": "grants",
  "/api/v1/oauth/client-metadata.json": "grants",
  "/api/v1/apps": "console",
  "/api/v1/apps/{path+}": "console",
  "/api/v1/app-blocks": "console",
  "/api/v1/app-blocks/{path+}": "console",
  "/api/v1/authorizations": "console",
  "/api/v1/authorizations/{path+}": "console",
  "/api/v1/users": "admin",
  "/api/v1/users/{id}": "admin",
  "/api/v1/users/{id}/{path+}": "admin",
  "/api/v1/users/{id}/offboard": "grants",
  "/api/v1/users/{id}/authorizations": "console",
  "/api/v1/users/{id}/authorizations/{path+}": "console",
  "/api/v1/delegations": "delegations",
  "/api/v1/delegations/{path+}": "delegations",
  "/api/v1/delegations:batch": "delegations",
  "/api/v1/session-grants": "grants",
  "/api/v1/session-grants/{path+}": "grants",
  "/api/v1/proxy": "proxy",
  "/api/v1/proxy/{path+}": "proxy",
  "/api/v1/agent-accounts": "admin",
  "/api/v1/agent-accounts/{id}": "admin",
  "/api/v1/agent-accounts/{id}/{path+}": "admin",
  "/api/v1/agent-accounts/{id}/delegations": "delegations",
  "/api/v1/agent-accounts/{id}/session-grants": "grants",
  "/api/v1/agent-accounts/{id}/session-grants/{path+}": "grants",
  "/api/v1/servers": "admin",
  "/api/v1/servers/probe": "proxy",
  "/api/v1/servers/{id}": "admin",
  "/api/v1/servers/{id}/{path+}": "admin",
  "/api/v1/servers/{id}/connect": "grants",
  "/api/v1/servers/{id}/connection": "grants",
};

// Where one method of a path is another function's. Deleting somebody ends what they have here, as offboarding does.
export const METHODS: Record<string, Record<string, FunctionName>> = {
  "/api/v1/users/{id}": { delete: "grants" },
};

// The gateway's own answers have the form of our errors. Any page may read them, since they reveal nothing.
const SAID = "$context.error.messageString";
const answered = (
  error: string,
  reason: string,
  { text = SAID, headers = {} }: { text?: string; headers?: object } = {},
) => ({
  responseParameters: {
    "gatewayresponse.header.Access-Control-Allow-Origin": "'*'",
    "gatewayresponse.header.Access-Control-Expose-Headers": "'retry-after,x-request-id'",
    "gatewayresponse.header.Cache-Control": "'no-store'",
    "gatewayresponse.header.x-request-id": "context.requestId",
    ...headers,
  },
  responseTemplates: {
    "application/json": `{"error":"${error}","error_description":${text},"detail":${text},"reason":"${reason}"}`,
  },
});
const GATEWAYS_OWN = {
  DEFAULT_4XX: answered("invalid_request", "request_invalid"),
  DEFAULT_5XX: answered("server_error", "function_failed"),
  INTEGRATION_FAILURE: answered("temporarily_unavailable", "function_failed"),
  INTEGRATION_TIMEOUT: answered("timed_out", "timed_out"),
  INVALID_API_KEY: answered("access_denied", "wrong_address", {
    text: '"Come by the address that the service says it has, not by this one"',
  }),
  REQUEST_TOO_LARGE: answered("request_too_large", "body_too_large"),
  THROTTLED: answered("too_many_requests", "rate_limited", { headers: { "gatewayresponse.header.Retry-After": "'1'" } }),
  WAF_FILTERED: answered("access_denied", "request_blocked"),
};

// How long API Gateway waits for a streamed response: the maximum.
const STREAMS_FOR_MILLIS = 900_000;

/**
 * The API as OpenAPI. `invoked` is the ARN by which the gateway invokes a function. Behind CloudFront, each method
 * requires the key that CloudFront sends, so that no caller gets around it. The key does not say who calls.
 */
export function definition(
  title: string,
  region: string,
  partition: string,
  invoked: (name: FunctionName) => string,
  isBehindCloudFront: boolean,
) {
  const asked = isBehindCloudFront && { security: [{ distribution: [] }] };
  const known = isBehindCloudFront && {
    components: { securitySchemes: { distribution: { type: "apiKey", name: "x-api-key", in: "header" } } },
  };
  const integration = (name: FunctionName) => {
    const streams = name === "proxy";
    const action = streams ? "response-streaming-invocations" : "invocations";
    const version = streams ? "2021-11-15" : "2015-03-31";
    return {
      type: "aws_proxy",
      httpMethod: "POST",
      ...(streams && { responseTransferMode: "STREAM", timeoutInMillis: STREAMS_FOR_MILLIS }),
      uri: `arn:${partition}:apigateway:${region}:lambda:path/${version}/functions/${invoked(name)}/${action}`,
    };
  };
  const paths = Object.entries(ROUTES).map(([path, name]) => {
    const methods = Object.entries({ "x-amazon-apigateway-any-method": name, ...METHODS[path] });
    const answered = methods.map(([method, by]) => [
      method,
      { ...asked, "x-amazon-apigateway-integration": integration(by) },
    ]);
    return [path, Object.fromEntries(answered)];
  });
  return {
    openapi: "3.0.1",
    info: { title, version: "1" },
    ...known,
    "x-amazon-apigateway-gateway-responses": GATEWAYS_OWN,
    paths: Object.fromEntries(paths),
  };
}
