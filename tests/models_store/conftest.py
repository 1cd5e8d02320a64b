from pathlib import Path

import pytest

from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from tests.models_store.datasets.dataset_stores import Store, a_store


@pytest.fixture
def store(tmp_path: Path, blobs: Blobs, settings: Settings) -> Store:
    return a_store(settings, blobs, folder=tmp_path)
