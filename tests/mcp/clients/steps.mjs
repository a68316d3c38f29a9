// What the TypeScript clients have in common: a script of steps comes as JSON on standard input, and the result of
// each step goes as JSON to standard output. `clients/steps.py` is the same for Python.

import { text } from "node:stream/consumers";

/** The answers to servers' requests. */
export const ANSWERS = {
  "elicitation/create": () => ({ action: "accept", content: { name: "Ada" } }),
  "sampling/createMessage": () => ({
    role: "assistant",
    model: "a model",
    content: { type: "text", text: "sampled by the client" },
  }),
  "roots/list": () => ({ roots: [{ uri: "file:///tmp", name: "a root" }] }),
};

export const CAPABILITIES = { elicitation: {}, sampling: {}, roots: {} };

/** Runs the script on standard input with the client that `connect(script)` makes. */
export async function main(connect) {
  const script = JSON.parse(await text(process.stdin));
  const report = { steps: [] };
  try {
    const { client, verbs, describe } = await connect(script);
    report.connected = describe();
    for (const step of script.steps) report.steps.push(await outcome(() => run(verbs, step)));
    await client.close();
  } catch (error) {
    report.refused = told(error);
  }
  process.stdout.write(JSON.stringify(report), () => process.exit(0));
}

async function run(verbs, { do: verb, progress, ...params }) {
  const seen = [];
  const onprogress = (event) => seen.push({ ...event, at: performance.now() });
  const result = await verbs[verb](params, progress ? { onprogress } : {});
  return progress ? { result, progress: seen, at: performance.now() } : { result };
}

async function outcome(done) {
  try {
    return await done();
  } catch (error) {
    return { error: told(error) };
  }
}

const told = (error) => ({ kind: error.name, code: error.code, message: error.message, data: error.data });
