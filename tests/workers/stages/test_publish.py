from pathlib import Path
from typing import Any

import pytest

from tests.samples import a_train_spec
from tests.workers.job_folders import JobFolder
from tests.workers.training_runs import some_arrays
from workers.stages.publish import stored_auxiliary_files
from workers.training.examples import Examples


def test_the_files_that_a_codec_needs_are_stored_for_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vocabulary(_task: Any, examples: Examples, folder: Path) -> dict[str, Path]:
        path = folder / "vocabulary.txt"
        path.write_text(" ".join(examples.classes))
        return {"vocabulary": path}

    job, examples = JobFolder(tmp_path), some_arrays()
    work = job.work(a_train_spec())
    assert stored_auxiliary_files(work, examples) == {}
    monkeypatch.setattr(type(work.task), "auxiliary_files", vocabulary)

    stored = stored_auxiliary_files(work, examples)

    assert job.blobs.local(stored["vocabulary"]).read_text() == " ".join(examples.classes)
