"""The table of kinds of jobs, and what rows and queries take from it."""

from typing import Any, ClassVar

import pytest

from models_store.jobs import kinds, phases
from models_store.jobs.kinds import KINDS, Kind
from models_store.storage import tables
from models_store.tasks import rooms
from tests.samples import a_train_spec

SPEC = a_train_spec(
    compression={"prune": {"kind": "structured", "ratio": 0.5}, "quantize": [{"kind": "fp16"}]}
).model_dump(mode="json")


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_is_done_by_a_story_or_by_children(kind: Kind) -> None:
    assert (kind.story is None) == kind.is_parent
    assert kind.children is None or KINDS[kind.children].is_tried


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_kind_leaves_out_phases_of_its_own_alone(kind: Kind) -> None:
    for spec in (SPEC, SPEC | {"compression": None}, SPEC | {"validation": {"publish": False}}):
        assert set(kind.left_out(spec)) <= set(kind.phases)


def test_what_a_spec_does_not_ask_for_takes_no_time() -> None:
    whole, plain = (phases.expected_s("train", spec, {"pruning": 7.0}) for spec in (SPEC, SPEC | {"compression": None}))

    assert whole["pruning"] == 7.0
    assert whole.keys() - plain.keys() == {"pruning", "quantizing"}


def test_a_task_may_have_phases_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Control(type(rooms.TASKS[0])):  # type: ignore[misc]  # any room will do
        targets: ClassVar = {"control": "number"}
        phases: ClassVar = {"train": ("acting", "training", "publishing")}

    monkeypatch.setattr(rooms, "TASKS", (*rooms.TASKS, Control()))

    assert list(phases.expected_s("train", SPEC | {"task": "control"}, {"acting": 3.0})) == [
        "acting",
        "training",
        "publishing",
    ]
    assert "exporting" in phases.expected_s("train", SPEC, {})


def test_a_family_that_publishes_nothing_has_no_such_phase() -> None:
    folds = SPEC | {"validation": {"kind": "k_fold", "publish": False}}

    assert list(phases.expected_s("k_fold", folds, {})) == ["folds"]


def test_the_index_of_lists_leaves_out_the_kinds_that_are_not_listed() -> None:
    unlisted = [kind.name for kind in KINDS.values() if not kind.is_listed]

    (name,) = unlisted
    assert str(tables.IS_PREVIEW) == f"job.kind = '{name}'"
    assert f"job.kind != '{name}'" in str(tables.IS_LISTED)


@pytest.mark.parametrize(
    ("names", "attribute"),
    [
        (kinds.PARENTS, "is_parent"),
        (kinds.TRIED, "is_tried"),
        (kinds.TAKES_UP_A_VERSION, "takes_up_a_version"),
    ],
)
def test_the_names_in_queries_are_the_tables(names: tuple[str, ...], attribute: str) -> None:
    assert {name: getattr(kind, attribute) for name, kind in KINDS.items()} == {name: name in names for name in KINDS}


def test_a_kinds_name_fits_its_column() -> None:
    length: Any = tables.job.c.kind.type

    assert max(map(len, KINDS)) <= length.length
