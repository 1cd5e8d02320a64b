import sys
from pathlib import Path

import pytest

from models_store.jobs import claims, submissions
from models_store.jobs import store as jobs
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests.samples import a_train_spec
from tests.workers.process.attempts import OWNER, SPEAK, Attempt
from workers.process.supervisor import StopFlag, supervise


@pytest.fixture
def attempt(database: Database, blobs: Blobs, settings: Settings, tmp_path: Path) -> Attempt:
    """Return what supervises one attempt at a new job by a trainer that runs the given program."""

    def run(program: str, *, stop: StopFlag | None = None, **changes: float) -> str:
        changed = settings.model_copy(update=changes)
        if not jobs.listing(database, owner=OWNER)[0]:
            submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=changed)
        claim = claims.claim(database, settings=changed)
        assert claim is not None
        script = tmp_path / "trainer.py"
        script.write_text(SPEAK + program)
        command = [sys.executable, str(script)]
        return supervise(database, blobs, claim, settings=changed, stop=stop or StopFlag(), command=command)

    return run
