"""List of all tasks, without torch: a new one is a room beside this file, and a name in `TASKS`."""

from collections.abc import Mapping
from typing import Any

from models_store.errors import Unavailable
from models_store.spec.part import Part
from models_store.spec.train import ResolvedSpec
from models_store.spec.upgrade import upgraded
from models_store.targets import NAMED, Target
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.task import Contract
from models_store.tasks.text.contract import TEXT
from models_store.wording import any_of

TASKS: tuple[Contract, ...] = (IMAGE, TEXT)


class UnknownTask(Unavailable):
    """What is stored is of a task that this installation doesn't have: another release has written it."""

    code = "unknown_task"
    title = "The task is not known here"


def contract_of(task: str) -> Contract:
    """Return the contract of a spec's `task`.

    Raises:
        UnknownTask: if there is no such task.
    """
    for contract in TASKS:
        if task in contract.targets:
            return contract
    known = ", ".join(name for contract in TASKS for name in contract.targets)
    raise UnknownTask(f"the task {task!r} is not known here; this installation knows {known}")


def target_of(task: str) -> Target:
    """Return the target of a spec's `task`.

    Raises:
        UnknownTask: if there is no such task.
    """
    return NAMED[contract_of(task).targets[task]]


def task_of(card: Mapping[str, Any]) -> str:
    """Return the task of a model's card, or of a spec; the first releases had one task, and their cards name none."""
    return str(card.get("task", next(iter(IMAGE.targets))))


def kind_of(card: Mapping[str, Any]) -> str:
    """Return the word for the examples of a dataset's card, which may be of a task that is not known here."""
    return str(card.get("examples", IMAGE.examples))


def of_dataset(card: Mapping[str, Any]) -> Contract:
    """Return the contract of a dataset's card; the first releases had images alone, and their cards don't say so.

    Raises:
        UnknownTask: if no task has such examples.
    """
    kind = kind_of(card)
    for contract in TASKS:
        if contract.examples == kind:
            return contract
    known = ", ".join(contract.examples for contract in TASKS)
    raise UnknownTask(f"the dataset holds {kind}, which no task here learns from; this installation knows {known}")


def read_resolved(document: dict[str, Any]) -> ResolvedSpec:
    """Return a job's spec, resolved by any release. No recipe fills in absent values: the job would train differently.

    Raises:
        UnknownTask: if there is no such task.
        pydantic.ValidationError: if the document was never a resolved spec.
    """
    return contract_of(task_of(document)).ResolvedSpec.model_validate(upgraded(document))


def previews() -> tuple[type[Part], ...]:
    """Return the requests for contact sheets, of the tasks that draw any."""
    return tuple(contract.preview for contract in TASKS if contract.preview is not None)


def example() -> str:
    """Return the words for one example of any task: "image or text"."""
    return any_of([*dict.fromkeys(contract.example for contract in TASKS)])


def examples() -> str:
    """Return the words for examples of any task: "images or texts"."""
    return any_of([*dict.fromkeys(contract.examples for contract in TASKS)])
