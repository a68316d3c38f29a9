// The job, with the npm package.

import { AgentClient } from "deputize";

export function start({ url, clientId, clientSecret, email, server }) {
  const credentials = { clientId, clientSecret };
  const acting = new AgentClient({ url, credentials, dangerouslyAllowSecretInBrowser: true }).onBehalfOf({ email });
  return {
    list: () => acting.listTools(server),
    call: (name, args) => acting.callTool(server, name, args),
  };
}
