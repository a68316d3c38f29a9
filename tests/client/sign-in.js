// `deputize/sign-in` and `deputize/mcp` as people meet them: pages of an origin of their own, Chromium, and the service
// with the demo's provider. A person clicks through it all.

export async function signIn() {}
