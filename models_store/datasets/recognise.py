"""Recognition of the task that an archive is of, by what each task could read of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_store.datasets.example import Example
from models_store.datasets.report import Check, DatasetUnusable
from models_store.tasks.task import Contract
from models_store.wording import counted

NOTES_OF_ONE = 10
"""texts that may lie beside one example of another task, as notes about it"""


@dataclass
class Claims:
    """The files of an archive that one task takes for its examples."""

    contract: Contract
    budget: Any
    """what they may take together, as the task counts it"""
    examples: list[Example] = field(default_factory=list)
    undecodable: dict[str, str] = field(default_factory=dict)  # file → why
    known: dict[str, Example | str | None] = field(default_factory=dict)
    """content → what it is, or why it can't be read; None: it is still inspected"""

    @property
    def count(self) -> int:
        """Return how many files are claimed."""
        return len(self.examples) + len(self.undecodable)

    @property
    def files(self) -> Iterator[str]:
        """Return their names."""
        yield from (example.file for example in self.examples)
        yield from self.undecodable


def recognise(claims: Sequence[Claims]) -> Claims:
    """Return the claims of the task that the archive is of: it has read more files, and no fewer than others claim.

    So an archive of images with notes beside them is one of images: texts give way to other examples.

    Raises:
        DatasetUnusable: if no task claims anything, or none has clearly more than the others.
    """
    if len(claims) == 1:
        return claims[0]
    found = [each for each in claims if each.count]
    found = [each for each in found if not (each.contract.gives_way and _is_matched(each, found))]
    if not found:
        raise DatasetUnusable([Check("no_examples", "error", f"there is nothing to learn from; send {_taken(claims)}")])
    for each in found:
        others = [other for other in found if other is not each]
        if all(len(other.examples) < len(each.examples) >= other.count for other in others):
            return each
    raise _mixture([(each.contract, each.count) for each in found])


def refuse_mixture(contract: Contract, rows: int, others: Sequence[Claims]) -> None:
    """Refuse tables of so many rows beside as many files, or more, that are examples of another task.

    Raises:
        DatasetUnusable: if there are as many.
    """
    found = [(each.contract, len(each.examples)) for each in others if len(each.examples) >= max(rows, 1)]
    if found:
        raise _mixture([(contract, rows), *found])


def _mixture(found: Sequence[tuple[Contract, int]]) -> DatasetUnusable:
    there_are = " and ".join(counted(count, contract.example, contract.examples) for contract, count in found)
    sent = ", or ".join(f"{contract.examples} ({contract.formats})" for contract, _ in found)
    message = f"the archive holds {there_are}, and a dataset has examples of one kind; send {sent}"
    return DatasetUnusable([Check("several_kinds", "error", message)])


def _is_matched(claims: Claims, found: Sequence[Claims]) -> bool:
    """Return whether another task, which gives way to none, has read one file for ten of these, or more."""
    others = (len(each.examples) for each in found if not each.contract.gives_way)
    return NOTES_OF_ONE * max(others, default=-1) >= len(claims.examples)


def _taken(claims: Sequence[Claims]) -> str:
    return ", or ".join(f"{each.contract.examples} ({each.contract.formats})" for each in claims)
