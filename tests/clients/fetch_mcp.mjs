// Fetches with the client of mongodb-mcp-server: a service account, a bearer token, TLS only.
// Its typed methods do not include the access history; its own openapi client fetches any path.
//
//   NODE_EXTRA_CA_CERTS=ca.pem node fetch_mcp.mjs BASE CLIENT_ID CLIENT_SECRET GROUP PATH...
//
// Prints {"answers": [each path's answer], "clusters": [names]}.

import { createRequire } from "node:module";

const require = createRequire(`${process.env.DOORBOOK_TEST_TOOLS}/clients/`);
const { ApiClient, AuthProviderFactory } = await import(
  require.resolve("@mongodb-js/mcp-atlas-api-client")
);

const [baseUrl, clientId, clientSecret, groupId, ...paths] = process.argv.slice(2);
const complaints = [];
const complain = (what) => complaints.push(what);
const logger = { debug() {}, info() {}, warning: complain, error: complain };
const httpClient = { fetch, Request };
const userAgent = "doorbook-test";
const authProvider = AuthProviderFactory.create(
  { apiBaseUrl: baseUrl, userAgent, credentials: { clientId, clientSecret }, httpClient },
  logger,
);
const client = new ApiClient({
  options: { baseUrl, userAgent, httpClient },
  logger,
  authProvider,
});

const answers = [];
for (const path of paths) {
  const { data, error, response } = await client.client.GET(path);
  if (error !== undefined) {
    throw new Error(`${path}: ${response.status} ${JSON.stringify(error)}`);
  }
  answers.push(data);
}
const { results } = await client.listClusters({ params: { path: { groupId } } });
await client.close();
if (complaints.length > 0) {
  throw new Error(JSON.stringify(complaints));
}
console.log(JSON.stringify({ answers, clusters: results.map((c) => c.name).sort() }));
