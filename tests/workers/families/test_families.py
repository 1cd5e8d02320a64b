"""Families from the first step to the result: real steps and rows, without the training."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from models_store.jobs import children, claims, events, submissions
from models_store.jobs import store as jobs
from models_store.jobs.job import FOUND
from models_store.jobs.kinds import PARENTS
from models_store.models import publish, registry
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks.image.spec import ResolvedImageSpec
from tests import databases
from tests.samples import a_train_spec, insert_dataset
from workers.families import findings
from workers.process.supervisor import StopFlag, supervise

OWNER = "ada"
DIVERGED = {"code": "diverged", "detail": "not a number"}
SPACE = {"optimizer.lr": {"log_uniform": [1e-4, 1e-1]}, "training.epochs": {"int_uniform": [3, 9]}}

Play = Callable[[claims.Claim], dict[str, Any] | None]
Drive = Callable[..., jobs.Job]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    store = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
    insert_dataset(store, owner=OWNER)
    with store.write() as connection:
        card = {"classes": ["x", "y"], "counts": {"train": {"x": 40, "y": 40}}, "target": "class", "median_side": 32}
        connection.execute(tables.dataset.update().values(card=card))
    return store


@pytest.fixture
def drive(database: Database, blobs: Blobs, settings: Settings, tmp_path: Path) -> Drive:
    """Return what works on a spec's job, one claim after the other, until nothing is due; and returns the job.

    Parents go to the supervisor. Their children end as trainers would have them end: as good as their learning rate is
    near 0.01; or with the problem that `fate` gives one.
    """

    def end_child(claim: claims.Claim, fate: Play) -> None:
        problem = fate(claim)
        if claims.beat(database, claim, settings=settings).cancel:
            claims.confirm_cancel(database, claim)
        elif problem is not None:
            claims.fail(database, claim, problem)
        elif claim.job.kind == "train":
            publish.publish(database, claim, a_publication())
        else:
            result, files = outcome(claim.job, blobs, tmp_path)
            with database.write() as connection:
                claims.succeed(connection, claim, result, files=files)

    def run(*, fate: Play = lambda _: None, **asked: Any) -> jobs.Job:
        spec = a_train_spec(**{"training": {"epochs": 2, "batch_size": 16, "monitor": "val_accuracy"}} | asked)
        job, _ = submissions.submit(database, owner=OWNER, spec=spec, settings=settings)
        for _ in range(200):
            claim = claims.claim(database, settings=settings)
            if claim is None:
                break
            if claim.job.kind in PARENTS:
                supervise(database, blobs, claim, settings=settings, stop=StopFlag())
            else:
                end_child(claim, fate)
        return jobs.find(database, job.id, owner=OWNER)

    return run


def a_publication() -> publish.Publication:
    return publish.Publication(
        {"labels": ["x", "y"]}, "fp32", [registry.Variant("fp32", "b" * 64, 1, {"kind": "fp32"}, accepted=True)]
    )


def outcome(job: jobs.Job, blobs: Blobs, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a child's result, and its answers to 100 test images."""
    skill = 1 - abs(math.log10(job.spec["optimizer"]["lr"]) + 2) / 4
    truth_N = np.arange(100) % 2
    answers_N = np.where(np.arange(100) < round(100 * skill), truth_N, 1 - truth_N)
    path = folder / f"{job.id}.npz"
    np.savez(path, test_rows=np.arange(100), test_outputs=np.eye(2)[answers_N], test_targets=truth_N)
    split = "held_out" if job.kind == "fold" else "test"
    result = {
        "value": skill,
        "metrics": {split: {"accuracy": 0.9 + 0.01 * (job.number or 0)}},
        "epochs": job.spec["training"]["epochs"],
        "best_epoch": 1,
        "precision": "fp32",
        "batch_size": 16,
    }
    weights = path.with_suffix(".weights")
    weights.write_text(job.id)
    return result, {"answers": blobs.put(path).sha256, "weights": blobs.put(weights).sha256}


def below(database: Database, parent: jobs.Job) -> list[jobs.Job]:
    return children.of(database, parent.id)


def test_a_search_tries_its_trials_and_publishes_the_best(database: Database, drive: Drive) -> None:
    parent = drive(search={"kind": "random", "trials": 5, "space": SPACE, "parallel": 3})

    *trials, last = below(database, parent)
    assert parent.state == "succeeded", parent.problem
    assert [(child.kind, child.number, child.state) for child in trials] == [
        ("trial", number, "succeeded") for number in range(5)
    ]
    best = max(trials, key=lambda child: child.result["value"])
    assert parent.result["best"] == {
        "number": best.number,
        "job": best.id,
        "parameters": best.parameters,
        "value": best.result["value"],
    }
    assert (last.kind, last.spec["optimizer"]["lr"]) == ("train", best.spec["optimizer"]["lr"])
    assert (parent.result["model"], parent.result["version"]) == ("leaves", 1)
    assert registry.version(database, "leaves", 1, owner=OWNER).job_id == last.id


@pytest.mark.parametrize(
    "asked",
    [
        {"search": {"kind": "random", "trials": 4, "space": {"optimizer.lr": SPACE["optimizer.lr"]}, "parallel": 3}},
        {"validation": {"kind": "k_fold", "folds": 4, "parallel": 3}},
        {"validation": {"kind": "repeats", "seeds": 4, "parallel": 3}},
    ],
)
def test_all_children_train_by_the_plan_that_the_first_was_fitted_to(
    database: Database, drive: Drive, asked: dict[str, Any]
) -> None:
    begun: list[int] = []

    def fit(claim: claims.Claim) -> None:
        begun.append(len(below(database, jobs.find(database, claim.job.parent_id or "", owner=OWNER))))
        if claim.job.spec["training"]["fit_to_budget"]:
            training = claim.job.spec["training"] | {"epochs": 11, "fit_to_budget": []}
            claims.keep_plan(database, claim, claim.job.spec | {"training": training})

    parent = drive(fate=fit, training={"batch_size": 16, "monitor": "val_accuracy"}, **asked)

    assert parent.state == "succeeded", parent.problem
    assert parent.spec["training"]["epochs"] != 11
    assert [child.spec["training"]["epochs"] for child in below(database, parent)] == [11] * 5
    assert all(child.spec["training"]["fit_to_budget"] == [] for child in below(database, parent))
    assert begun[:2] == [1, 4]  # the first alone, then as many as may run beside each other


def test_when_the_first_child_fails_before_it_is_fitted_the_next_one_is(database: Database, drive: Drive) -> None:
    def fate(claim: claims.Claim) -> dict[str, Any] | None:
        if claim.job.number == 0:
            return DIVERGED
        if claim.job.spec["training"]["fit_to_budget"]:
            training = claim.job.spec["training"] | {"epochs": 11, "fit_to_budget": []}
            claims.keep_plan(database, claim, claim.job.spec | {"training": training})
        return None

    parent = drive(fate=fate, training={"batch_size": 16}, validation={"kind": "repeats", "seeds": 3, "parallel": 3})

    assert [child.spec["training"]["epochs"] for child in below(database, parent)][1:] == [11, 11, 11]


def test_trial_0_is_the_spec_as_it_stands(database: Database, drive: Drive) -> None:
    parent = drive(
        search={"kind": "random", "trials": 2, "space": SPACE}, optimizer={"kind": "adamw", "lr": 5.0}, seed=7
    )

    own = below(database, parent)[0]
    assert own.parameters == {"optimizer.lr": 5.0, "training.epochs": 2}
    assert own.spec == parent.spec | {"search": None}


def test_a_trial_differs_from_the_spec_by_its_parameters_alone(database: Database, drive: Drive) -> None:
    parent = drive(search={"kind": "random", "trials": 3, "space": SPACE})

    trial = below(database, parent)[2]
    optimizer = parent.spec["optimizer"] | {"lr": trial.parameters["optimizer.lr"]}
    training = parent.spec["training"] | {"epochs": trial.parameters["training.epochs"]}
    assert trial.spec == parent.spec | {"search": None, "optimizer": optimizer, "training": training}


def test_the_same_seed_draws_the_same_trials(database: Database, drive: Drive) -> None:
    made = [drive(search={"kind": "random", "trials": 4, "space": SPACE}, seed=seed) for seed in (1, 1, 2)]

    drawn = [[child.parameters for child in below(database, parent)[1:4]] for parent in made]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_grid_tries_every_combination_in_order(database: Database, drive: Drive) -> None:
    space = {"optimizer.lr": {"log_uniform": [1e-3, 1e-1]}, "seed": {"choice": [5, 6]}}

    parent = drive(search={"kind": "grid", "space": space, "steps": 3})

    tried = [tuple(child.parameters.values()) for child in below(database, parent)[1:7]]
    assert tried == [(pytest.approx(lr), seed) for lr in (0.001, 0.01, 0.1) for seed in (5, 6)]


def test_no_more_children_wait_or_run_than_may(database: Database, drive: Drive) -> None:
    most = 0

    def look(_: claims.Claim) -> None:
        nonlocal most
        query = select(tables.job.c.id).where(
            tables.job.c.parent_id.is_not(None), tables.job.c.state.in_(("queued", "running"))
        )
        with database.read() as connection:
            most = max(most, len(connection.execute(query).all()))

    drive(search={"kind": "random", "trials": 6, "space": SPACE, "parallel": 2}, fate=look)

    assert most == 2


def test_a_trial_whose_values_take_away_each_others_place_is_invalid_and_the_search_goes_on(
    database: Database, drive: Drive
) -> None:
    erasing = {"kind": "random_erasing"}
    inside = {"augmentation.0.probability": {"choice": [0.25, 0.75]}}

    def vary_the_whole_too(claim: claims.Claim) -> None:
        """Make it a search that was queued before its space was refused."""
        if claim.job.number == 0:
            parent = jobs.find(database, str(claim.job.parent_id), owner=OWNER)
            space = {"augmentation": {"choice": [[], [erasing]]}} | inside
            spec = parent.spec | {"search": parent.spec["search"] | {"space": space}}
            with database.write() as connection:
                connection.execute(tables.job.update().where(tables.job.c.id == parent.id).values(spec=spec))

    search = {"kind": "grid", "space": inside, "parallel": 1}
    parent = drive(fate=vary_the_whole_too, search=search, augmentation=[erasing])

    states = [child.state for child in below(database, parent)]
    assert states == ["succeeded", "failed", "failed", "succeeded", "succeeded", "succeeded"]
    assert below(database, parent)[1].problem["code"] == "trial_invalid"
    assert parent.state == "succeeded"


def test_a_trial_that_fails_is_a_failed_trial_and_the_search_goes_on(database: Database, drive: Drive) -> None:
    parent = drive(
        fate=lambda claim: DIVERGED if claim.job.spec["optimizer"]["lr"] > 1 else None,
        search={"kind": "tpe", "trials": 4, "space": {"optimizer.lr": {"choice": [0.01, 0.02]}}},
        optimizer={"kind": "adamw", "lr": 5.0},
    )

    assert [child.state for child in below(database, parent)[:4]] == ["failed", "succeeded", "succeeded", "succeeded"]
    assert (parent.state, parent.result["gain"]) == ("succeeded", None)
    assert any("trial 0" in note for note in parent.result["notes"])


def test_values_that_contradict_each_other_are_a_failed_trial(database: Database, drive: Drive) -> None:
    space = {
        "backbone.weights": {"choice": ["imagenet", None]},
        "backbone.freeze": {"choice": ["none", "backbone"]},
    }
    pretrained = {"kind": "resnet18", "weights": "imagenet", "freeze": "none"}

    parent = drive(search={"kind": "grid", "space": space, "parallel": 9}, backbone=pretrained, input={"size": 64})

    contradicting = below(database, parent)[4]
    assert contradicting.parameters == {"backbone.weights": None, "backbone.freeze": "backbone"}
    assert (contradicting.state, contradicting.problem["code"]) == ("failed", "trial_invalid")
    assert parent.state == "succeeded"


def test_a_search_whose_trials_all_fail_has_failed_and_names_the_first(database: Database, drive: Drive) -> None:
    parent = drive(
        fate=lambda _: DIVERGED,
        search={"kind": "random", "trials": 3, "space": SPACE},
    )

    first = below(database, parent)[0]
    assert (parent.state, parent.problem["code"]) == ("failed", "every_child_failed")
    assert f"{first.id}, failed: not a number" in parent.problem["detail"]


def test_a_search_whose_last_job_fails_has_failed(database: Database, drive: Drive) -> None:
    def cancel_the_last(claim: claims.Claim) -> None:
        if claim.job.kind == "train":
            jobs.cancel(database, claim.job.id, owner=OWNER)

    parent = drive(search={"kind": "random", "trials": 2, "space": SPACE}, fate=cancel_the_last)

    assert (parent.state, parent.problem["code"]) == ("failed", "last_child_failed")


def test_the_gain_is_measured_on_the_test_split_by_a_paired_test(drive: Drive) -> None:
    parent = drive(
        search={"kind": "grid", "space": {"optimizer.lr": {"choice": [0.01, 0.02]}}},
        optimizer={"kind": "adamw", "lr": 1.0},
    )

    gain = parent.result["gain"]
    assert (gain["images"], gain["baseline"], gain["best"], gain["gain"]) == (100, 0.5, 1.0, 0.5)
    assert (gain["only_best_right"], gain["only_baseline_right"]) == (50, 0)
    assert gain["test"] == "mcnemar_exact"
    assert gain["p_value"] == pytest.approx(2 * 0.5**50)
    assert 0.3 < gain["low"] < 0.5 < gain["high"] < 0.7
    assert any("optimistic" in note for note in parent.result["notes"])
    assert any("100 test examples" in note for note in parent.result["notes"])


@pytest.mark.parametrize(
    ("images", "notes"),
    [
        (2, ["the paired test's p is 1: ", "with 2 test examples every gain is within sampling noise"]),
        (5, ["the paired test's p is 0.062: ", "with 5 test examples every gain is within sampling noise"]),
        (8, ["with 8 test examples a gain below 75.0% is within sampling noise"]),
    ],
)
def test_a_gain_on_few_images_is_told_with_what_can_be_told_from_so_few(
    blobs: Blobs, drive: Drive, database: Database, tmp_path: Path, *, images: int, notes: list[str]
) -> None:
    parent = drive(search={"kind": "random", "trials": 2, "space": SPACE}, optimizer={"kind": "adamw", "lr": 5.0})
    gained = 1 if images == 2 else images
    children_then = []
    for child, right in zip(below(database, parent)[:2], (0, gained), strict=True):
        path = tmp_path / f"{child.id}.npz"
        outputs = np.eye(2)[(np.arange(images) >= right).astype(int)]
        np.savez(path, test_rows=np.arange(images), test_outputs=outputs, test_targets=np.zeros(images))
        result = (child.result or {}) | {"value": float(right)}
        children_then.append(replace(child, files={"answers": blobs.put(path).sha256}, result=result))

    result, _ = findings.of_family(blobs, ResolvedImageSpec.model_validate(parent.spec), children_then)

    told = [note for note in result.notes if "paired test" in note or "sampling noise" in note]
    assert len(told) == len(notes)
    assert all(note.startswith(expected) for note, expected in zip(told, notes, strict=True))


def test_the_last_job_of_a_search_begins_with_the_winners_weights_when_they_are_promoted(
    database: Database, drive: Drive
) -> None:
    held: dict[int, dict[str, str]] = {}

    def look(claim: claims.Claim) -> None:
        if claim.job.kind == "train":
            held.update({child.number: child.files for child in children.of(database, claim.job.parent_id)})

    parent = drive(search={"kind": "random", "trials": 3, "space": SPACE, "winner": "promote"}, fate=look)

    assert held[3] == {"trained": held[parent.result["best"]["number"]]["weights"]}


def test_when_a_search_is_done_only_the_compared_answers_are_kept(database: Database, drive: Drive) -> None:
    parent = drive(search={"kind": "random", "trials": 4, "space": SPACE, "winner": "promote"})

    kept = [child.number for child in below(database, parent)[:4] if child.files]
    assert kept == sorted({0, parent.result["best"]["number"]})


def test_folds_come_with_mean_spread_and_interval(database: Database, drive: Drive) -> None:
    parent = drive(validation={"kind": "k_fold", "folds": 3}, optimizer={"kind": "adamw", "lr": 0.01}, seed=4)

    *folds, last = below(database, parent)
    accuracy = parent.result["summary"]["held_out"]["accuracy"]
    assert [child.kind for child in [*folds, last]] == ["fold", "fold", "fold", "train"]
    assert (accuracy["mean"], accuracy["standard_deviation"]) == (pytest.approx(0.91), pytest.approx(0.01))
    assert accuracy["high"] - accuracy["mean"] == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
    assert [run["metrics"]["held_out"]["accuracy"] for run in parent.result["runs"]] == pytest.approx([0.9, 0.91, 0.92])
    assert (parent.result["version"], last.spec["validation"]) == (1, None)


def test_repeats_take_the_seeds_from_the_specs_own_on(database: Database, drive: Drive) -> None:
    parent = drive(validation={"kind": "repeats", "seeds": 3, "publish": False}, seed=2**32 - 2)

    assert [child.spec["seed"] for child in below(database, parent)] == [2**32 - 2, 2**32 - 1, 0]
    assert (parent.state, parent.result["model"]) == ("succeeded", None)
    assert registry.models(database, owner=OWNER) == ([], None)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"search": {"kind": "random", "trials": 2, "space": SPACE}}, ["train 2 blew up"]),
        ({"validation": {"kind": "k_fold", "folds": 2}}, ["fold 0: fold 0 blew up", "fold 1: fold 1 blew up"]),
        (
            {"validation": {"kind": "repeats", "seeds": 2}},
            ["repeat 0: repeat 0 blew up", "repeat 1: repeat 1 blew up"],
        ),
    ],
)
def test_what_was_found_in_the_runs_that_count_is_a_warning_of_the_parent(
    database: Database, drive: Drive, asked: dict[str, Any], expected: list[str]
) -> None:
    def warn(claim: claims.Claim) -> None:
        claims.keep_warning(database, claim, f"{claim.job.kind} {claim.job.number} blew up")

    parent = drive(fate=warn, **asked)

    found = [text.removeprefix(FOUND) for text in parent.warnings if text.startswith(FOUND)]
    assert found[: len(expected)] == expected
    assert parent.state == "succeeded", parent.problem


def test_a_fold_that_fails_is_left_out_and_said(drive: Drive) -> None:
    parent = drive(
        fate=lambda claim: DIVERGED if claim.job.number == 1 else None,
        validation={"kind": "k_fold", "folds": 3, "publish": False},
    )

    assert parent.result["summary"]["held_out"]["accuracy"]["runs"] == 2
    assert any("1 of 3 runs" in note for note in parent.result["notes"])
    assert any("an interval of 2 runs is wide" in note for note in parent.result["notes"])


def test_events_of_the_parent_tell_each_childs_end_and_that_more_is_done(database: Database, drive: Drive) -> None:
    parent = drive(validation={"kind": "repeats", "seeds": 3})

    told = events.after(database, parent.id, 0)
    assert [event.data["number"] for event in told if event.kind == "child"] == [0, 1, 2, 3]
    assert [event.data["phase"] for event in told if event.kind == "phase"] == ["repeats", "publishing"]
    fractions = [event.data["fraction"] for event in told if event.kind == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert len(set(fractions)) >= 4  # each child's end moves it
    assert fractions[-1] < 1
    json.dumps([event.data for event in told])


def test_a_search_that_is_canceled_ends_with_its_trials(database: Database, drive: Drive) -> None:
    def cancel_at_the_second(claim: claims.Claim) -> None:
        if claim.job.number == 1:
            jobs.cancel(database, claim.job.parent_id or "", owner=OWNER)

    parent = drive(search={"kind": "random", "trials": 4, "space": SPACE}, fate=cancel_at_the_second)

    assert parent.state == "canceled"
    assert [child.state for child in below(database, parent)] == ["succeeded", "canceled", "canceled"]
    assert registry.models(database, owner=OWNER) == ([], None)
