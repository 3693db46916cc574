"""Makes a replica set of three members and logs in to it. Says what it did, as attempts.py does.

    replica_set.py setup    --ports A B C --password P    initiates it with A as the primary, and makes its users
    replica_set.py run      --ports A B C --password P    logins at each member, and at the set
    replica_set.py step-down --ports A B C --password P   the primary gives way to another
    replica_set.py counters --ports A B C --password P    serverStatus' count of successful authentications of each
                                                          member, as one JSON object by port; then the logins that it took

Each line says of which member the attempt is, in `port`.
"""

import argparse
import json
import time

import pymongo
from attempts import PORTS, client
from pymongo.errors import AutoReconnect, PyMongoError


def attempt(port, name, user, password, ok=True, work=None, connection=None):
    """A login at the member that listens on this port."""
    PORTS.clear()
    begin = time.time()
    connection = connection or client(port, user, password, "admin")
    try:
        answer = (work or (lambda c: c.admin.command("ping")))(connection)
        succeeded, error = True, None
    except PyMongoError as e:
        answer, succeeded, error = None, False, e
    finally:
        connection.close()
    if succeeded != ok:
        raise SystemExit(f"{name} of {user} at {port}: {error}")
    line = {
        "name": name,
        "user": user,
        "db": "admin",
        "ok": ok,
        "failures": 0 if ok else 1,
        "restricted": 0,
        "application": None,
        "port": port,
        "ports": sorted(set(PORTS)),
        "from": begin,
        "to": time.time(),
    }
    print(json.dumps(line), flush=True)
    return answer


def wait(what, find):
    for _ in range(600):
        try:
            found = find()
        except PyMongoError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"{what} did not happen")


def direct(port):
    """Asks what needs no login."""
    return pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=30000)


def primary_of(ports):
    def find():
        for port in ports:
            with direct(port) as connection:
                if connection.admin.command("hello").get("isWritablePrimary"):
                    return port
        return None

    return wait("a primary", find)


def all_follow(ports):
    """Each member knows the primary, and is one or follows it."""

    def find():
        hellos = []
        for port in ports:
            with direct(port) as connection:
                hellos.append(connection.admin.command("hello"))
        is_member = all(hello.get("isWritablePrimary") or hello.get("secondary") for hello in hellos)
        return is_member and len({hello.get("primary") for hello in hellos}) == 1

    wait("a set of members", find)


def setup(ports, password):
    for port in ports:
        with direct(port) as connection:
            connection.admin.command("ping")
    members = [
        {"_id": n, "host": f"127.0.0.1:{port}", "priority": 1 if n == 0 else 0.5} for n, port in enumerate(ports)
    ]
    with direct(ports[0]) as connection:
        # Quick elections: a test waits for them.
        settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
        connection.admin.command("replSetInitiate", {"_id": "orders", "members": members, "settings": settings})
        primary = primary_of(ports[:1])
        connection.admin.command("createUser", "root", pwd=password, roles=["root"], writeConcern={"w": 3})
    all_follow(ports)
    attempt(
        primary,
        "setup",
        "root",
        password,
        work=lambda c: c.admin.command(
            "createUser", "ann", pwd="ann's", roles=["readAnyDatabase"], writeConcern={"w": 3}
        ),
    )


def run(ports, password):
    for port in ports:
        attempt(port, "at a member", "ann", "ann's")
        attempt(port, "wrong password", "ann", "not ann's", ok=False)
    names = ",".join(f"127.0.0.1:{port}" for port in ports)
    everyone = pymongo.MongoClient(
        f"mongodb://{names}/?replicaSet=orders", username="root", password=password, maxPoolSize=1
    )
    attempt(
        primary_of(ports),
        "at the set",
        "root",
        password,
        connection=everyone,
        work=lambda c: c.shop.orders.insert_one({"at": time.time()}),
    )


def step_down(ports, password):
    before = primary_of(ports)

    def work(connection):
        try:
            connection.admin.command("replSetStepDown", 120, secondaryCatchUpPeriodSecs=30)
        except AutoReconnect:
            pass

    attempt(before, "step down", "root", password, work=work)
    others = [port for port in ports if port != before]
    primary_of(others)
    all_follow(ports)


def counters(ports, password):
    def count(connection):
        mechanisms = connection.admin.command("serverStatus")["security"]["authentication"]["mechanisms"]
        return sum(int(c["authenticate"]["successful"]) for c in mechanisms.values())

    counts = {port: attempt(port, "counters", "root", password, work=count) for port in ports}
    print(json.dumps(counts), flush=True)


def main():
    parser = argparse.ArgumentParser()
    what = {"setup": setup, "run": run, "step-down": step_down, "counters": counters}
    parser.add_argument("what", choices=what)
    parser.add_argument("--ports", type=int, nargs=3, required=True)
    parser.add_argument("--password", required=True)
    given = parser.parse_args()
    what[given.what](given.ports, given.password)


if __name__ == "__main__":
    main()
