from dataclasses import replace
from pathlib import Path

import pytest

from tests.samples import a_train_spec
from tests.workers.job_folders import JobFolder, data_of
from tests.workers.measured_figures import measured
from tests.workers.training_runs import Recorder, some_arrays
from workers.process.assignment import StoredVariant
from workers.stories import measure


def test_what_a_card_says_of_a_variant_holds_when_it_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = JobFolder(tmp_path)
    (tmp_path / "file").write_bytes(b"weights")
    blob = job.blobs.put(tmp_path / "file").sha256
    cards = {
        "fp32": {"parent": None},
        "dynamic-int8": {"parent": "fp32", "made_by": {"kind": "dynamic_int8"}},
        "pruned": {"parent": "fp32", "stopped": "loses too much"},
    }
    work = job.work(a_train_spec(), reporter=Recorder())
    variants = tuple(StoredVariant(name, blob, card) for name, card in cards.items())
    work = replace(work, assignment=replace(work.assignment, variants=variants))
    figures = {"fp32": measured(0.95), "dynamic-int8": measured(0.95, 3.0), "pruned": measured(0.95, 4.0)}
    monkeypatch.setattr(measure, "read", lambda work: (work, data_of(some_arrays())))
    monkeypatch.setattr(measure, "measure_files", lambda *_: {"cpu": figures})

    remeasured = measure.run(work)

    assert remeasured.defaults == {"cpu": "fp32"}
    reasons = {name: each["cpu"]["reasons"] for name, each in remeasured.measured.items()}
    assert reasons["dynamic-int8"][0].startswith("an example's answer depends on the others of its request")
    assert reasons["pruned"] == ["loses too much"]
