// Fetches the way `mongodb-atlas-api-client` does. It has no method for the access history, so that
// this asks its own digest client for the paths, and the client itself for the clusters.
//
//   node fetch_urllib.mjs BASE PUBLIC PRIVATE GROUP PATH...
//
// Prints {"answers": [each path's answer], "clusters": [names]}.

import { createRequire } from "node:module";

const require = createRequire(`${process.env.DOORBOOK_TEST_TOOLS}/clients/`);
const atlas = require("mongodb-atlas-api-client");
const HttpClient = require("mongodb-atlas-api-client/src/httpClient.js");
const urllib = createRequire(require.resolve("mongodb-atlas-api-client"))("urllib");

const [base, publicKey, privateKey, projectId, ...paths] = process.argv.slice(2);
const http = new HttpClient(urllib, publicKey, privateKey);
const answers = [];
for (const path of paths) {
  answers.push(
    await http.fetch(base + path, { headers: { accept: "application/vnd.atlas.2023-01-01+json" } }),
  );
}
const client = atlas({ publicKey, privateKey, projectId, baseUrl: `${base}/api/atlas/v1.0` });
const clusters = (await client.cluster.getAll()).results.map((cluster) => cluster.name).sort();
console.log(JSON.stringify({ answers, clusters }));
