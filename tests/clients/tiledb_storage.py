"""Works two arrays below a place, one part of the work at a time.

Usage: tiledb_storage.py PLACE PART [ENDPOINT]

Prints one JSON object per operation: {"array", "operation"}. With ENDPOINT the place is in a bucket of a gateway
there, which is made in the first part; the key is `ann`.
"""

import json
import sys

import numpy as np
import tiledb

place, part, *endpoint = sys.argv[1:]
config = tiledb.Config()
if endpoint:
    config = tiledb.Config({
        "vfs.s3.endpoint_override": endpoint[0],
        "vfs.s3.scheme": "http",
        "vfs.s3.use_virtual_addressing": "false",
        "vfs.s3.region": "us-east-1",
        "vfs.s3.aws_access_key_id": "ann",
        "vfs.s3.aws_secret_access_key": "secret-ann",
    })
context = tiledb.Ctx(config)
sparse, dense = f"{place}/sparse", f"{place}/group/dense"


def done(array, operation):
    print(json.dumps({"array": array, "operation": operation}), flush=True)


def create(uri, is_sparse):
    axis = tiledb.Dim("x", domain=(0, 99), tile=10, dtype=np.int64, ctx=context)
    attribute = tiledb.Attr("a", dtype=np.int64, ctx=context)
    domain = tiledb.Domain(axis, ctx=context)
    schema = tiledb.ArraySchema(domain, attrs=[attribute], sparse=is_sparse, ctx=context)
    tiledb.Array.create(uri, schema, ctx=context)


def write(uri, first, timestamp=None):
    with tiledb.open(uri, "w", ctx=context, timestamp=timestamp) as array:
        if array.schema.sparse:
            array[np.arange(first, first + 10)] = np.arange(10)
        else:
            array[first : first + 10] = np.arange(10)


def work():
    if endpoint:
        tiledb.VFS(ctx=context).create_bucket("s3://" + place.split("/")[2])
    create(sparse, True)
    done("sparse", "create")
    tiledb.group_create(f"{place}/group", ctx=context)
    create(dense, False)
    done("group/dense", "create")
    for first in (0, 20):
        write(sparse, first)
        done("sparse", "query_write")
        write(dense, first)
        done("group/dense", "query_write")
    # The time of the data is the writer's to choose.
    write(sparse, 40, timestamp=1_700_000_000_000)
    done("sparse", "query_write")
    with tiledb.open(sparse, "d", ctx=context) as array:
        array.query(cond="a == 3").submit()
    done("sparse", "query_delete")
    with tiledb.open(sparse, "w", ctx=context) as array:
        array.meta["unit"] = "K"
    done("sparse", "array_metadata_update")
    # Reading leaves nothing behind.
    with tiledb.open(sparse, ctx=context) as array:
        array[:]


def evolve():
    evolution = tiledb.ArraySchemaEvolution(context)
    evolution.add_attribute(tiledb.Attr("c", dtype=np.int32, ctx=context))
    evolution.array_evolve(sparse)
    done("sparse", "schema_evolution")
    tiledb.consolidate(sparse, config=config, ctx=context)
    done("sparse", "consolidate")


def vacuum():
    tiledb.vacuum(sparse, config=config, ctx=context)
    done("sparse", "vacuum")


def move():
    tiledb.move(dense, f"{place}/group/moved", ctx=context)
    done("group/dense", "move")


def delete():
    tiledb.Array.delete_array(sparse, ctx=context)
    done("sparse", "delete")


{"work": work, "evolve": evolve, "vacuum": vacuum, "move": move, "delete": delete}[part]()
