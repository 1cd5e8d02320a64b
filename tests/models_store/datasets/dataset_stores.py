"""A store of datasets, and archives to send to it."""

import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models_store.datasets import store as datasets
from models_store.datasets.report import DatasetUnusable
from models_store.datasets.row_sources import Table
from models_store.datasets.store import Dataset, ManifestEntry
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests import databases
from tests.samples import a_png

OWNER = "ada"
Files = dict[str, bytes]


def class_files(*classes: str, count: int = 10, top: str = "", seed: int = 0) -> Files:
    return {
        f"{top}{name}/{index:03d}.png": a_png(hue=place % 3, seed=seed + 1000 * place + index)
        for place, name in enumerate(classes)
        for index in range(count)
    }


def a_zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def a_tar_gz(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Store:
    database: Database
    blobs: Blobs
    settings: Settings
    upload: Path

    def ingest(self, content: Files | bytes, *, name: str = "leaves", owner: str = OWNER, **how: Any) -> Dataset:
        return self.ingest_again(content, name=name, owner=owner, **how)[0]

    def ingest_again(
        self,
        content: Files | bytes,
        *,
        name: str = "leaves",
        owner: str = OWNER,
        undecodable: Any = "refuse",
        layout: Any = "auto",
        names: Any = "auto",
        encoding: Any = "utf-8",
        table: Table | None = None,
    ) -> tuple[Dataset, bool]:
        self.upload.write_bytes(a_zip(content) if isinstance(content, dict) else content)
        return datasets.ingest(
            self.upload,
            owner=owner,
            name=name,
            undecodable=undecodable,
            layout=layout,
            names=names,
            encoding=encoding,
            table=table,
            database=self.database,
            blobs=self.blobs,
            settings=self.settings,
        )

    def refusal(self, content: Files | bytes, **how: Any) -> DatasetUnusable:
        with pytest.raises(DatasetUnusable) as refusal:
            self.ingest(content, **how)
        return refusal.value

    def manifest(self, dataset: Dataset) -> list[ManifestEntry]:
        return datasets.read_manifest(self.blobs.local(dataset.manifest_blob))

    def leftovers(self) -> list[str]:
        stored = [str(path) for path in self.upload.parent.glob("blobs/sha256/*/*")]
        return stored + [path.name for path in self.settings.scratch.iterdir()]


def a_store(settings: Settings, blobs: Blobs, *, folder: Path) -> Store:
    database = databases.sqlite(settings.database_url)
    return Store(database, blobs, settings, folder / "upload")


def checks(found: Dataset | DatasetUnusable) -> dict[str, dict[str, Any]]:
    return {check["check"]: check for check in found.report["checks"]}


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: sum(counts.values()) for split, counts in dataset.card["counts"].items()}


def a_table(rows: str, files: Files | None = None, name: str = "labels.csv") -> Files:
    images = files or {f"images/{index}.png": a_png(hue=index % 2, seed=index) for index in range(10)}
    return images | {name: rows.encode()}
