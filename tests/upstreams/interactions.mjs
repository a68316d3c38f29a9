// The authorization server's own pages: signing in (any name is an account without a password), and consent.

const escaped = (text) =>
  String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

const page = (title, form) => `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>
  body { font: 16px/1.5 sans-serif; max-width: 24rem; margin: 4rem auto }
  button { font: inherit }
</style>
<h1>${title}</h1>
<form method="post">${form}</form>
`;

const signInPage = () =>
  page(
    "Sign in to Chat",
    '<p><label>Name <input id="login" name="login" autofocus required></label>' +
      '<p><button id="sign-in">Sign in</button>',
  );

const consentPage = (client, login, scopes) =>
  page(
    `Allow ${escaped(client.clientName ?? client.clientId)}?`,
    `<p>Signed in as <b>${escaped(login)}</b>. It asks for:` +
      `<ul>${scopes.map((scope) => `<li><code>${escaped(scope)}</code>`).join("")}</ul>` +
      '<p><button id="allow" name="answer" value="allow">Allow</button> ' +
      '<button id="decline" name="answer" value="decline">Decline</button>',
  );

// Answers requests to /interaction/…
export function interactions(provider) {
  return async (request, response) => {
    const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
    if (request.method !== "POST") {
      const client = await provider.Client.find(params.client_id);
      const scopes = params.scope?.split(" ") ?? [];
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end(
        prompt.name === "login" ? signInPage() : consentPage(client, session.accountId, scopes),
      );
      return;
    }
    const form = await read(request);
    const result =
      prompt.name === "login"
        ? { login: { accountId: form.get("login") } }
        : await consent(provider, { prompt, params, session, grantId }, form.get("answer"));
    const mergeWithLastSubmission = prompt.name !== "login";
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission });
  };
}

async function consent(provider, { prompt: { details }, params, session, grantId }, answer) {
  if (answer !== "allow") {
    return { error: "access_denied", error_description: "The person declined" };
  }
  const { Grant } = provider;
  const grant = grantId
    ? await Grant.find(grantId)
    : new Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) grant.addOIDCScope(details.missingOIDCScope.join(" "));
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  return { consent: { grantId: await grant.save() } };
}

async function read(request) {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  return new URLSearchParams(body);
}
