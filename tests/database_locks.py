"""Another program that holds the database: its write lock, as a backup or a forgotten shell does."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url

HOLD = """
import sys, pysqlite3
connection = pysqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA busy_timeout=20000")
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def write_lock(url: str) -> Iterator[None]:
    """Let nobody write, and everybody read, while inside: from another process on SQLite, by table locks otherwise."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        command = [sys.executable, "-c", HOLD, str(parsed.database)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield
            assert holder.stdin is not None
            holder.stdin.close()
        return
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        connection.execute("LOCK TABLE job, model, dataset, attempt, job_event IN EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextmanager
def no_connections(url: str) -> Iterator[None]:
    """Cut every connection to a PostgreSQL database, and let nobody connect, while inside."""
    parsed = make_url(url).set(drivername="postgresql")
    name = parsed.database
    server = parsed.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
