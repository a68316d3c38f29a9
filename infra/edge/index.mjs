// Runs at CloudFront between API Gateway's answer and the client (Lambda@Edge, origin response).
//
// API Gateway sends no `WWW-Authenticate`: what a function answers by that name leaves it as
// `x-amzn-Remapped-WWW-Authenticate` (API Gateway Developer Guide, "Amazon API Gateway important notes"). An MCP client
// looks for the first to learn how to get a token (RFC 9728 section 5.1), so it gets its name back here. At viewer
// response it would be too late: CloudFront runs no function there for an answer of 400 or more (CloudFront Developer
// Guide, "Restrictions on all edge functions").

const RENAMED = "x-amzn-remapped-www-authenticate";

export const handler = async (event) => {
  const { response } = event.Records[0].cf;
  const { [RENAMED]: renamed, ...headers } = response.headers;
  if (renamed === undefined) return response;
  const challenges = renamed.map(({ value }) => ({ key: "WWW-Authenticate", value }));
  return { ...response, headers: { ...headers, "www-authenticate": challenges } };
};
