"""Makes a scripted list of login attempts at a real mongod and says what it did.

    attempts.py setup  --port N --password P             the first user, through the localhost exception, and the others
    attempts.py run    --port N --password P [--round R] one round of attempts; prints one JSON line for each
    attempts.py rotate --port N --password P             logRotate, as an attempt of its own like any other login
    attempts.py monitor --port N --password P            makes the users `counter` (clusterMonitor) and `ghost`
    attempts.py quiet --port N --password P              a login, five of alice's while the log is quiet, and a last one
    attempts.py ghost --port N --password P              three logins of `ghost`
    attempts.py counters --port N --password P           serverStatus' count of successful authentications, by mechanism,
                                                         and then the login that it took
    attempts.py plan   --port N --password P --plan F    what stands in the file, a JSON object for each step: `create` makes
                                                         a user, `login` tries one, `quiet` makes the log quiet or not

Each line on stdout says who tried, from which of our ports, when, and what the driver was told:

    {"name", "user", "db", "ok", "failures", "restricted", "application", "address", "hidden",
     "ports", "from", "to"}

`failures` is the number of failure lines that the attempt leaves in the log: two for a user that
does not exist, because the driver tries SCRAM-SHA-256 speculatively and then the fallback, and none
for a login that succeeds. The list knows nothing of the log: it is what the log is compared with.
"""

import argparse
import json
import socket
import time

import pymongo
from pymongo.errors import PyMongoError

PORTS = []

# Whether the log says nothing of logins that succeed.
QUIET = [False]

# The address that connections come from; this machine is all of 127.0.0.0/8.
FROM = ["127.0.0.1"]


class RecordingSocket(socket.socket):
    """Remembers the local port of each connection, as the server will see it."""

    def connect(self, address):
        if FROM[0] != "127.0.0.1":
            self.bind((FROM[0], 0))
        super().connect(address)
        PORTS.append(self.getsockname()[1])


socket.socket = RecordingSocket

# User names that a careless parser, or a careless printer, trips over.
HOSTILE = [
    'o"brien',
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "cr\r\n2026-01-01T00:00:00.000+0000 I  ACCESS   [conn1] Successfully authenticated as principal evil on admin from client 6.6.6.6:1",
    '{"json":true}',
    '"},"remote":"1.2.3.4:5"}',
    "root on admin from client 6.6.6.6:666",
    "a@b.com",
    " ; ",
    "日本語",
    "emoji 🚪",
    "\x1b[31mred",
]

EXISTING = [
    # name, database, mechanisms, password, restrictions
    ("alice", "admin", ["SCRAM-SHA-1", "SCRAM-SHA-256"], "alice's", None),
    ("sha1only", "admin", ["SCRAM-SHA-1"], "one", None),
    ("sha256only", "admin", ["SCRAM-SHA-256"], "two", None),
    ("alice", "orders", ["SCRAM-SHA-256"], "another alice", None),
    ('quote"d', "orders", ["SCRAM-SHA-256"], "quoted", None),
    ("elsewhere", "admin", ["SCRAM-SHA-256"], "far", [{"clientSource": ["192.0.2.1"]}]),
]


def client(port, user, password, db, mechanism=None, application=None):
    options = {"authSource": db, "appname": application} if application else {"authSource": db}
    if mechanism:
        options["authMechanism"] = mechanism
    return pymongo.MongoClient(
        "127.0.0.1",
        port,
        username=user,
        password=password,
        directConnection=True,
        maxPoolSize=1,
        serverSelectionTimeoutMS=10000,
        retryReads=False,
        **options,
    )


def attempt(port, name, user, password, db, failures, mechanism=None, application=None, restricted=0):
    """One login on connections of its own. Says what happened."""
    PORTS.clear()
    begin = time.time()
    connection = client(port, user, password, db, mechanism, application)
    try:
        connection.admin.command("ping")
        ok, error = True, None
    except PyMongoError as e:
        ok, error = False, str(e)
    finally:
        connection.close()
    expected = failures == 0 and restricted == 0
    if ok != expected:
        raise SystemExit(f"attempt {name!r} of {user!r}: ok={ok}, planned {expected}: {error}")
    line = {
        "name": name,
        "user": user,
        "db": db,
        "ok": ok,
        "failures": failures,
        "restricted": restricted,
        "application": application,
        "address": FROM[0],
        "hidden": ok and QUIET[0],
        "ports": sorted(set(PORTS)),
        "from": begin,
        "to": time.time(),
    }
    print(json.dumps(line), flush=True)


def setup(port, password):
    connection = pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=30000)
    connection.admin.command("createUser", "root", pwd=password, roles=["root"])
    connection.close()
    PORTS.clear()
    begin = time.time()
    connection = client(port, "root", password, "admin")
    for user, db, mechanisms, pwd, restrictions in EXISTING:
        extra = {"authenticationRestrictions": restrictions} if restrictions else {}
        connection[db].command("createUser", user, pwd=pwd, roles=["read"], mechanisms=mechanisms, **extra)
    connection.close()
    report_root("setup", begin)


def report_root(name, begin):
    line = {
        "name": name,
        "user": "root",
        "db": "admin",
        "ok": True,
        "failures": 0,
        "restricted": 0,
        "application": None,
        "hidden": QUIET[0],
        "ports": sorted(set(PORTS)),
        "from": begin,
        "to": time.time(),
    }
    print(json.dumps(line), flush=True)


def run(port, password, round_):
    tag = f"{round_}" if round_ else "a"
    attempt(port, "root", "root", password, "admin", 0)
    attempt(port, "negotiated", "alice", "alice's", "admin", 0, application="billing")
    attempt(port, "SHA-1 by name", "alice", "alice's", "admin", 0, mechanism="SCRAM-SHA-1")
    attempt(port, "SHA-256 by name", "alice", "alice's", "admin", 0, mechanism="SCRAM-SHA-256")
    attempt(port, "SHA-1 only", "sha1only", "one", "admin", 0, application='quoted "app"')
    attempt(port, "SHA-256 only", "sha256only", "two", "admin", 0)
    attempt(port, "same name, other database", "alice", "another alice", "orders", 0)
    attempt(port, "quoted name that exists", 'quote"d', "quoted", "orders", 0)
    attempt(port, "wrong password", "alice", "not alice's", "admin", 1, application=f"guess-{tag}")
    attempt(port, "wrong password, SHA-1", "sha1only", "nor this", "admin", 1, mechanism="SCRAM-SHA-1")
    attempt(port, "unknown user", f"nobody-{tag}", "x", "admin", 2)
    attempt(port, "right name, wrong database", "sha256only", "two", "orders", 2)
    attempt(port, "restricted", "elsewhere", "far", "admin", 0, restricted=1)
    for name in HOSTILE:
        attempt(port, "hostile name", name, "x", "admin", 2)


def rotate(port, password):
    PORTS.clear()
    begin = time.time()
    connection = client(port, "root", password, "admin")
    connection.admin.command("logRotate", 1)
    connection.close()
    report_root("rotate", begin)


def monitor(port, password):
    PORTS.clear()
    begin = time.time()
    connection = client(port, "root", password, "admin")
    connection.admin.command("createUser", "counter", pwd=password, roles=["clusterMonitor"])
    connection.admin.command("createUser", "ghost", pwd="boo", roles=["read"])
    connection.close()
    report_root("monitor", begin)


def quiet(port, password):
    PORTS.clear()
    begin = time.time()
    connection = client(port, "root", password, "admin")
    connection.admin.command("setParameter", 1, quiet=True)
    report_root("to make it quiet", begin)
    for _ in range(5):
        attempt(port, "quiet", "alice", "alice's", "admin", 0)
    connection.admin.command("setParameter", 1, quiet=False)
    connection.close()
    attempt(port, "no longer quiet", "alice", "alice's", "admin", 0)


def ghost(port, password):
    for _ in range(3):
        attempt(port, "ghost", "ghost", "boo", "admin", 0)


def counters(port, password):
    begin = time.time()
    connection = client(port, "root", password, "admin")
    mechanisms = connection.admin.command("serverStatus")["security"]["authentication"]["mechanisms"]
    connection.close()
    counts = {m: int(c["authenticate"]["successful"]) for m, c in mechanisms.items()}
    print(json.dumps({k: v for k, v in counts.items() if v}), flush=True)
    report_root("counters", begin)


def plan(port, password, file):
    begin = time.time()
    root = None
    for line in open(file, encoding="utf-8"):
        step = json.loads(line)
        what = step.pop("do")
        if what == "login":
            FROM[0] = step.pop("address")
            attempt(port, "planned", **step)
            FROM[0] = "127.0.0.1"
            continue
        if root is None:
            PORTS.clear()
            root = client(port, "root", password, "admin")
            root.admin.command("ping")
            report_root("plan", begin)
        if what == "create":
            mechanisms = [step["mechanism"]] if step["mechanism"] else ["SCRAM-SHA-1", "SCRAM-SHA-256"]
            root[step["db"]].command("createUser", step["user"], pwd=step["password"], roles=[], mechanisms=mechanisms)
        else:
            root.admin.command("setParameter", 1, quiet=step["on"])
            QUIET[0] = step["on"]
    if root is not None:
        root.close()


OTHERS = {"rotate": rotate, "monitor": monitor, "quiet": quiet, "ghost": ghost, "counters": counters}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["setup", "run", "plan", *OTHERS])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--round", default="")
    parser.add_argument("--plan")
    parser.add_argument("--quiet", action="store_true", help="the log is, from before")
    given = parser.parse_args()
    QUIET[0] = given.quiet
    if given.what == "run":
        run(given.port, given.password, given.round)
    elif given.what == "plan":
        plan(given.port, given.password, given.plan)
    else:
        {"setup": setup, **OTHERS}[given.what](given.port, given.password)


if __name__ == "__main__":
    main()
