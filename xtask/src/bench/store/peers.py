"""One peer of `cargo xtask bench store`: loads the made-up events, then answers questions.

    peers.py ENGINE FOLDER EVENTS.ndjson EVENTS.tsv

Speaks lines of JSON. First comes what the load took; then each line on stdin is a question
{"query", "parameters"} and brings {"nanoseconds", "total", "rows"}. Timed is the engine's work up to
the rows as Python's tuples (chdb: the bytes of JSON rows), not what is done to compare them.

Each peer is set up as its users would: ClickHouse and DuckDB have their tables in the order
(cluster, host, time), ClickHouse a bloom filter on users; PostgreSQL and SQLite have an index for
each of host, cluster and user with time, and one on failures. Page and total are two statements.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PAGE, LONG_PAGE, TOP = 100, 20_000, 10
HOUR_MS = 3_600_000
COLUMNS = (
    "time cluster host outcome reason code user database mechanism address port connection"
    " application duration_micros"
).split()
INDEXES = """
CREATE INDEX by_host ON e (host, time);
CREATE INDEX by_cluster ON e (cluster, time);
CREATE INDEX by_user ON e ("user", time);
CREATE INDEX by_failure ON e (time, "user") WHERE outcome = 'failure';
"""
DEFINITIONS = """
  time bigint, cluster text, host text, outcome text, reason text, code int, "user" text,
  database text, mechanism text, address text, port int, connection bigint, application text,
  duration_micros bigint
"""
CONDITIONS = {
    "host": ["host"],
    "cluster": ["cluster"],
    "host_failures": ["host", "failures"],
    "host_address": ["host", "address"],
    "long": ["host"],
    "hours": ["host"],
    "top": ["failures"],
    "user": ["user"],
    "no_user": ["user"],
}


def statements(query, value, hour):
    """The SQL for a question; `value` writes a parameter, `hour` is the hour of a row."""
    terms = {
        "host": f"host = {value('host')}",
        "cluster": f"cluster = {value('cluster')}",
        "address": f"address = {value('address')}",
        "user": f"\"user\" = {value('user')}",
        "failures": "outcome = 'failure'",
    }
    conditions = [terms[name] for name in CONDITIONS[query]]
    where = " AND ".join([*conditions, f"time > {value('from_ms')}", f"time <= {value('to_ms')}"])
    if query == "hours":
        return [f"SELECT {hour} AS hour, outcome, count(*) AS n FROM e WHERE {where} GROUP BY 1, 2"]
    if query == "top":
        return [
            f'SELECT "user", count(*) AS n FROM e WHERE {where}'
            f" GROUP BY 1 ORDER BY n DESC LIMIT {TOP}"
        ]
    limit = LONG_PAGE if query == "long" else PAGE
    page = f"SELECT * FROM e WHERE {where} ORDER BY time DESC LIMIT {limit}"
    return [page] if query == "long" else [page, f"SELECT count(*) AS n FROM e WHERE {where}"]


class Engine:
    """What the peers have in common; each brings `load` and `run`."""

    def __init__(self, folder, ndjson, tsv):
        self.folder, self.ndjson, self.tsv = folder, ndjson, tsv

    def answer(self, query, parameters):
        questions = self.prepare(query, parameters)
        start = time.perf_counter_ns()
        results = [self.run(*question) for question in questions]
        nanoseconds = time.perf_counter_ns() - start
        first = self.dictionaries(results[0], query)
        total = self.dictionaries(results[1], "total")[0]["n"] if len(results) > 1 else None
        return {
            "nanoseconds": nanoseconds,
            "total": None if total is None else int(total),
            "rows": [self.row(query, row) for row in first],
        }

    def row(self, query, row):
        if query == "hours":
            return {"order": self.milliseconds(row["hour"]), "says": f"{row['outcome']} {row['n']}"}
        if query == "top":
            return {"order": int(row["n"]), "says": row["user"]}
        # What the Atlas API shows has no port, neither of the client nor of the host.
        long = query == "long"
        host = row["host"].rsplit(":", 1)[0] if long else row["host"]
        port = "" if long else row["port"]
        says = f"{host} {row['user']} {row['address']} {port}"
        return {"order": self.milliseconds(row["time"]), "says": says}

    def milliseconds(self, value):
        return int(value)

    def dictionaries(self, result, query):
        names = {"hours": ["hour", "outcome", "n"], "top": ["user", "n"], "total": ["n"]}
        names = names.get(query, COLUMNS)
        return [dict(zip(names, row)) for row in result]

    def commits(self, _count):
        """Events per second of durable commits of 1000 by one writer, where that is its trade."""

    def first_lines(self, count):
        with open(self.tsv, encoding="utf-8") as lines:
            return [line.rstrip("\n").split("\t") for _, line in zip(range(count), lines)]

    def close(self):
        pass


class DuckDB(Engine):
    def load(self):
        import duckdb

        self.version = "DuckDB " + duckdb.__version__
        self.file = f"{self.folder}/e.duckdb"
        database = duckdb.connect(self.file, config={"threads": 2})
        types = {"time": "TIMESTAMP_MS", "code": "INTEGER", "port": "INTEGER"}
        types |= {"connection": "BIGINT", "duration_micros": "BIGINT"}
        columns = ", ".join(f"'{name}': '{types.get(name, 'VARCHAR')}'" for name in COLUMNS)
        database.execute(
            f"CREATE TABLE e AS SELECT * FROM read_json('{self.ndjson}',"
            f" format = 'newline_delimited', columns = {{{columns}}}) ORDER BY cluster, host, time"
        )
        database.execute("CHECKPOINT")
        database.close()
        self.database = duckdb.connect(self.file, read_only=True, config={"threads": 2})
        return os.path.getsize(self.file)

    def prepare(self, query, parameters):
        time_names = ("from_ms", "to_ms")
        value = lambda name: f"make_timestamp_ms(${name})" if name in time_names else f"${name}"
        for statement in statements(query, value, "date_trunc('hour', time)"):
            yield statement, {k: v for k, v in parameters.items() if f"${k}" in statement}

    def run(self, statement, parameters):
        return self.database.execute(statement, parameters).fetchall()

    def milliseconds(self, value):
        import datetime

        epoch = datetime.datetime(1970, 1, 1)
        return (value - epoch) // datetime.timedelta(milliseconds=1)


class Chdb(Engine):
    def load(self):
        import chdb
        from chdb import session

        self.version = f"chdb {chdb.__version__}"
        self.session = session.Session(f"{self.folder}/chdb")
        self.session.query("CREATE DATABASE d ENGINE = Atomic")
        low, number = "LowCardinality(String)", {"port": "UInt16", "code": "Int32"}
        types = {name: low for name in COLUMNS} | number | {"time": "DateTime64(3, 'UTC')"}
        types |= {"connection": "UInt64", "duration_micros": "UInt32"}
        columns = ", ".join(f"{name} {types[name]}" for name in COLUMNS)
        self.session.query(
            f"CREATE TABLE d.e ({columns}, INDEX users user TYPE bloom_filter GRANULARITY 1)"
            " ENGINE = MergeTree ORDER BY (cluster, host, time)"
        )
        structure = columns.replace("'", "\\'")
        self.session.query(
            f"INSERT INTO d.e SELECT {', '.join(COLUMNS)}"
            f" FROM file('{self.ndjson}', JSONEachRow, '{structure}')"
            " SETTINGS date_time_input_format = 'best_effort', max_threads = 2,"
            " input_format_skip_unknown_fields = 1, input_format_null_as_default = 1"
        )
        self.session.query("OPTIMIZE TABLE d.e FINAL")
        self.session.query("USE d")
        size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'd'"
        return int(str(self.session.query(size, "TSV")))

    def prepare(self, query, parameters):
        def value(name):
            if name in ("from_ms", "to_ms"):
                return f"fromUnixTimestamp64Milli({parameters[name]}, 'UTC')"
            return f"'{parameters[name]}'"

        for statement in statements(query, value, "toStartOfHour(time)"):
            # Reads the table backwards in its own order, as a user who knows the engine writes it.
            if query not in ("cluster", "user", "no_user"):
                statement = statement.replace("ORDER BY time DESC", "ORDER BY host DESC, time DESC")
                statement = self.with_cluster(statement, parameters)
            yield statement, None

    def with_cluster(self, statement, parameters):
        """The order begins with the cluster: a question for a host names it, too."""
        return statement.replace("WHERE host =", f"WHERE cluster = '{parameters['cluster']}' AND host =")

    def run(self, statement, _parameters):
        return self.session.query(statement, "JSONEachRow").bytes()

    def dictionaries(self, result, query):
        return [json.loads(line) for line in bytes(result).splitlines()]

    def milliseconds(self, value):
        import datetime

        value = datetime.datetime.fromisoformat(value).replace(tzinfo=datetime.timezone.utc)
        return round(value.timestamp() * 1000)


class SQLite(Engine):
    def load(self):
        import sqlite3

        self.version = "SQLite " + sqlite3.sqlite_version
        self.file = f"{self.folder}/e.sqlite"
        database = self.open(self.file, "NORMAL")
        database.executescript(f"CREATE TABLE e ({DEFINITIONS}); {INDEXES}")
        with open(self.tsv, encoding="utf-8") as lines:
            marks = ", ".join("?" * len(COLUMNS))
            rows = (line.rstrip("\n").split("\t") for line in lines)
            database.executemany(f"INSERT INTO e VALUES ({marks})", rows)
        database.commit()
        database.execute("ANALYZE")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA mmap_size = 2000000000")
        self.database = database
        return os.path.getsize(self.file)

    def open(self, file, synchronous):
        import sqlite3

        database = sqlite3.connect(file)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("PRAGMA cache_size = -262144")
        return database

    def prepare(self, query, parameters):
        hour = f"time / {HOUR_MS} * {HOUR_MS}"
        for statement in statements(query, lambda name: f":{name}", hour):
            yield statement, parameters

    def run(self, statement, parameters):
        return self.database.execute(statement, parameters).fetchall()

    def commits(self, count):
        database = self.open(f"{self.folder}/commits.sqlite", "FULL")
        database.executescript(f"CREATE TABLE e ({DEFINITIONS}); {INDEXES}")
        marks = ", ".join("?" * len(COLUMNS))
        lines = self.first_lines(count)
        start = time.perf_counter()
        for at in range(0, len(lines), 1000):
            database.executemany(f"INSERT INTO e VALUES ({marks})", lines[at : at + 1000])
            database.commit()
        return len(lines) / (time.perf_counter() - start)


class PostgreSQL(Engine):
    def load(self):
        import psycopg

        # Not in our folder, which may be where only we can look.
        self.data = data = tempfile.mkdtemp(prefix="doorbook-bench-", dir="/var/tmp")
        as_user = []
        if os.geteuid() == 0:
            # It refuses to run as root; Debian's package has made a user for it.
            shutil.chown(data, "postgres")
            as_user = "setpriv --reuid=postgres --regid=postgres --clear-groups".split()
        self.log = open(f"{self.folder}/postgresql.log", "w", encoding="utf-8")
        quiet = {"stdout": self.log, "stderr": self.log}
        initdb = ["initdb", "-D", data, "-A", "trust", "-U", "bench", "--locale=C", "-E", "UTF8"]
        subprocess.run([*as_user, *initdb], check=True, **quiet)
        settings = {"listen_addresses": "", "unix_socket_directories": data}
        settings |= {"shared_buffers": "1GB", "work_mem": "64MB", "max_wal_size": "4GB", "jit": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.server = subprocess.Popen([*as_user, "postgres", "-D", data, *options], **quiet)
        for _ in range(300):
            try:
                address = f"host={data} user=bench dbname=postgres"
                self.database = psycopg.connect(address, autocommit=True)
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        self.version = f"PostgreSQL {self.database.info.server_version // 10000}"
        self.database.execute(f"CREATE TABLE e ({DEFINITIONS})")
        for statement in INDEXES.strip().split("\n"):
            self.database.execute(statement)
        with self.database.cursor() as cursor, open(self.tsv, "rb") as lines:
            with cursor.copy("COPY e FROM STDIN") as copy:
                while block := lines.read(1 << 20):
                    copy.write(block)
        self.database.execute("VACUUM ANALYZE e")
        size = "SELECT pg_total_relation_size('e')"
        return self.database.execute(size).fetchone()[0]

    def prepare(self, query, parameters):
        hour = f"time / {HOUR_MS} * {HOUR_MS}"
        for statement in statements(query, lambda name: f"%({name})s", hour):
            yield statement, parameters

    def run(self, statement, parameters):
        return self.database.execute(statement, parameters).fetchall()

    def commits(self, count):
        self.database.execute("CREATE TABLE commits (LIKE e INCLUDING INDEXES)")
        lines = self.first_lines(count)
        start = time.perf_counter()
        for at in range(0, len(lines), 1000):
            with self.database.cursor() as cursor, cursor.copy("COPY commits FROM STDIN") as copy:
                for row in lines[at : at + 1000]:
                    copy.write_row(row)
        rate = len(lines) / (time.perf_counter() - start)
        self.database.execute("DROP TABLE commits")
        return rate

    def used(self):
        """The server's processes; ours only fed them."""
        ticks, peak = 0, 0
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                if self.server.pid not in (int(name), int(fields[1])):
                    continue
                # With those that have ended: theirs is in the postmaster's.
                ended = fields[13:15] if int(name) == self.server.pid else []
                ticks += sum(map(int, fields[11:13] + ended))
                with open(f"/proc/{name}/status", encoding="utf-8") as status:
                    lines = dict(line.split(":", 1) for line in status if ":" in line)
                peak = max(peak, int(lines["VmHWM"].split()[0]) * 1024)
            except (OSError, KeyError):
                pass
        return ticks / os.sysconf("SC_CLK_TCK"), peak

    def close(self):
        if hasattr(self, "server"):
            self.server.send_signal(signal.SIGINT)
            self.server.wait(60)
        shutil.rmtree(self.data, ignore_errors=True)


def used_by_us():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    name, folder, ndjson, tsv = sys.argv[1:]
    engine = {"duckdb": DuckDB, "chdb": Chdb, "sqlite": SQLite, "postgresql": PostgreSQL}[name](
        folder, ndjson, tsv
    )
    # Whatever a library prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        start, (cpu, _) = time.perf_counter(), used_by_us()
        size_bytes = engine.load()
        wall = time.perf_counter() - start
        cpu_end, peak = engine.used() if hasattr(engine, "used") else used_by_us()
        loaded = {
            "version": engine.version,
            "size_bytes": size_bytes,
            "wall_seconds": wall,
            "cpu_seconds": cpu_end if hasattr(engine, "used") else cpu_end - cpu,
            "peak_bytes": peak,
            "commits_per_second": engine.commits(100_000),
        }
        print(json.dumps(loaded), file=answers, flush=True)
        for line in sys.stdin:
            question = json.loads(line)
            answer = engine.answer(question["query"], question["parameters"])
            print(json.dumps(answer), file=answers, flush=True)
    finally:
        engine.close()


main()
