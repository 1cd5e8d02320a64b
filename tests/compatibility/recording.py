"""Recording of an earlier release: the rows of its database, its blobs, and what its API answered.

`release_858dd3a.zip` was made by the release of that commit on SQLite: it has three uploaded datasets; models trained
from them, one with int8, fp16 and pruned variants; a search that promoted its winner, a cross-validation, a compression
and a measurement of an old version, a preview, a file of weights, a canceled job; and jobs that no worker had begun: a
training that starts from the file of weights, a compression, a measurement, and a search that waits for its first
trial. Pictures of reports but one were left out, and so were the pages of all reports but the first.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, MetaData, insert, text

from models_store.settings import Settings
from models_store.storage import database as database_module
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database

Rows = dict[str, list[dict[str, Any]]]
Answer = tuple[int, Any]


@dataclass(frozen=True)
class Recording:
    """What an earlier release left: `answers` are path → status and body, `predictions` the same by reference."""

    path: Path
    rows: Rows
    answers: dict[str, Answer]
    predictions: dict[str, Answer]
    image: str
    """the one that was asked for, as base64"""

    @classmethod
    def read(cls, path: Path) -> "Recording":
        """Return the recording in a zip."""
        with zipfile.ZipFile(path) as archive:
            rows, told = (json.loads(archive.read(name)) for name in ("rows.json", "answers.json"))
        answers, predictions = (
            {name: (status, body) for name, (status, body) in told[kind].items()} for kind in ("answers", "predictions")
        )
        return cls(path, rows, answers, predictions, told["image"])

    def restore(self, settings: Settings, *, scratch: Path) -> None:
        """Fill a database with the rows alone, in the shape that their release had, and put the blobs beside it."""
        store = Blobs(settings.blobs_url, scratch=settings.scratch)
        with zipfile.ZipFile(self.path) as archive:
            for member in archive.namelist():
                if member.startswith("blobs/"):
                    target = scratch / member.removeprefix("blobs/")
                    target.write_bytes(archive.read(member))
                    assert store.put(target).sha256 == target.name
        database = Database(settings.database_url)
        metadata = MetaData()
        with database.write() as connection:
            metadata.reflect(connection)
            metadata.drop_all(connection)
            config = Config()
            config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, self.rows["alembic_version"][0]["version_num"])
        metadata.clear()
        with database.write() as connection:
            metadata.reflect(connection)
            for table in metadata.sorted_tables:
                if table.name == "alembic_version":
                    continue
                for row in self.rows[table.name]:
                    known = {name: value for name, value in row.items() if value is not None}
                    connection.execute(insert(table).values(known))
            if database.dialect == "postgresql":
                newest = "SELECT setval(pg_get_serial_sequence('stage_cost', 'id'), max(id)) FROM stage_cost"
                connection.execute(text(newest))
        database.close()
        assert any(isinstance(column.type, JSON) for column in metadata.tables["job"].columns)
