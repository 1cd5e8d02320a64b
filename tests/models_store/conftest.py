from pathlib import Path

import pytest

from models_store.blobs import Blobs
from models_store.settings import Settings
from tests.models_store.dataset_stores import Store, a_store


@pytest.fixture
def store(tmp_path: Path, blobs: Blobs, settings: Settings) -> Store:
    return a_store(settings, blobs, folder=tmp_path)
