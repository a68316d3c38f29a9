// What answers about tools must be.

/** The body, if it is the result of a tool (MCP's `CallToolResult`). */
export function toolResult(body) {
  if (body && Array.isArray(body.content)) return body;
  // Servers of the first revisions with structured content leave the other out.
  const structured = body?.structuredContent;
  if (Object(structured) === structured && body.content === undefined) return { ...body, content: [] };
  throw malformed("The answer is no result of a tool", " If it is, the tool may have run");
}

/** A page of a list, if each of its items is a tool. */
export function toolPage(page) {
  if (page.items.every((tool) => typeof tool?.name === "string")) return page;
  throw malformed("The answer is not what it should be: one of its tools has no name");
}

/** The fields of an error, of which the client makes one: its class is that of the copy that made the client. */
export function malformed(detail, further = "") {
  const hint = `Is url the address of a Deputize service?${further}`;
  return { isDeputizeError: true, code: "malformed_answer", detail, hint };
}
