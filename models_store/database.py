"""engine, sessions, transaction rules: the one place that knows SQLite from PostgreSQL.

Every writing transaction on SQLite is `BEGIN IMMEDIATE` (a deferred read-then-write fails at once with BUSY_SNAPSHOT,
whatever the timeout); keep it under 50 ms and do no I/O in it. Times in the database are seconds since the epoch, by
the database's own clock (`now`), so that leases of several hosts compare.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Double, Engine, create_engine, event, make_url, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

OLDEST_SAFE_SQLITE = (3, 51, 3)
"""3.7.0 to 3.51.2 can lose commits with two connections in WAL mode (the WAL-reset bug)."""


class SqliteUnsafe(RuntimeError):
    """This SQLite can lose commits."""


class now(FunctionElement[float]):  # noqa: N801  it stands in SQL expressions, as func.now() does
    """The database's clock, in seconds since the epoch."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **options: Any) -> str:  # noqa: ANN401, ARG001  SQLAlchemy's signature
    return "unixepoch('subsec')"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **options: Any) -> str:  # noqa: ANN401, ARG001  SQLAlchemy's signature
    return "extract(epoch from clock_timestamp())::double precision"


class Database:
    """Connections to the store; safe to share between threads, never across a fork."""

    def __init__(self, url: str) -> None:
        self.engine = _sqlite_engine(url) if make_url(url).get_backend_name() == "sqlite" else _server_engine(url)

    @property
    def dialect(self) -> str:
        """Return `sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that only reads."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a writing transaction: commit at the end, roll back on an error."""
        with self.engine.connect() as connection:
            connection.execution_options(espalier_write=True)
            with connection.begin():
                yield connection

    def migrate(self) -> None:
        """Bring the tables to this version's shape. Several processes may call it at the same time."""
        from alembic import command  # noqa: PLC0415  0.4 s that processes which don't migrate are spared
        from alembic.config import Config  # noqa: PLC0415  beside it

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with _migration_lock, self.write() as connection:
            if self.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(20261122)"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


_migration_lock = threading.Lock()  # Alembic's context is a module global


def _server_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    bounded = {  # nobody waits for a database that hangs: a worker's heartbeat has 40 s in all
        "connect_timeout": 5,
        "tcp_user_timeout": 15_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": "-c statement_timeout=20000 -c lock_timeout=15000",
    }
    return create_engine(
        parsed, pool_pre_ping=True, pool_size=5, max_overflow=20, connect_args=bounded, json_deserializer=_read_json
    )


def _sqlite_engine(url: str) -> Engine:
    try:
        import pysqlite3 as driver  # noqa: PLC0415  Linux only; elsewhere the standard library's is checked below
    except ImportError:
        import sqlite3 as driver  # noqa: PLC0415
    if driver.sqlite_version_info < OLDEST_SAFE_SQLITE:
        wanted = ".".join(map(str, OLDEST_SAFE_SQLITE))
        raise SqliteUnsafe(
            f"SQLite {driver.sqlite_version} can lose commits; install pysqlite3 (SQLite {wanted} or newer), "
            "or set DATABASE_URL to PostgreSQL"
        )
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    options = {"timeout": 30, "check_same_thread": False}
    engine = create_engine(url, module=driver, connect_args=options, json_deserializer=_read_json)

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401  a DB-API connection
        connection.isolation_level = None  # we write BEGIN ourselves
        for pragma in ("journal_mode=WAL", "busy_timeout=30000", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("espalier_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _read_json(text: str | bytes) -> Any:  # noqa: ANN401  any JSON
    """Return what a JSON column holds; most of the time of reading a page of jobs goes here."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # NaN, which earlier releases could store in SQLite
