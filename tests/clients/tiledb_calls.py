"""What a user of TileDB Cloud does with its Python client, unmodified, against any host.

    python tiledb_calls.py HOST ALICE_TOKEN BOB_PASSWORD ARRAY_FOLDER TASK

alice registers the array in ARRAY_FOLDER and shares it with bob. Prints one JSON object of what each
call returned, or of the error's text where it was refused. Its settings go to $HOME.
"""

import datetime
import json
import sys
import urllib.request

import tiledb.cloud
import tiledb.cloud._common.api_v2.api.array_api as array_api_v2
from tiledb.cloud import client, rest_api

host, alice_token, bob_password, folder, task = sys.argv[1:]
uri = f"file://{folder}"
seen = {}


def told(call):
    """What a call returns, or the text of what it raises."""
    try:
        return call()
    except Exception as error:  # whatever a user would see
        return f"{type(error).__name__}: {error}"


def report(action, **more):
    """An application tells what it did."""
    time = datetime.datetime.now(datetime.timezone.utc).isoformat()
    line = {"time": time, "namespace": "alice", "array": "arr1", "action": action, "user": "alice", **more}
    headers = {"Authorization": f"Bearer {alice_token}", "Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(f"{host}/api/v1/ingest/e2e", json.dumps(line).encode(), headers)
    return json.loads(urllib.request.urlopen(request).read())["stored"]


def words(rows):
    return rows if isinstance(rows, str) else [row.action for row in rows]


def v1(**parameters):
    api = client.build(rest_api.ArrayApi)
    return api.array_activity_log("alice", "arr1", **parameters)


def v2(**parameters):
    api = client.build(array_api_v2.ArrayApi)
    return api.array_activity_log("alice", "arr1", **parameters)


# A login with a token asks for nothing; what comes next does.
tiledb.cloud.login(host=host, token=alice_token)
profile = tiledb.cloud.user_profile()
seen["user"] = [profile.username, profile.organizations[0].organization_name]
info = tiledb.cloud.register_array(uri, namespace="alice", array_name="arr1", description="d")
seen["registered"] = [info.name, info.namespace, info.uri, info.tiledb_uri == f"tiledb://alice/{info.id}"]
seen["registered_again"] = told(lambda: tiledb.cloud.register_array(uri, array_name="other"))
seen["outside"] = told(lambda: tiledb.cloud.register_array("file:///etc", array_name="other"))
info = tiledb.cloud.array.info("tiledb://alice/arr1")
seen["info"] = [info.name, info.description, info.allowed_actions, info.public_share]

ranges = '{"rows":[{"start":1,"end":4}]}'
seen["reported"] = [
    report("query_delete"),
    report("query_read", task_id=task, bytes_sent=2048, bytes_received=10, query_ranges=ranges, query_stats={"timers": {}}),
]
activity = tiledb.cloud.array_activity("tiledb://alice/arr1")
seen["activity"] = words(activity)
row = activity[0]
seen["row"] = {
    "action": row.action, "username": row.username, "bytes_sent": row.bytes_sent,
    "bytes_received": row.bytes_received, "array_task_id": row.array_task_id,
    "query_ranges": row.query_ranges, "query_stats": row.query_stats,
}
seen["by_uri"] = words(tiledb.cloud.array_activity(f"tiledb://alice/{uri}")) == seen["activity"]
seen["by_id"] = words(tiledb.cloud.array_activity(f"tiledb://alice/{info.id}")) == seen["activity"]
seen["async"] = words(tiledb.cloud.array_activity("tiledb://alice/arr1", async_req=True).get()) == seen["activity"]
one = client.build(rest_api.ArrayApi).get_activity_log_by_id("alice", "arr1", row.id)
seen["one"] = one.to_dict() == row.to_dict()

start, end = int(row.event_at.timestamp()), int(row.event_at.timestamp())
seen["v1"] = words(v1(start=start, end=end, event_types="query_read,query_write", task_id=task, has_task_id=True))
seen["v1_no_task"] = words(v1(has_task_id=False))
seen["v1_read"] = words(v1(event_types="read"))
seen["v1_list"] = told(lambda: v1(event_types=["query_read", "create"]))
page = v2(start=start, end=end, event_types=["query_read", "create"], task_id=task, has_task_id=True, page=1, per_page=50)
seen["v2"] = [words(page.activitylogs), page.pagination_metadata.to_dict()]
page = v2(page=2, per_page=1)
seen["v2_second"] = [words(page.activitylogs), page.pagination_metadata.to_dict()]
page = v2(event_types=["create"])
seen["v2_empty"] = [words(page.activitylogs), page.pagination_metadata.total_items]
seen["v2_text"] = told(lambda: v2(event_types="create")).replace("\n", " ")
seen["v2_page_0"] = told(lambda: v2(page=0)).replace("\n", " ")
seen["absent"] = told(lambda: tiledb.cloud.array_activity("tiledb://alice/absent"))
seen["dots"] = told(lambda: tiledb.cloud.array_activity("tiledb://alice/../arr1"))

tiledb.cloud.share_array("tiledb://alice/arr1", "bob", ["read", "write"])
shares = tiledb.cloud.list_shared_with("tiledb://alice/arr1")
seen["shares"] = [[share.namespace, share.actions] for share in shares]
tiledb.cloud.unshare_array("tiledb://alice/arr1", "bob")
seen["unshared"] = tiledb.cloud.list_shared_with("tiledb://alice/arr1")


def names(listed):
    return [array.name for array in listed.arrays or []]


seen["owned"] = names(tiledb.cloud.list_arrays(page=1, per_page=5, search="arr", namespace="alice", with_metadata=True))
seen["public"] = names(tiledb.cloud.list_public_arrays())

# A login with a password asks for a session's token. Not shared, shared, shared no longer.
tiledb.cloud.login(host=host, username="bob", password=bob_password)
seen["bob"] = tiledb.cloud.user_profile().username
seen["bob_before"] = told(lambda: tiledb.cloud.array_activity("tiledb://alice/arr1"))
tiledb.cloud.login(host=host, token=alice_token)
tiledb.cloud.share_array("tiledb://alice/arr1", "bob", "read")
tiledb.cloud.login(host=host, username="bob", password=bob_password, no_session=True)
seen["bob_shared"] = words(tiledb.cloud.array_activity("tiledb://alice/arr1")) == seen["activity"]
seen["bob_list"] = names(tiledb.cloud.list_shared_arrays())
seen["bob_may_not"] = told(lambda: tiledb.cloud.deregister_array("tiledb://alice/arr1"))

tiledb.cloud.login(host=host, token=alice_token)
tiledb.cloud.array.update_info("tiledb://alice/arr1", description="new", tags=["a", "b"], array_name="arr2")
info = tiledb.cloud.array.info("tiledb://alice/arr2")
seen["updated"] = [info.name, info.description, info.tags]
# By way of libtiledb, which asks for the protocol first.
seen["asset"] = told(lambda: tiledb.cloud.asset.info("tiledb://alice/arr2").name)
tiledb.cloud.asset.share("tiledb://alice/arr2", "public", "read")
seen["asset_public"] = names(tiledb.cloud.list_public_arrays())
tiledb.cloud.share_array("tiledb://alice/arr2", "bob", [])
tiledb.cloud.login(host=host, username="bob", password=bob_password)
tiledb.cloud.asset.info("tiledb://alice/arr2")
seen["public_activity"] = told(lambda: tiledb.cloud.array_activity("tiledb://alice/arr2"))
tiledb.cloud.login(host=host, token=alice_token)
tiledb.cloud.asset.unshare("tiledb://alice/arr2", "public")
seen["asset_absent"] = told(lambda: tiledb.cloud.asset.info("tiledb://alice/absent"))
tiledb.cloud.deregister_array("tiledb://alice/arr2")
seen["deregistered"] = told(lambda: tiledb.cloud.array.info("tiledb://alice/arr2"))
tiledb.cloud.register_array(uri, namespace="alice")
again = uri.rsplit("/", 1)[-1]
seen["again"] = words(tiledb.cloud.array_activity(f"tiledb://alice/{again}"))
tiledb.cloud.array.delete_array(f"tiledb://alice/{again}")
seen["deleted"] = told(lambda: tiledb.cloud.array.info(f"tiledb://alice/{again}"))
tiledb.cloud.login(host=host, token="nonsense")
seen["stranger"] = told(tiledb.cloud.user_profile)

print(json.dumps(seen))
