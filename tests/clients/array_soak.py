"""Works one array for a while, as fast as it can, and tells what it did: one JSON object a line.

    python array_soak.py write ARRAY SECONDS        makes the array, writes, deletes, puts metadata
    python array_soak.py consolidate ARRAY SECONDS  merges, and removes what was merged

Both may run at the same time. A write is known by its timestamp, which is no other's.
"""

import contextlib
import json
import os
import sys
import time

import numpy
import tiledb

role, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
commits, meta = f"{path}/__commits", f"{path}/__meta"


def did(operation, began, **more):
    print(json.dumps({"operation": operation, "from": began, "to": time.time(), **more}), flush=True)


@contextlib.contextmanager
def tried(operation, **more):
    """The library may find that what it has just listed was removed: who knows whether that was done."""
    began, failed = time.time(), False
    try:
        yield
    except tiledb.TileDBError:
        failed = True
    did(operation, began, failed=failed, **more)


def make():
    began = time.time()
    domain = tiledb.Domain(tiledb.Dim("d", domain=(0, 9999), tile=100, dtype=numpy.int64))
    schema = tiledb.ArraySchema(domain=domain, attrs=[tiledb.Attr("a", dtype=numpy.int64)], sparse=True)
    tiledb.Array.create(path, schema)
    did("create", began)


def write(n, last):
    timestamp = max(last + 1, time.time_ns() // 1_000_000)
    if n % 10 == 9:
        with tried("query_delete", timestamp=timestamp):
            with tiledb.open(path, "d", timestamp=timestamp) as array:
                array.query(cond=f"a == {n}").submit()
    elif n % 10 == 4:
        with tried("array_metadata_update", timestamp=timestamp):
            with tiledb.open(path, "w", timestamp=timestamp) as array:
                array.meta["n"] = n
    else:
        with tried("query_write", timestamp=timestamp):
            with tiledb.open(path, "w", timestamp=timestamp) as array:
                array[numpy.array([n % 10000])] = numpy.array([n])
    return timestamp


def merge(mode):
    folder = meta if mode == "array_meta" else commits
    before, began = set(os.listdir(folder)), time.time()
    with contextlib.suppress(tiledb.TileDBError):
        tiledb.consolidate(path, tiledb.Config({"sm.consolidation.mode": mode}))
    for name in set(os.listdir(folder)) - before:
        if is_merged(name):
            did("consolidate", began, object=f"{os.path.basename(folder)}/{name}")


def is_merged(name):
    first, last = name.split("_")[2:4]
    return first != last and not name.endswith((".vac", ".ign"))


def vacuum(mode):
    with tried("vacuum", mode=mode):
        tiledb.vacuum(path, tiledb.Config({"sm.vacuum.mode": mode}))


until = time.time() + seconds
if role == "write":
    make()
    n, last = 0, 0
    while time.time() < until:
        last = write(n, last)
        n += 1
else:
    while not os.path.isdir(commits) or len(os.listdir(commits)) < 4:
        time.sleep(0.01)
    round_ = 0
    while time.time() < until:
        modes = ["fragments"]
        modes += ["commits"] * (round_ % 3 == 2) + ["array_meta"] * (round_ % 2 == 1)
        for mode in modes:
            merge(mode)
            vacuum(mode)
        round_ += 1
