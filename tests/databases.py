"""Migrated databases: copies of one that was migrated once, since the migrations take longer than most tests."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from models_store.storage.database import PATIENCE_S, Database


@functools.cache
def _migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="espalier-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Database(f"sqlite:///{folder / 'store.db'}")
    database.migrate()
    database.close()  # the last connection leaves everything in the one file
    return folder / "store.db"


def sqlite(url: str, *, patience_s: float = PATIENCE_S) -> Database:
    """Return the database of a URL of SQLite, empty and migrated where there is none yet."""
    place(url)
    return Database(url, patience_s=patience_s)


def place(url: str) -> None:
    """Put an empty, migrated database where a URL says, if it is of SQLite and there is none."""
    parsed = make_url(url)
    path = Path(str(parsed.database))
    if parsed.get_backend_name() == "sqlite" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_migrated_file(), path)


class PostgreSQL:
    """A server that tests share, on which each has a database of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # nobody reads it after a crash
            self._run(f"ALTER SYSTEM SET {setting} = off")
        self._run("SELECT pg_reload_conf()")
        self._run("CREATE DATABASE migrated")
        template = Database(self._url_of("migrated"))
        template.migrate()
        template.close()

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Yield an empty, migrated database."""
        name = f"test_{uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE migrated")
        store = Database(self._url_of(name))
        yield store
        store.close()
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _url_of(self, name: str) -> str:
        return self._url.replace("/postgres?", f"/{name}?")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)
