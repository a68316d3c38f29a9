// What a front end writes with the types that `openapi-typescript` makes of `/openapi.json`. The compiler checks it.

import type { components, operations, paths } from "./schema.js";

type Schemas = components["schemas"];

export const m2m: Schemas["TokenRequest"] = { grant_type: "client_credentials", client_id: "a", client_secret: "b" };
export const onBehalfOf: Schemas["TokenRequest"] = {
    ...m2m,
    actor_token: "bob@example.com",
    actor_token_type: "urn:runlayer:token-type:user-email",
};
// @ts-expect-error There is no such grant.
export const byPassword: Schemas["TokenRequest"] = { grant_type: "password" };

type Call = operations["call_tool"];
export const call: Call["requestBody"]["content"]["application/json"] = {
    tool_name: "list_repos",
    arguments: { org: "acme-corp" },
};
// @ts-expect-error A call names its tool.
export const nothing: Call["requestBody"]["content"]["application/json"] = { arguments: {} };
export const server: Call["parameters"]["path"] = { server_id: "demo" };

// Each path has its operations, and each answer its body.
type Listed = paths["/api/v1/delegations"]["get"]["responses"][200]["content"]["application/json"];
export const emails = (delegations: Listed): (string | null | undefined)[] =>
    delegations.filter((delegation) => delegation.is_active).map((delegation) => delegation.delegator_email);

export const mayTryAgain = (error: Schemas["ErrorBody"]): boolean =>
    error.reason === "store_unavailable" || error.safe_to_retry === true;
// @ts-expect-error There is no such reason.
export const isTea = (error: Schemas["ErrorBody"]): boolean => error.reason === "tea";

export const grant: operations["create_session_grant"]["requestBody"]["content"]["application/json"] = {
    server_id: "demo-oauth",
    shared: true,
};
export const policy = (decision: Schemas["PolicyDecision"]): "permit" | "deny" | "depends" => decision.decision;
