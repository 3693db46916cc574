"""Works with a TileDB array and tells Doorbook what it did.

    python array_activity.py http://127.0.0.1:8080 alice TOKEN ./arrays/temperatures

alice is the namespace and the user, TOKEN one of hers (`doorbook token create --user alice`). The server
must have been told that arrays below that folder may be registered (`doorbook serve --array-root ./arrays`).
Needs the packages `tiledb` and `numpy`.
"""

import contextlib
import datetime
import json
import os
import sys
import urllib.parse
import urllib.request
import uuid

import numpy
import tiledb


class Doorbook:
    """One task of one user, on one array."""

    def __init__(self, base, user, token, array):
        self.base, self.user, self.token, self.array = base, user, token, array
        self.task_id = str(uuid.uuid4())
        self.n_sent = 0

    def register(self, uri):
        """Makes the array known; once it is, its activity can be told."""
        path = f"/v1/arrays/{self.user}/{urllib.parse.quote(uri, safe='')}/register"
        return self._post(path, {"X-TILEDB-REST-API-KEY": self.token, "Content-Type": "application/json"},
                          {"name": self.array, "uri": uri})

    @contextlib.contextmanager
    def told(self, action, **more):
        """Tells of what is done within, when it is done, and that it failed if it did."""
        tiledb.stats_enable()
        tiledb.stats_reset()
        line = {"time": now(), "namespace": self.user, "array": self.array, "action": action,
                "user": self.user, "task_id": self.task_id, "application": "array_activity.py", **more}
        try:
            yield line
            line["outcome"] = "success"
        except Exception as error:
            line.update(outcome="failure", reason=str(error)[:500])
            raise
        finally:
            line["query_stats"] = tiledb.stats_dump(print_out=False, json=True)
            self.send(line)

    def send(self, line):
        """Returns when the line is durable. Sent again under its key, it is still one event."""
        self.n_sent += 1
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": f"{self.task_id}-{self.n_sent}",
        }
        answer = self._post(f"/api/v1/ingest/array-activity?namespace={self.user}", headers, line)
        if answer["quarantined"]:
            raise ValueError(answer["lines"][0]["reason"])

    def _post(self, path, headers, body):
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)
        return json.loads(urllib.request.urlopen(request).read())


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def main(base, user, token, folder):
    folder = os.path.realpath(folder)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    book = Doorbook(base, user, token, os.path.basename(folder))

    began = now()
    domain = tiledb.Domain(tiledb.Dim(name="day", domain=(0, 365), tile=30, dtype=numpy.int64))
    attributes = [tiledb.Attr(name="degrees", dtype=numpy.float64)]
    tiledb.Array.create(folder, tiledb.ArraySchema(domain=domain, attrs=attributes, sparse=True))
    book.register(f"file://{folder}")
    book.send({"time": began, "namespace": user, "array": book.array, "action": "create",
               "outcome": "success", "user": user, "task_id": book.task_id})

    for first in (0, 100):
        days = numpy.arange(first, first + 100)
        degrees = numpy.sin(days / 58.0)
        ranges = {"day": [{"start": int(days[0]), "end": int(days[-1])}]}
        written = int(days.nbytes + degrees.nbytes)
        with book.told("query_write", bytes_received=written, query_ranges=ranges):
            with tiledb.open(folder, "w") as array:
                array[days] = degrees

    with tiledb.open(folder) as array:
        with book.told("query_read", query_ranges={"day": [{"start": 10, "end": 20}]}) as told:
            cells = array.multi_index[10:20]
            told["bytes_sent"] = int(sum(column.nbytes for column in cells.values()))
        print(f"{len(cells['degrees'])} days, the warmest with {cells['degrees'].max():.2f}")

    with book.told("query_delete"):
        with tiledb.open(folder, "d") as array:
            array.query(cond="degrees < 0").submit()
    with book.told("consolidate"):
        tiledb.consolidate(folder)
    with book.told("vacuum"):
        tiledb.vacuum(folder)
    print(f"told {book.n_sent} activities of {user}/{book.array} under task {book.task_id}")


if __name__ == "__main__":
    main(*sys.argv[1:])
