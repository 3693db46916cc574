// What a user of TileDB Cloud does with its JavaScript client, unmodified, against any host.
//
//   node tiledb_calls.mjs BASE ALICE_TOKEN BOB_TOKEN URI TASK
//
// alice registers the array at URI and shares it with bob. Prints one JSON object of what each call
// returned, or of the error's body where it was refused.

import { createRequire } from "node:module";

const require = createRequire(`${process.env.DOORBOOK_TEST_TOOLS}/clients/`);
const { default: TileDBClient, v1, v2 } = require("@tiledb-inc/tiledb-cloud");

const [basePath, alice, bob, uri, task] = process.argv.slice(2);
const seen = {};
const told = (call) =>
  call.then(
    (answer) => answer.data,
    (error) => ({ status: error.response?.status, ...error.response?.data, request_id: undefined }),
  );
const words = (rows) => rows.map((row) => row.action);

const client = new TileDBClient({ apiKey: alice, basePath });
const configuration = (apiKey, version) =>
  new v1.Configuration({ apiKey, basePath: `${basePath}/${version}` });
const arrays = new v1.ArrayApi(configuration(alice, "v1"));
const arrays2 = new v2.ArrayApi(new v2.Configuration({ apiKey: alice, basePath: `${basePath}/v2` }));

seen.user = (await client.userProfile()).data.username;
seen.registered = (await client.registerArray("alice", uri, { name: "js", uri })).data.name;
seen.outside = await told(client.registerArray("alice", "file:///etc", { uri: "file:///etc" }));

// An application tells what it did.
const report = (action, more) =>
  fetch(`${basePath}/api/v1/ingest/e2e`, {
    method: "POST",
    headers: { authorization: `Bearer ${alice}`, "content-type": "application/x-ndjson" },
    body: JSON.stringify({
      time: new Date().toISOString(), namespace: "alice", array: "js", action, user: "alice", ...more,
    }),
  }).then((answer) => answer.json());
seen.reported = [
  await report("query_delete", {}),
  await report("query_read", { task_id: task, bytes_sent: 80, query_ranges: { rows: [{ start: 0, end: 9 }] } }),
].map((answer) => answer.stored);

const activity = (await client.arrayActivity("alice", "js")).data;
seen.activity = words(activity);
seen.row = { ...activity[0], id: undefined, event_at: undefined };
seen.one = (await arrays.getActivityLogById("alice", "js", activity[0].id)).data.id === activity[0].id;
seen.by_uri = words((await arrays.arrayActivityLog("alice", uri)).data).length === activity.length;
const at = Math.floor(Date.parse(activity[0].event_at) / 1000);
seen.v1 = words((await arrays.arrayActivityLog("alice", "js", at, at, "query_read,query_write", task, true)).data);
seen.v1_no_task = words((await arrays.arrayActivityLog("alice", "js", undefined, undefined, undefined, undefined, false)).data);
const page = async (...parameters) => {
  const { data } = await arrays2.arrayActivityLog("alice", "js", ...parameters);
  return [words(data.activitylogs), data.pagination_metadata];
};
seen.v2 = await page(at, at, ["query_read", "create"], task, true, 1, 50);
seen.v2_second = await page(undefined, undefined, [], undefined, undefined, 2, 1);
seen.unknown = await told(arrays2.arrayActivityLog("alice", "js", undefined, undefined, ["nonsense"]));
seen.absent = await told(client.arrayActivity("alice", "absent"));

const ofBob = new TileDBClient({ apiKey: bob, basePath });
seen.bob_before = (await told(ofBob.arrayActivity("alice", "js"))).status;
seen.shared = (await client.shareArray("alice", "js", { namespace: "bob", actions: ["read"] })).status;
seen.bob_shared = words((await ofBob.arrayActivity("alice", "js")).data).length === activity.length;
seen.bob_list = (await ofBob.listSharedArrays({})).data.arrays.map((array) => array.name);
seen.bob_may_not = (await told(ofBob.deregisterArray("alice", "js"))).status;
seen.shares = (await client.listSharedWith("alice", "js")).data.map((share) => [share.namespace, share.actions]);
seen.unshared = (await client.unshareArray("alice", "js", "bob")).status;
seen.bob_after = (await told(ofBob.arrayActivity("alice", "js"))).status;
seen.updated = (await arrays.updateArrayMetadata("alice", "js", { description: "new" })).status;
seen.info = (await client.info("alice", "js")).data.description;
seen.owned = (await client.listArrays({ search: "js" })).data.arrays.map((array) => array.name);
seen.last = (await arrays.getLastAccessedArrays()).data.map((array) => array.access_type);
seen.deregistered = (await client.deregisterArray("alice", "js")).status;
await client.registerArray("alice", uri, { uri, name: "js" });
seen.deleted = (await arrays.deleteArray("alice", "js", "application/json")).status;
seen.gone = (await told(client.info("alice", "js"))).status;
seen.stranger = (await told(new TileDBClient({ apiKey: "nonsense", basePath }).userProfile())).status;

console.log(JSON.stringify(seen));
