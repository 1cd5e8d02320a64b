"""The supervisor of a search's or a cross-validation's children: small real processes in the place of trainers."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.jobs import children, claims, events, submissions
from models_store.jobs import store as jobs
from models_store.jobs.children import NewChild
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from tests import databases
from tests.samples import a_train_spec, insert_dataset
from workers.process.supervisor import StopFlag, supervise

OWNER = "ada"
SPACE = {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}
TRAINING = {"epochs": 9, "batch_size": 16, "monitor": "val_accuracy"}
RESULT = {"value": 0.5, "metrics": {}, "best_epoch": 2, "epochs": 3, "precision": "fp32", "batch_size": 16}

SPEAK = """
import json, os, sys, time
_, assignment, parent, lifeline, reports = sys.argv
def say(kind, **data):
    os.write(int(reports), json.dumps({"kind": kind, "data": data}).encode() + b"\\n")
"""

Attempt = Callable[[str], str]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    store = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
    insert_dataset(store, owner=OWNER)
    return store


@pytest.fixture
def attempt(database: Database, blobs: Blobs, settings: Settings, tmp_path: Path) -> Attempt:
    """Return what supervises one attempt at the next child by a trainer that runs the given program."""

    def run(program: str) -> str:
        with database.write() as connection:  # a parent that was woken sleeps on
            connection.exec_driver_sql("UPDATE job SET state = 'waiting' WHERE parent_id IS NULL")
        claim = claims.claim(database, settings=settings)
        assert claim is not None
        script = tmp_path / "trainer.py"
        script.write_text(SPEAK + program)
        return supervise(
            database, blobs, claim, settings=settings, stop=StopFlag(), command=[sys.executable, str(script)]
        )

    return run


def a_family(database: Database, settings: Settings, *new: NewChild, **asked: Any) -> jobs.Job:
    """Submit a parent and these children."""
    spec = a_train_spec(training=TRAINING, **asked)
    parent, _ = submissions.submit(database, owner=OWNER, spec=spec, settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    children.wait_for(database, claim, new, ended=0, phase="trials", progress={"fraction": 0.0})
    return parent


def a_child(number: int, kind: str = "trial", **given: Any) -> NewChild:
    spec = a_train_spec(training=TRAINING)
    return NewChild(number, kind, spec.model_dump(mode="json"), parameters={"optimizer.lr": 0.01}, **given)


def the_assignment(database: Database, job_id: str) -> dict[str, Any]:
    (event,) = events.after(database, job_id, 0, kinds=("metrics",))
    return dict(json.loads(event.data["text"]))


TELL = 'say("metrics", text=open(assignment).read());'


def test_a_trials_figures_and_files_are_kept_and_its_parent_is_woken(
    database: Database, settings: Settings, attempt: Attempt
) -> None:
    parent = a_family(database, settings, a_child(0), search={"kind": "random", "space": SPACE})

    outcome = attempt(f'say("result", result={RESULT}, files={{"answers": "{"a" * 64}"}})')

    (trial,) = children.of(database, parent.id)
    assert (outcome, trial.state, trial.result, trial.files) == (
        "succeeded",
        "succeeded",
        RESULT,
        {"answers": "a" * 64},
    )
    assert jobs.find(database, parent.id, owner=OWNER).state == "queued"


def test_a_trial_that_is_outdone_is_stopped_and_its_process_is_gone(
    database: Database, settings: Settings, attempt: Attempt
) -> None:
    search = {"kind": "tpe", "space": SPACE, "startup_trials": 1}
    parent = a_family(database, settings, a_child(0), a_child(1), search=search)
    attempt(
        'say("metrics", epoch=1, val_accuracy=0.6); say("metrics", epoch=2, val_accuracy=0.8);'
        f'say("result", result={RESULT | {"value": 0.8}}, files={{}})'
    )

    outcome = attempt(
        'say("log", text=str(os.getpid()));'
        'say("metrics", epoch=1, val_accuracy=0.7); time.sleep(1);'
        'say("metrics", epoch=2, val_accuracy=0.5); time.sleep(60)'
    )

    outdone = children.of(database, parent.id)[1]
    assert (outcome, outdone.result) == ("succeeded", {"pruned": True, "value": 0.7, "epochs": 2})
    pid = int(events.after(database, outdone.id, 0, kinds=("log",))[0].data["text"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_trial_in_its_last_epoch_is_not_stopped(database: Database, settings: Settings, attempt: Attempt) -> None:
    search = {"kind": "tpe", "space": SPACE, "startup_trials": 1}
    parent = a_family(database, settings, a_child(0), a_child(1), search=search)
    attempt(f'say("metrics", epoch=9, val_accuracy=0.9); say("result", result={RESULT}, files={{}})')

    attempt(f'say("metrics", epoch=9, val_accuracy=0.1); time.sleep(1); say("result", result={RESULT}, files={{}})')

    assert children.of(database, parent.id)[1].result == RESULT


def test_a_fold_is_told_which_part_it_holds_out(database: Database, settings: Settings, attempt: Attempt) -> None:
    parent = a_family(database, settings, a_child(3, "fold"), validation={"kind": "k_fold", "folds": 5})

    attempt(TELL)

    told = the_assignment(database, children.of(database, parent.id)[0].id)
    assert told["fold"] == {"index": 3, "folds": 5, "seed": 0, "grouped": False}
    assert (told["kind"], told["promoted"]) == ("fold", None)


@pytest.mark.parametrize(("winner", "keeps"), [("promote", True), ("retrain", False)])
def test_a_trial_keeps_its_weights_when_they_may_be_promoted(
    database: Database, settings: Settings, attempt: Attempt, winner: str, *, keeps: bool
) -> None:
    search = {"kind": "random", "space": SPACE, "winner": winner}
    parent = a_family(database, settings, a_child(0), search=search)

    attempt(TELL)

    assert the_assignment(database, children.of(database, parent.id)[0].id)["keeps_weights"] is keeps


def test_the_last_job_is_told_the_winners_weights_and_history(
    database: Database, settings: Settings, attempt: Attempt
) -> None:
    search = {"kind": "random", "space": SPACE, "winner": "promote"}
    last = a_child(1, "train", files={"trained": "b" * 64})
    parent = a_family(database, settings, a_child(0), last, search=search)
    attempt(
        f'say("metrics", epoch=1, val_accuracy=0.6); say("result", result={RESULT}, files={{"weights": "{"b" * 64}"}})'
    )
    attempt(TELL)

    assert the_assignment(database, children.of(database, parent.id)[1].id)["promoted"] == {
        "weights": "b" * 64,
        "history": [{"epoch": 1, "val_accuracy": 0.6}],
        "best_epoch": 2,
        "precision": "fp32",
        "batch_size": 16,
    }


def test_a_cancel_while_a_trial_hands_over_wins(database: Database, settings: Settings, attempt: Attempt) -> None:
    parent = a_family(database, settings, a_child(0), search={"kind": "random", "space": SPACE})
    (trial,) = children.of(database, parent.id)
    program = f"""
from models_store.jobs import store as jobs
from models_store.storage.database import Database
jobs.cancel(Database({str(database.engine.url)!r}), {trial.id!r}, owner={OWNER!r})
say("result", result={RESULT}, files={{}})
"""

    outcome = attempt(program)

    (trial,) = children.of(database, parent.id)
    assert (outcome, trial.state, trial.result) == ("canceled", "canceled", None)
