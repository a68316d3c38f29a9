// The tools, resources and prompts that the scenarios of the MCP conformance suite require by name, as each scenario
// describes them.

import { setTimeout as sleep } from "node:timers/promises";
import {
  McpServer,
  ResourceTemplate,
  acceptedContent,
  completable,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
} from "@modelcontextprotocol/server";
import { z } from "zod";

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";
const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";
const PAUSE_MS = 50;

const nothing = z.object({});
const name = z.object({ name: z.string() });
const textBlock = (text) => ({ type: "text", text });
const imageBlock = { type: "image", data: PNG, mimeType: "image/png" };
const said = (text) => ({ content: [textBlock(text)] });
const saidBy = (role, content) => ({ role, content });
const asked = (text, maxTokens) => ({ messages: [saidBy("user", textBlock(text))], maxTokens });

// Signed, so that a state that a client has changed is refused.
const states = createRequestStateCodec({ key: crypto.getRandomValues(new Uint8Array(32)) });

/** One server, of a session or of a stateless request. With the latter, `notify` reaches the listeners. */
export function makeServer(notify) {
  const server = new McpServer(
    { name: "conformance", version: "1.0.0" },
    {
      capabilities: { logging: {}, resources: { subscribe: true } },
      requestState: { verify: states.verify },
    },
  );
  registerContent(server);
  registerTalking(server);
  registerAsking(server);
  registerMultiRound(server);
  registerChanges(server, notify);
  registerSchemas(server, notify);
  registerResources(server);
  registerPrompts(server);
  return server;
}

function tool(server, called, description, inputSchema, run) {
  server.registerTool(called, { description, inputSchema }, run);
}

/** One of every kind of content. */
function registerContent(server) {
  const returns = (called, ...content) =>
    tool(server, called, `Returns ${called}`, nothing, () => ({ content }));
  returns("test_simple_text", textBlock("This is a simple text response for testing."));
  returns("test_image_content", imageBlock);
  returns("test_audio_content", { type: "audio", data: WAV, mimeType: "audio/wav" });
  const resource = { uri: "test://embedded-resource", mimeType: "text/plain", text: "An embedded resource." };
  returns("test_embedded_resource", { type: "resource", resource });
  const json = { uri: "test://mixed-content-resource", mimeType: "application/json", text: '{"test":"data"}' };
  const mixed = { type: "resource", resource: json };
  returns("test_multiple_content_types", textBlock("Multiple content types test:"), imageBlock, mixed);
  tool(server, "test_error_handling", "Fails", nothing, () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
}

/** Messages before the result. */
function registerTalking(server) {
  tool(server, "test_tool_with_logging", "Logs three times", nothing, async (_, { mcpReq }) => {
    for (const message of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await mcpReq.log("info", message);
      await sleep(PAUSE_MS);
    }
    return said("logged");
  });
  tool(server, "test_logging_tool", "Logs once", nothing, async (_, { mcpReq }) => {
    await mcpReq.log("info", "logged");
    return said("logged");
  });
  tool(server, "test_tool_with_progress", "Reports progress", nothing, async (_, { mcpReq }) => {
    for (const progress of [0, 50, 100]) await report(mcpReq, progress);
    return said("done");
  });
  tool(server, "test_streaming_elicitation", "Streams, and asks nothing", nothing, async (_, { mcpReq }) => {
    await report(mcpReq, 50);
    return said("done");
  });
  // The client must come back for the result.
  tool(server, "test_reconnection", "Closes its stream before it ends", nothing, async (_, { http }) => {
    http?.closeSSE?.();
    await sleep(PAUSE_MS);
    return said("reconnected");
  });
}

async function report(mcpReq, progress) {
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return;
  await mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
  await sleep(PAUSE_MS);
}

/**
 * The server's requests to a client in a session. They are sent over the stream of the call (`mcpReq.send`): requests
 * by the SDK's `requestSampling` and `elicitInput` are lost if the session's own stream is not open yet.
 */
function registerAsking(server) {
  const prompted = z.object({ prompt: z.string() });
  tool(server, "test_sampling", "Asks for a completion", prompted, async (given, { mcpReq }) => {
    const params = asked(given.prompt, 100);
    const { content } = await mcpReq.send({ method: "sampling/createMessage", params });
    return said(`LLM response: ${content.text}`);
  });
  const elicits = (called, inputSchema, message, requestedSchema) =>
    tool(server, called, "Asks for input", inputSchema, async (given, { mcpReq }) => {
      const params = { message: message ?? given.message, requestedSchema };
      const { action, content } = await mcpReq.send({ method: "elicitation/create", params });
      return said(`Elicitation completed: action=${action}, content=${JSON.stringify(content)}`);
    });
  elicits("test_elicitation", z.object({ message: z.string() }), undefined, {
    type: "object",
    properties: {
      username: { type: "string", description: "User's response" },
      email: { type: "string", description: "User's email address" },
    },
    required: ["username", "email"],
  });
  elicits("test_elicitation_sep1034_defaults", nothing, "Please review", {
    type: "object",
    properties: {
      name: { type: "string", default: "John Doe" },
      age: { type: "integer", default: 30 },
      score: { type: "number", default: 95.5 },
      status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
      verified: { type: "boolean", default: true },
    },
  });
  const plain = { type: "string", enum: ["option1", "option2", "option3"] };
  const titled = ["First", "Second", "Third"].map((title, index) => ({
    const: `value${index + 1}`,
    title: `${title} Option`,
  }));
  elicits("test_elicitation_sep1330_enums", nothing, "Please choose", {
    type: "object",
    properties: {
      untitledSingle: plain,
      titledSingle: { type: "string", oneOf: titled },
      legacyEnum: {
        type: "string",
        enum: ["opt1", "opt2", "opt3"],
        enumNames: ["Option One", "Option Two", "Option Three"],
      },
      untitledMulti: { type: "array", items: plain },
      titledMulti: { type: "array", items: { anyOf: titled } },
    },
  });
}

const elicitName = (message) => inputRequired.elicit({ message, requestedSchema: name });
const ok = z.object({ ok: z.boolean() });
const confirm = inputRequired.elicit({ message: "Please confirm", requestedSchema: ok });

/** Results that ask for input, in the stateless revision. */
function registerMultiRound(server) {
  // When all answers have come, calls `finish`; until then, asks.
  const asks = (called, inputRequests, finish, state) =>
    tool(server, `test_input_required_result_${called}`, "Asks for input", nothing, async (_, { mcpReq }) => {
      const responses = mcpReq.inputResponses ?? {};
      if (Object.keys(inputRequests).every((key) => key in responses)) {
        const text = finish(responses, mcpReq.requestState());
        if (text !== undefined) return said(text);
      }
      const requestState = state && (await states.mint(state));
      return inputRequired({ inputRequests, requestState });
    });
  const userName = elicitName("What is your name?");
  const capital = inputRequired.createMessage(asked("What is the capital of France?", 100));
  const roots = inputRequired.listRoots();

  asks("elicitation", { user_name: userName }, (responses) => {
    const accepted = acceptedContent(responses, "user_name", name);
    return accepted && `Hello, ${accepted.name}!`;
  });
  asks("sampling", { capital_question: capital }, (responses) => responses.capital_question.content?.text);
  asks("list_roots", { client_roots: roots }, (responses) =>
    responses.client_roots.roots?.map(({ uri }) => uri).join(),
  );
  asks("request_state", { confirm }, (_, state) => state && "state-ok", { step: 1 });
  asks("tampered_state", { confirm }, (_, state) => state && "integrity-ok", { step: 1 });
  const greeting = inputRequired.createMessage(asked("Generate a greeting", 50));
  const several = { user_name: userName, greeting, client_roots: roots };
  asks("multiple_inputs", several, (responses) => Object.keys(responses).join(), { step: 1 });

  tool(server, "test_input_required_result_multi_round", "Asks twice", nothing, async (_, { mcpReq }) => {
    const first = acceptedContent(mcpReq.inputResponses, "step1", name);
    const second = acceptedContent(mcpReq.inputResponses, "step2", z.object({ color: z.string() }));
    const state = mcpReq.requestState();
    if (state?.name !== undefined && second) return said(`${state.name} likes ${second.color}`);
    if (first) {
      const step2 = inputRequired.elicit({
        message: "Step 2: What is your favorite color?",
        requestedSchema: z.object({ color: z.string() }),
      });
      return inputRequired({ inputRequests: { step2 }, requestState: await states.mint({ name: first.name }) });
    }
    const inputRequests = { step1: elicitName("Step 1: What is your name?") };
    return inputRequired({ inputRequests, requestState: await states.mint({}) });
  });

  tool(server, "test_input_required_result_capabilities", "Asks what it may", nothing, (_, { mcpReq }) => {
    const declared = mcpReq.envelope?.[CAPABILITIES] ?? {};
    const inputRequests = {
      ...(declared.elicitation && { user_name: userName }),
      ...(declared.sampling && { capital_question: capital }),
      ...(declared.roots && { client_roots: roots }),
    };
    return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : said("nothing to ask");
  });

  // The SDK refuses to ask a client for something that the client has not declared.
  tool(server, "test_missing_capability", "Needs sampling", nothing, () =>
    inputRequired({ inputRequests: { capital_question: capital } }),
  );

  server.registerPrompt("test_input_required_result_prompt", { description: "Asks for input" }, ({ mcpReq }) => {
    const given = acceptedContent(mcpReq.inputResponses, "user_context", z.object({ context: z.string() }));
    if (given) return { messages: [saidBy("user", textBlock(`In the context of ${given.context}`))] };
    const user_context = inputRequired.elicit({
      message: "What context should the prompt use?",
      requestedSchema: z.object({ context: z.string() }),
    });
    return inputRequired({ inputRequests: { user_context } });
  });
}

/** Changes of which listeners are notified. */
function registerChanges(server, notify) {
  tool(server, "test_trigger_tool_change", "Says that tools have changed", nothing, () => {
    notify?.toolsChanged();
    return said("changed");
  });
  tool(server, "test_trigger_prompt_change", "Says that prompts have changed", nothing, () => {
    notify?.promptsChanged();
    return said("changed");
  });
}

/** A schema with everything that must not get lost on the way; in the stateless era, also a parameter for a header. */
function registerSchemas(server, notify) {
  const string = { type: "string" };
  const needs = (...required) => ({ required });
  tool(
    server,
    "json_schema_2020_12_tool",
    "Tool with JSON Schema 2020-12 features",
    fromJsonSchema({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      $defs: {
        address: { $anchor: "addressDef", type: "object", properties: { street: string, city: string } },
      },
      properties: {
        name: string,
        address: { $ref: "#/$defs/address" },
        contactMethod: { type: "string", enum: ["phone", "email"] },
        phone: string,
        email: string,
      },
      allOf: [{ anyOf: [needs("phone"), needs("email")] }],
      if: { properties: { contactMethod: { const: "phone" } }, ...needs("contactMethod") },
      then: needs("phone"),
      else: needs("email"),
      additionalProperties: false,
    }),
    () => said("valid"),
  );
  if (notify === undefined) return;
  const region = z.string().meta({ "x-mcp-header": "Region" });
  tool(server, "test_custom_header", "Runs in a region", z.object({ region }), (given) => said(given.region));
}

function registerResources(server) {
  const gives = (called, uri, mimeType, content) =>
    server.registerResource(called, uri, { description: called, mimeType }, () => ({
      contents: [{ uri, mimeType, ...content }],
    }));
  gives("static text", "test://static-text", "text/plain", {
    text: "This is the content of the static text resource.",
  });
  gives("static binary", "test://static-binary", "image/png", { blob: PNG });
  gives("watched", "test://watched-resource", "text/plain", { text: "Watched" });
  const template = new ResourceTemplate("test://template/{id}/data", { list: undefined });
  const described = { description: "template", mimeType: "application/json" };
  server.registerResource("template", template, described, (uri, { id }) => {
    const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
    return { contents: [{ uri: uri.href, mimeType: "application/json", text }] };
  });
  for (const method of ["resources/subscribe", "resources/unsubscribe"]) {
    server.server.setRequestHandler(method, () => ({}));
  }
}

function registerPrompts(server) {
  const says = (called, argsSchema, content) =>
    server.registerPrompt(called, { description: called, ...(argsSchema && { argsSchema }) }, (given) => ({
      messages: content(given).map((block) => saidBy("user", block)),
    }));
  says("test_simple_prompt", undefined, () => [textBlock("This is a simple prompt for testing.")]);
  const values = ["paris", "park", "party"];
  const arg1 = completable(z.string(), (begun) => values.filter((value) => value.startsWith(begun)));
  says("test_prompt_with_arguments", z.object({ arg1, arg2: z.string() }), ({ arg1, arg2 }) => [
    textBlock(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`),
  ]);
  says("test_prompt_with_embedded_resource", z.object({ resourceUri: z.string() }), ({ resourceUri }) => [
    {
      type: "resource",
      resource: { uri: resourceUri, mimeType: "text/plain", text: "Embedded resource content for testing." },
    },
    textBlock("Please process the embedded resource above."),
  ]);
  says("test_prompt_with_image", undefined, () => [imageBlock, textBlock("Please analyze the image above.")]);
}
