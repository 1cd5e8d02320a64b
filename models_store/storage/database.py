"""Engines, connections, transaction rules: the one place that knows SQLite from PostgreSQL.

Every writing transaction on SQLite is `BEGIN IMMEDIATE` (a deferred read-then-write fails at once with BUSY_SNAPSHOT,
whatever the timeout); keep it under 50 ms and do no I/O in it. Readers and writers have a pool each: writers that wait
for a lock take no connection from readers, who need no lock (WAL, MVCC). Nobody waits longer than `patience_s` for a
connection, nor for a lock; then the call fails with one of `UNAVAILABLE`. Times in the database are seconds since the
epoch, by the database's own clock (`now`), so that leases of several hosts compare.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Double, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

OLDEST_SAFE_SQLITE = (3, 51, 3)
"""3.7.0 to 3.51.2 can lose commits with two connections in WAL mode (the WAL-reset bug)."""

UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What a call raises while the database is away, locked, restarting or out of connections: it may succeed later."""
PATIENCE_S = 30.0
LONGEST_SERVER_LOCK_S = 15.0
MIGRATION_PATIENCE_S = 60.0
"""Several processes may migrate when a stack starts: all but one wait for it."""


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

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._url = url
        self.engine = _engine(url, patience_s=patience_s)
        self._writers = _engine(url, patience_s=patience_s, writes=True)

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
        with self._writers.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to this version's shape. Several processes may call it at the same time."""
        from alembic import command  # noqa: PLC0415  0.4 s that processes which don't migrate are spared
        from alembic.config import Config  # noqa: PLC0415  beside it

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        engine = _engine(self._url, patience_s=MIGRATION_PATIENCE_S, writes=True)
        try:
            with _migration_lock, engine.begin() as connection:
                if self.dialect == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(20261122)"))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._writers.dispose()


_migration_lock = threading.Lock()  # Alembic's context is a module global


def _engine(url: str, *, patience_s: float, writes: bool = False) -> Engine:
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite_engine(url, patience_s=patience_s, writes=writes)
    return _server_engine(url, patience_s=patience_s, writes=writes)


def _server_engine(url: str, *, patience_s: float, writes: bool) -> Engine:
    parsed = make_url(url)
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    lock_ms = round(1000 * min(patience_s, LONGEST_SERVER_LOCK_S))
    bounded = {  # nobody waits for a database that hangs: a worker's heartbeat has 40 s in all
        "connect_timeout": 5,
        "tcp_user_timeout": 15_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": f"-c statement_timeout={lock_ms + 5000} -c lock_timeout={lock_ms}",
    }
    overflow = 8 if writes else 15  # with the pools' own 8: under a third of the 100 that a server takes by default
    return create_engine(
        parsed,
        pool_pre_ping=True,
        pool_size=4,
        max_overflow=overflow,
        pool_timeout=patience_s,
        connect_args=bounded,
        json_deserializer=_read_json,
    )


def _sqlite_engine(url: str, *, patience_s: float, writes: bool) -> Engine:
    driver = _sqlite_driver()
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        module=driver,
        pool_size=1 if writes else 5,  # one transaction writes at a time: the others wait in our queue, in their order
        max_overflow=0 if writes else -1,  # readers are bounded by the threads there are
        pool_timeout=patience_s,
        connect_args={"timeout": patience_s, "check_same_thread": False},
        json_deserializer=_read_json,
    )

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401  a DB-API connection
        connection.isolation_level = None  # we write BEGIN ourselves
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _sqlite_driver() -> Any:  # noqa: ANN401  a DB-API module
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
    return driver


def _read_json(text: str | bytes) -> Any:  # noqa: ANN401  any JSON
    """Return what a JSON column holds; most of the time of reading a page of jobs goes here."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # NaN, which earlier releases could store in SQLite
