// Tokens for an MCP client: the `AuthProvider` of its transports.

export function authProvider(client) {
  let sent;
  let refused;
  return {
    async token() {
      const { accessToken } = await client.token({ renew: refused });
      refused = undefined;
      return (sent = accessToken);
    },
    async onUnauthorized() {
      refused = sent;
    },
  };
}
