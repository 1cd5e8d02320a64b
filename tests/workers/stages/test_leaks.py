"""Leaked rows of val and test: a report has their figures apart, and those of val choose nothing."""

import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.datasets import store as datasets
from models_store.datasets.row_sources import Table
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.tasks.text.contract import TEXT
from models_store.tasks.text.spec import TextSpec
from tests.models_store.datasets.dataset_stores import a_store
from tests.models_store.datasets.text_rows import lines
from tests.tasks.text.samples import SMALL
from tests.workers.job_folders import JobFolder, assigned
from workers.process.assignment import Fold
from workers.stages import data as stage
from workers.stages.data import FEWEST_CLEAN, LEAKED_VAL, Data

CLEAN, LEAKED = 60, 20


def table(*, clean: int) -> bytes:
    """Return train rows, and val and test rows of which some are copies of those."""
    chance = random.Random(0)
    words = [f"word{number}" for number in range(400)]
    train = [" ".join(chance.choices(words, k=12)) for _ in range(100)]
    rows = [(text, at % 2, "train") for at, text in enumerate(train)]
    for split in ("val", "test"):
        rows += [(f"{train[at].upper()}!", at % 2, split) for at in range(LEAKED)]
        rows += [(" ".join(chance.choices(words, k=12)), at % 2, split) for at in range(clean)]
    return lines(*(f"{text},{('bad', 'good')[good]},{split}" for text, good, split in rows), header="text,label,split")


def read(folder: Path, settings: Settings, blobs: Blobs, *, clean: int, **given: Any) -> Data:
    dataset = a_store(settings, blobs, folder=folder).ingest(table(clean=clean), table=Table("texts.csv", "csv"))
    facts = datasets.facts(dataset)
    asked = TextSpec.model_validate({"name": "reviews", "dataset": dataset.id} | SMALL)
    job = JobFolder(folder, dataset=assigned(dataset), blobs=blobs, settings=settings)
    resolved = TEXT.resolve(asked, facts)[0]
    with job.reporter() as reporter:
        work = job.work(resolved, reporter=reporter, facts=asdict(facts), **given)  # type: ignore[arg-type]  # of texts
        return stage.read(work)[1]


def test_the_rows_of_val_that_have_no_copy_in_train_choose_and_all_are_evaluated(
    tmp_path: Path, settings: Settings, blobs: Blobs
) -> None:
    data = read(tmp_path, settings, blobs, clean=CLEAN)

    chosen_by, evaluated = data.examples.split("val"), data.evaluated("val")
    leaked = [entry.leaked for entry in data.entries]
    assert (len(chosen_by), len(evaluated), len(data.evaluated("test"))) == (CLEAN, CLEAN + LEAKED, CLEAN + LEAKED)
    assert not np.array(leaked)[chosen_by].any()
    assert set(np.setdiff1d(evaluated, chosen_by)) == set(data.examples.split(LEAKED_VAL))
    assert sum(leaked) == 2 * LEAKED


def test_where_few_rows_of_val_are_clean_all_of_them_choose(tmp_path: Path, settings: Settings, blobs: Blobs) -> None:
    data = read(tmp_path, settings, blobs, clean=FEWEST_CLEAN - 1)

    assert len(data.examples.split("val")) == len(data.evaluated("val")) == FEWEST_CLEAN - 1 + LEAKED


@pytest.mark.parametrize("index", [0, 1])
def test_a_fold_holds_out_no_copy_of_what_it_trains_on(
    tmp_path: Path, settings: Settings, blobs: Blobs, index: int
) -> None:
    fold = Fold(index=index, folds=2, seed=0, grouped=False)

    data = stage.hold_out(read(tmp_path, settings, blobs, clean=CLEAN, fold=fold), fold, task="text_classification")

    alike = np.array([entry.likeness for entry in data.entries])
    parts = [set(alike[data.examples.split(split)]) for split in ("train", "val", "test")]
    assert parts[0].isdisjoint(parts[1] | parts[2])
    assert parts[1].isdisjoint(parts[2])
    assert len(data.examples.split("test")) > CLEAN
