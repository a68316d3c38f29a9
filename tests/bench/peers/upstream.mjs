// The MCP server behind every proxy: a tool that does no work, so that only the way to it is measured, and one that
// streams. It answers both eras and keeps no session.
import { createServer } from 'node:http';
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, fromJsonSchema, McpServer } from '@modelcontextprotocol/server';

const inputSchema = fromJsonSchema({
  type: 'object',
  properties: { message: { type: 'string' } },
  required: ['message'],
});

const ticks = fromJsonSchema({
  type: 'object',
  properties: { steps: { type: 'integer' } },
  required: ['steps'],
});

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: 'bench-upstream', version: '1.0.0' });
  server.registerTool('echo', { description: 'Says it again', inputSchema }, ({ message }) => ({
    content: [{ type: 'text', text: message }],
  }));
  // Each event contains the time of sending, so that its reader knows how long it took.
  server.registerTool('tick', { description: 'Says the time, step by step', inputSchema: ticks }, async ({ steps }, context) => {
    const progressToken = context.mcpReq._meta.progressToken;
    for (let step = 1; step <= steps; step += 1) {
      await sleep(20);
      const params = { progressToken, progress: step, message: String(performance.timeOrigin + performance.now()) };
      await context.mcpReq.notify({ method: 'notifications/progress', params });
    }
    return { content: [{ type: 'text', text: 'done' }] };
  });
  return server;
});

const { HOST = '127.0.0.1' } = process.env;
const server = createServer(toNodeHandler(handler)).listen(0, HOST, () => {
  console.log(`listening on http://${isIPv6(HOST) ? `[${HOST}]` : HOST}:${server.address().port}/mcp`);
});
