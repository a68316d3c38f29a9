// The token peer: oidc-provider issues ES256 JWT access tokens (RFC 9068) by client_credentials, from its in-memory
// adapter. Everything that could slow it down is off: no dev views, no logging.
//
// With the argument `people`, it is also the peer for what people do: a public client refreshes with rotation, and
// there are its development pages, which are the only ones that it has. Then it keeps everything in a Map. Its own
// adapter goes through all tokens of a grant at each refresh, and would become slower and slower.
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const resource = 'https://api.example.test';
const signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const withPeople = process.argv.includes('people');
const app = 'bench-app';

const kept = new Map();
class Kept {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) { kept.set(this.key(id), payload); }
  async find(id) { return kept.get(this.key(id)); }
  async findByUid(uid) { return [...kept.values()].find((payload) => payload.uid === uid); }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { kept.delete(this.key(id)); }
  async revokeByGrantId() {}
}

const people = {
  adapter: Kept,
  rotateRefreshToken: true,
  clients: [
    {
      client_id: app,
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1:49151/callback'],
      application_type: 'native',
      id_token_signed_response_alg: 'ES256',
    },
  ],
};

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
  ...(withPeople && people),
  ttl: { ClientCredentials: 3600, AccessToken: 3600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: withPeople },
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

/** The refresh token of a new family of somebody's, as a code exchange gives it. */
async function newFamily() {
  const client = await provider.Client.find(app);
  const grant = new provider.Grant({ accountId: 'alice', clientId: app });
  grant.addResourceScope(resource, 'tools');
  const grantId = await grant.save();
  const scope = 'tools offline_access';
  const token = new provider.RefreshToken({
    accountId: 'alice', client, grantId, gty: 'authorization_code', resource, scope,
  });
  return token.save();
}

if (withPeople) {
  provider.use(async (context, next) => {
    if (context.path !== '/bench/refresh-tokens') return next();
    context.body = await Promise.all(Array.from({ length: Number(context.query.count) }, newFamily));
  });
}

const server = provider.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
