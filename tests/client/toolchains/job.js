// What each fixture does with the package: a call, and a call that is refused. `told` has the service's address and
// the agent's credentials.

export async function job({ AgentClient, DeputizeError }, told) {
  const { url, clientId, clientSecret } = told;
  const agent = new AgentClient({ url, credentials: { clientId, clientSecret }, dangerouslyAllowSecretInBrowser: true });
  const bob = agent.onBehalfOf({ email: "bob@example.com" });
  const result = await bob.callTool("demo", "list_repos", { org: "acme-corp" });
  const refusal = bob.callTool("demo", "delete_repo", { org: "acme-corp", repo: "website" });
  const refused = await refusal.then(() => undefined, (error) => error);
  return {
    said: result?.content[0].text.split(":")[0],
    refused: refused instanceof DeputizeError && [refused.status, refused.code, refused.detail, refused.deniedFor],
  };
}

/** What a fixture tells: what the job answered, or all that is known about why it did not. */
export const outcome = (done) =>
  done.catch((error) => ({ failed: `${error?.message}`, code: error?.code, cause: String(error?.cause?.stack ?? error?.stack) }));
