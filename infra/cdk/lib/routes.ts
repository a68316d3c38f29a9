// Which function answers at which path. Each folder says where the rest of it goes, so that it does not matter how
// the gateway looks further up.

export const FUNCTIONS = ["token", "delegations", "grants", "proxy", "admin"] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

export const ROUTES: Record<string, FunctionName> = {
  "/": "admin",
  "/{path+}": "admin",
  "/.well-known": "token",
  "/.well-known/{path+}": "token",
  "/api": "admin",
  "/api/{path+}": "admin",
  "/api/v1": "admin",
  "/api/v1/{path+}": "admin",
  "/api/v1/oauth": "token",
  "/api/v1/oauth/{path+}": "token",
  "/api/v1/oauth/callback": "grants",
  "/api/v1/oauth/client-metadata.json": "grants",
  "/api/v1/delegations": "delegations",
  "/api/v1/delegations/{path+}": "delegations",
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
  "/api/v1/servers/{id}": "admin",
  "/api/v1/servers/{id}/{path+}": "admin",
  "/api/v1/servers/{id}/connect": "grants",
  "/api/v1/servers/{id}/connection": "grants",
};

// How long API Gateway waits for a response that it streams: as long as it can.
const STREAMS_FOR_MILLIS = 900_000;

/** The API as OpenAPI. `invoked` is the ARN by which the gateway invokes a function. */
export function definition(title: string, region: string, partition: string, invoked: (name: FunctionName) => string) {
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
  const paths = Object.entries(ROUTES).map(([path, name]) => [
    path,
    { "x-amazon-apigateway-any-method": { "x-amazon-apigateway-integration": integration(name) } },
  ]);
  return { openapi: "3.0.1", info: { title, version: "1" }, paths: Object.fromEntries(paths) };
}
