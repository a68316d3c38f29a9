// The token peer: oidc-provider issues ES256 JWT access tokens (RFC 9068) by client_credentials, from its in-memory
// adapter. Everything that could slow it down is off: no dev views, no logging.
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const resource = 'https://api.example.test';
const signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider('http://127.0.0.1', {
  jwks: { keys: [{ ...signingKey, use: 'sig', alg: 'ES256' }] },
  cookies: { keys: ['only-for-the-benchmark'] },
  clients: [
    {
      client_id: 'bench',
      client_secret: 'bench-secret-bench-secret-bench-secret-bench',
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      id_token_signed_response_alg: 'ES256',
    },
  ],
  ttl: { ClientCredentials: 3600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    // A token for a resource server is a JWT; others would be opaque.
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      getResourceServerInfo: () => ({
        scope: 'tools',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

const server = provider.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
