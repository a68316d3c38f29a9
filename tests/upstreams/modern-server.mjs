// A small MCP server of revision 2026-07-28, on the reference SDK.
//
// PORT (0 = any) and HOST (127.0.0.1) to listen on. TOKEN, if set, is the bearer token that every request must have.
// It is ready when it prints `listening on http://HOST:PORT/mcp`. It prints `slow: cancelled after step N` when the
// caller of `slow` disconnects.

import { createServer } from "node:http";
import { isIPv6 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from "@modelcontextprotocol/node";
import {
  McpServer,
  ResourceTemplate,
  acceptedContent,
  completable,
  createMcpHandler,
  inputRequired,
} from "@modelcontextprotocol/server";
import { z } from "zod";

const { PORT = "0", HOST = "127.0.0.1", TOKEN } = process.env;

const LANGUAGES = ["german", "greek", "italian"];

const text = (value) => ({ content: [{ type: "text", text: value }] });
const startingWith = (begun) => LANGUAGES.filter((language) => language.startsWith(begun));

function makeServer({ requestInfo }) {
  const server = new McpServer({ name: "modern", version: "1.0.0" });

  server.registerTool(
    "echo",
    { description: "Says the text again", inputSchema: z.object({ text: z.string() }) },
    ({ text: said }) => text(said),
  );

  server.registerTool(
    "add",
    {
      description: "Adds two numbers",
      inputSchema: z.object({ a: z.number(), b: z.number() }),
      outputSchema: z.object({ sum: z.number() }),
    },
    ({ a, b }) => ({ ...text(String(a + b)), structuredContent: { sum: a + b } }),
  );

  server.registerTool("fail", { description: "Fails, as tools do", inputSchema: z.object({}) }, () => ({
    ...text("it did not work"),
    isError: true,
  }));

  server.registerTool(
    "slow",
    {
      description: "Takes a number of steps and reports each",
      inputSchema: z.object({ steps: z.number().int(), pauseMs: z.number().int().default(10) }),
    },
    async ({ steps, pauseMs }, context) => {
      const progressToken = context.mcpReq._meta?.progressToken;
      for (let step = 1; step <= steps; step += 1) {
        try {
          await sleep(pauseMs, undefined, { signal: context.mcpReq.signal });
        } catch (cancelled) {
          console.log(`slow: cancelled after step ${step - 1}`);
          throw cancelled;
        }
        if (progressToken !== undefined) {
          await context.mcpReq.notify({
            method: "notifications/progress",
            params: { progressToken, progress: step, total: steps },
          });
        }
      }
      return text(`took ${steps} steps`);
    },
  );

  // The SDK itself refuses a call whose Mcp-Param-* headers do not match its arguments.
  server.registerTool(
    "query",
    {
      description: "Says in which region it ran, as its headers have it",
      inputSchema: z.object({
        region: z.string().meta({ "x-mcp-header": "Region" }),
        options: z
          .object({ limit: z.number().int().optional().meta({ "x-mcp-header": "Limit" }) })
          .optional(),
        sql: z.string(),
      }),
    },
    ({ sql }) =>
      text(
        JSON.stringify({
          sql,
          region: requestInfo?.headers.get("mcp-param-region"),
          limit: requestInfo?.headers.get("mcp-param-limit"),
        }),
      ),
  );

  server.registerTool(
    "large",
    { description: "Returns so many bytes", inputSchema: z.object({ bytes: z.number().int() }) },
    ({ bytes }) => text("x".repeat(bytes)),
  );

  // Answers `input_required`. When the same call comes again with the answer, gives the result.
  const name = z.object({ name: z.string() });
  server.registerTool(
    "ask",
    { description: "Asks for a name and greets it", inputSchema: z.object({ greeting: z.string() }) },
    ({ greeting }, context) => {
      const answer = acceptedContent(context.mcpReq.inputResponses, "who", name);
      if (answer !== undefined) return text(`${greeting}, ${answer.name}`);
      const who = inputRequired.elicit({ message: "Who is there?", requestedSchema: name });
      return inputRequired({ inputRequests: { who } });
    },
  );

  server.registerResource(
    "motto",
    "text://motto",
    { description: "What this server believes in", mimeType: "text/plain" },
    (uri) => ({ contents: [{ uri: uri.href, mimeType: "text/plain", text: "Less is more" }] }),
  );

  server.registerResource(
    "dot",
    "image://dot",
    { description: "One transparent pixel", mimeType: "image/gif" },
    (uri) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: "image/gif",
          blob: "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
        },
      ],
    }),
  );

  server.registerResource(
    "word",
    new ResourceTemplate("text://words/{language}", { list: undefined, complete: { language: startingWith } }),
    { description: "A language's name", mimeType: "text/plain" },
    (uri, { language }) => ({ contents: [{ uri: uri.href, mimeType: "text/plain", text: language }] }),
  );

  server.registerPrompt(
    "translate",
    {
      description: "Asks for a translation",
      argsSchema: z.object({ text: z.string(), language: completable(z.string(), startingWith) }),
    },
    ({ text: said, language }) => ({
      messages: [{ role: "user", content: { type: "text", text: `Translate into ${language}: ${said}` } }],
    }),
  );

  return server;
}

const handle = toNodeHandler(createMcpHandler(makeServer, { legacy: "reject" }));
const hostIsLocal = localhostHostValidation();
const originIsLocal = localhostOriginValidation();

const http = createServer((request, response) => {
  if (HOST === "127.0.0.1" && !hostIsLocal(request, response)) return;
  if (!originIsLocal(request, response)) return;
  if (TOKEN !== undefined && request.headers.authorization !== `Bearer ${TOKEN}`) {
    const { port } = http.address();
    const metadata = `http://127.0.0.1:${port}/.well-known/oauth-protected-resource`;
    response.writeHead(401, { "www-authenticate": `Bearer resource_metadata="${metadata}"` }).end();
    return;
  }
  handle(request, response);
});

http.listen(Number(PORT), HOST, () => {
  console.log(`listening on http://${isIPv6(HOST) ? `[${HOST}]` : HOST}:${http.address().port}/mcp`);
});
