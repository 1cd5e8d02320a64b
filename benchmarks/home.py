"""A store of a benchmark's own: archives taken in as uploads are, and their images at any size."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models_store.datasets import store as datasets
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ResolvedImageSpec
from workers.tasks.image.examples import prepare
from workers.training.examples import Examples


@dataclass(frozen=True)
class Opened:
    """An archive taken in: its facts, and its images at any size."""

    dataset: datasets.Dataset
    facts: ImageFacts
    home: "Home"

    def arrays(self, spec: ResolvedImageSpec) -> Examples:
        """Return the images as the spec sees them."""
        return prepare(
            datasets.read_manifest(self.home.blobs.local(self.dataset.manifest_blob)),
            self.home.blobs.local(self.dataset.content_blob),
            classes=self.dataset.card["classes"],
            digest=self.dataset.digest,
            spec_input=spec.input,
            cache=self.home.settings.scratch / "cache",
            cache_max_bytes=self.home.settings.cache_max_bytes,
            max_pixels=self.home.settings.image_max_pixels,
            report=lambda _: None,
        )


@dataclass(frozen=True)
class Home:
    """A store of its own, for as long as the benchmark lasts."""

    settings: Settings
    database: Database
    blobs: Blobs

    def open(self, archive: Path, *, owner: str = "benchmark") -> Opened:
        """Take an archive in."""
        dataset, _ = datasets.ingest(
            archive,
            owner=owner,
            name=archive.stem,
            undecodable="skip",
            database=self.database,
            blobs=self.blobs,
            settings=self.settings,
        )
        return Opened(dataset, IMAGE.facts(dataset.card), self)


@contextmanager
def home(folder: Path) -> Iterator[Home]:
    """Open the store in `folder`; what it holds stays there."""
    settings = Settings(
        espalier_home=folder / "home",
        database_url="",
        blobs_url="",
        work_dir=None,
        weights_dir=None,
        api_keys="",
        allowed_hosts="",
    )
    settings.scratch.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    database.migrate()
    try:
        yield Home(settings, database, Blobs(settings.blobs_url, scratch=settings.scratch))
    finally:
        database.close()
