// The job, with fetch only: no renewal, no retries, no texts for errors. This is the minimum.

export function start({ url, clientId, clientSecret, email, server }) {
  let token;
  async function ask(path, init) {
    const answer = await fetch(url + path, init);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  }
  async function authorized() {
    const body = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: clientId,
      client_secret: clientSecret,
      actor_token: email,
      actor_token_type: "urn:runlayer:token-type:user-email",
    });
    token ??= (await ask("/api/v1/oauth/token", { method: "POST", body })).access_token;
    return { authorization: `Bearer ${token}`, "content-type": "application/json" };
  }
  const tools = `/api/v1/proxy/${server}/tools`;
  return {
    list: async () => ask(tools, { headers: await authorized() }),
    call: async (tool_name, args) =>
      ask(tools, { method: "POST", headers: await authorized(), body: JSON.stringify({ tool_name, arguments: args }) }),
  };
}
