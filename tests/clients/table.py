"""Asks an engine that knows nothing of us for the history, by SQL over the Delta tables.

    table.py clickhouse|deltalake|duckdb DATA_DIR < QUERIES

QUERIES is a JSON list of SQL texts over the tables `records` and `hidden`; on stdout comes a JSON
list of their results, each a list of rows. Tables are opened as docs/sql.md says.
"""

import datetime
import json
import os
import sys


def clickhouse(data_dir):
    """ClickHouse in process."""
    from chdb.session import Session

    # It opens files below the working directory, by absolute paths.
    os.chdir(data_dir)
    session = Session()
    for name, folder in (("records", "segments"), ("hidden", "hidden")):
        session.query(f"CREATE TABLE {name} ENGINE = DeltaLakeLocal('{data_dir}/{folder}')")

    def ask(sql):
        settings = "SETTINGS output_format_json_quote_64bit_integers = 0, session_timezone = 'UTC'"
        text = str(session.query(f"{sql} {settings}", "JSONCompactEachRow"))
        return [json.loads(line) for line in text.splitlines() if line]

    return ask


def deltalake(data_dir):
    """The `deltalake` package, which asks DataFusion."""
    from deltalake import DeltaTable, QueryBuilder

    builder = QueryBuilder()
    for name, folder in (("records", "segments"), ("hidden", "hidden")):
        builder = builder.register(name, DeltaTable(f"{data_dir}/{folder}"))

    def ask(sql):
        import pyarrow

        table = pyarrow.table(builder.execute(sql).read_all())
        return [list(row.values()) for row in table.to_pylist()]

    return ask


def duckdb(data_dir):
    """DuckDB without its extension: the Delta log is read by `deltalake`."""
    import duckdb
    import pyarrow
    from deltalake import DeltaTable

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, folder in (("records", "segments"), ("hidden", "hidden")):
        added = pyarrow.table(DeltaTable(f"{data_dir}/{folder}").get_add_actions(flatten=True))
        paths = added.column("path").to_pylist()
        base = dict.fromkeys(paths, 0)
        if "partition.base_seq" in added.column_names:
            base = dict(zip(paths, added.column("partition.base_seq").to_pylist()))
        files = ", ".join(f"'{data_dir}/{folder}/{path}'" for path in paths)
        values = ", ".join(f"('{path}', {base[path]})" for path in paths)
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * EXCLUDE (path, filename) "
            f"FROM read_parquet([{files}], filename = true, union_by_name = true) "
            f"JOIN (VALUES {values}) AS added(path, base_seq) "
            "ON parse_filename(filename) = path"
        )
    return lambda sql: [list(row) for row in connection.execute(sql).fetchall()]


def plain(value):
    """Instants as microseconds, so that engines need not agree on how to write them."""
    if isinstance(value, datetime.datetime):
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return (value - epoch) // datetime.timedelta(microseconds=1)
    return value


def main():
    engine, data_dir = sys.argv[1:]
    ask = {"clickhouse": clickhouse, "deltalake": deltalake, "duckdb": duckdb}[engine](data_dir)
    results = [[[plain(v) for v in row] for row in ask(sql)] for sql in json.load(sys.stdin)]
    json.dump(results, sys.stdout)


main()
