"""Works arrays with the real tiledb package, one operation for each line on stdin; answers each with a line.

    python array_operations.py

An operation is its words: `create NAME`, `write PATH`, ... as below. The answer is `done`, or what went wrong.
"""

import shutil
import sys
import time

import numpy
import tiledb


def create(path, kind):
    domain = tiledb.Domain(tiledb.Dim("d", domain=(0, 9999), tile=100, dtype=numpy.int64))
    schema = tiledb.ArraySchema(domain=domain, attrs=[tiledb.Attr("a", dtype=numpy.int64)],
                                sparse=kind == "sparse")
    tiledb.Array.create(path, schema)


def write(path, at="now"):
    timestamp = None if at == "now" else int(at)
    with tiledb.open(path, "w", timestamp=timestamp) as array:
        if array.schema.sparse:
            cells = {name: numpy.array([1, 2]) for name in (array.attr(n).name for n in range(array.nattr))}
            array[numpy.array([5, 70])] = cells
        else:
            array[0:100] = numpy.arange(100)


def delete(path):
    with tiledb.open(path, "d") as array:
        array.query(cond="a == 2").submit()


def metadata(path):
    with tiledb.open(path, "w") as array:
        array.meta["k"] = time.time_ns()
        array.meta["stays"] = 1


def metadata_delete(path):
    with tiledb.open(path, "w") as array:
        del array.meta["k"]


def evolve(path):
    evolution = tiledb.ArraySchemaEvolution()
    evolution.add_attribute(tiledb.Attr(f"b{time.time_ns()}", dtype=numpy.int64))
    evolution.array_evolve(path)


def consolidate(path, mode):
    tiledb.consolidate(path, tiledb.Config({"sm.consolidation.mode": mode}))


def vacuum(path, mode):
    tiledb.vacuum(path, tiledb.Config({"sm.vacuum.mode": mode}))


def delete_fragments(path):
    tiledb.Array.delete_fragments(path, 0, 2**63)


def move(path, to):
    tiledb.move(path, to)


def remove(path):
    tiledb.remove(path)


def copy(path, to):
    shutil.copytree(path, to)


def read(path):
    with tiledb.open(path) as array:
        array[:]
        array.nonempty_domain()
        dict(array.meta)


for line in sys.stdin:
    operation, *words = line.split()
    try:
        globals()[operation](*words)
        print("done", flush=True)
    except Exception as error:  # whatever a user would see
        print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
