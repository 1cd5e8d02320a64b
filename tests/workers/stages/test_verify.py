from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models_store.settings import Settings
from models_store.tasks.rooms import contract_of
from tests.samples import a_train_spec
from tests.workers.job_folders import JobFolder, data_of
from tests.workers.training_runs import some_arrays
from workers.stages.verify import codec_of
from workers.training.examples import Examples


def test_files_are_verified_with_the_codec_that_serves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vocabulary(_task: Any, examples: Examples, folder: Path) -> dict[str, Path]:
        path = folder / "vocabulary.txt"
        path.write_text(" ".join(examples.classes))
        return {"vocabulary": path}

    def made(_contract: Any, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> Any:
        return card, {name: path.read_text() for name, path in files.items()}, settings

    work, examples = JobFolder(tmp_path).work(a_train_spec()), some_arrays()
    monkeypatch.setattr(type(work.task), "auxiliary_files", vocabulary)
    monkeypatch.setattr(type(contract_of(work.spec.task)), "codec", made)

    card, files, settings = codec_of(work, data_of(examples))

    assert settings is work.settings
    assert files == {"vocabulary": " ".join(examples.classes)}
    assert card == work.identity | {"labels": examples.classes}
