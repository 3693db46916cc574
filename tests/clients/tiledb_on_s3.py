"""Works an array in an S3 bucket: one operation, then a pause that is longer than what makes two requests one.

Usage: tiledb_on_s3.py ENDPOINT URI [KEY ...]

Prints one JSON object per operation: {"operation", "user", "error", "bytes"}, the last of these as much as lies
in the fragments that were written or read. The first key creates the bucket
and works; the others may not, and try to read. What a key's secret is the test knows, too.
"""

import json
import sys
import time

import numpy as np
import tiledb

endpoint, uri, *keys = sys.argv[1:]


def config(key, **more):
    return tiledb.Config({
        "vfs.s3.endpoint_override": endpoint,
        "vfs.s3.scheme": "http",
        "vfs.s3.use_virtual_addressing": "false",
        "vfs.s3.region": "us-east-1",
        "vfs.s3.aws_access_key_id": key,
        "vfs.s3.aws_secret_access_key": f"secret-{key}",
        **more,
    })


def fresh(key=keys[0]):
    """A context that knows nothing of the array yet."""
    return tiledb.Ctx(config(key))


def done(operation, do, user=keys[0]):
    error = size = None
    try:
        size = do()
    except tiledb.TileDBError as raised:
        error = str(raised)
    print(json.dumps({"operation": operation, "user": user, "error": error, "bytes": size}), flush=True)
    # The rule of the design: what is at most two seconds apart is one.
    time.sleep(2.5)


def size_of_fragments(last=False):
    """By lists of keys, which say nothing of what is done with the array."""
    vfs = tiledb.VFS(ctx=fresh())
    fragments = sorted(vfs.ls(f"{uri}/__fragments"))
    return sum(vfs.dir_size(fragment) for fragment in fragments[-1 if last else 0 :])


def create():
    context = fresh()
    axis = tiledb.Dim("x", domain=(0, 999), tile=10, dtype=np.int64, ctx=context)
    attributes = [tiledb.Attr(name, dtype=np.int64, ctx=context) for name in "ab"]
    domain = tiledb.Domain(axis, ctx=context)
    schema = tiledb.ArraySchema(domain, attrs=attributes, sparse=True, ctx=context)
    tiledb.Array.create(uri, schema, ctx=context)


def write(first):
    with tiledb.open(uri, "w", ctx=fresh()) as array:
        array[np.arange(first, first + 10)] = {"a": np.arange(10), "b": np.arange(10)}
    return size_of_fragments(last=True)


def read(user=keys[0]):
    with tiledb.open(uri, ctx=fresh(user)) as array:
        array[:]
    return size_of_fragments()


def metadata_put():
    with tiledb.open(uri, "w", ctx=fresh()) as array:
        array.meta["unit"] = "K"


def metadata_get():
    with tiledb.open(uri, ctx=fresh()) as array:
        array.meta["unit"]


def delete_cells():
    with tiledb.open(uri, "d", ctx=fresh()) as array:
        array.query(cond="a == 3").submit()


def evolve():
    context = fresh()
    evolution = tiledb.ArraySchemaEvolution(context)
    evolution.add_attribute(tiledb.Attr("c", dtype=np.int32, ctx=context))
    evolution.array_evolve(uri)


bucket = "s3://" + uri.split("/")[2]
tiledb.VFS(ctx=fresh()).create_bucket(bucket)
done("create", create)
done("query_write", lambda: write(0))
done("query_write", lambda: write(100))
done("read_schema", lambda: tiledb.ArraySchema.load(uri, ctx=fresh()) and None)
done("query_read", read)
for other in keys[1:]:
    done("denied", lambda: read(other), user=other)
done("array_metadata_update", metadata_put)
done("array_metadata_get", metadata_get)
done("query_delete", delete_cells)
done("schema_evolution", evolve)
done("consolidate", lambda: tiledb.consolidate(uri, config=config(keys[0]), ctx=fresh()))
done("vacuum", lambda: tiledb.vacuum(uri, config=config(keys[0]), ctx=fresh()))
done("query_read", read)
done("delete_fragments", lambda: tiledb.Array.delete_fragments(uri, 0, 2**62, ctx=fresh()))
# In between, so that nobody takes the one for a part of the other.
done("read_schema", lambda: tiledb.ArraySchema.load(uri, ctx=fresh()) and None)
done("delete", lambda: tiledb.Array.delete_array(uri, ctx=fresh()))
