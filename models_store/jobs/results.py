"""Results of jobs, as their rows store them: one class for each kind of result.

Missing keys of rows that earlier releases wrote are read as None; keys that are not known here are passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, Self

Document = dict[str, Any]
Metrics = Mapping[str, Mapping[str, float | None]]
"""split → figure → value"""


class Result(Protocol):
    """What a job has found."""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the result that a row stores."""
        ...

    def as_document(self) -> Document:
        """Return the result as a row stores it."""
        ...

    def for_parent(self) -> Document:
        """Return what the job's end tells its parent, when it is a part of another job."""
        ...


class _Stored:
    """Reading and writing of a dataclass whose fields are the keys of its document, every one of them."""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(**_known(cls, document))

    def as_document(self) -> Document:
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # every subclass is a dataclass

    def for_parent(self) -> Document:
        return {}


@dataclass(frozen=True)
class Nothing(_Stored):
    """Result of a job that makes files alone."""


@dataclass(frozen=True)
class Published(_Stored):
    """Version that a job has made."""

    model: str | None = None
    version: int | None = None

    def for_parent(self) -> Document:
        """Return the version."""
        return self.as_document()


@dataclass(frozen=True)
class Change(_Stored):
    """Figures of a variant on a provider: what they were, when it had been measured there, and what they are."""

    variant: str
    provider: str
    before: Document | None
    after: Document


@dataclass(frozen=True)
class DefaultsChange(_Stored):
    """Provider → the variant that answers there when none is named."""

    before: Mapping[str, str]
    after: Mapping[str, str]


@dataclass(frozen=True)
class Remeasured(_Stored):
    """Version whose files were measured again, and what that has changed."""

    model: str
    version: int
    measured: Sequence[Change]
    defaults: DefaultsChange

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the result that a row stores."""
        return cls(
            document["model"],
            document["version"],
            [Change.of_document(each) for each in document["measured"]],
            DefaultsChange.of_document(document["defaults"]),
        )


@dataclass(frozen=True)
class Predicted(_Stored):
    """Predictions for the examples of a dataset or an archive, and the file that has answered."""

    model: str
    version: int
    variant: str
    provider: str
    format: str
    size_bytes: int
    """of the table"""
    rows: int
    failed: int
    """rows whose example can't be decoded"""
    compared: int
    """rows with an answer, and a truth that the model can give"""
    metrics: Metrics
    """of the compared rows"""


@dataclass(frozen=True)
class Tried:
    """Figures of a child that trained and published nothing; of one that was stopped early, `value` and `epochs`."""

    value: float | None = None
    """the watched figure, at its best epoch"""
    metrics: Metrics | None = None
    best_epoch: int | None = None
    epochs: int | None = None
    precision: str | None = None
    batch_size: int | None = None
    pruned: bool = False
    """whether it was stopped early"""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the result that a row stores."""
        return cls(**_known(cls, document))

    def as_document(self) -> Document:
        """Return the result as a row stores it: what is not known is left out."""
        found = {name: value for name, value in asdict(self).items() if value is not None and value is not False}
        return {"value": self.value} | found

    def for_parent(self) -> Document:
        """Return the watched figure, and whether the child was stopped early."""
        return {name: value for name, value in self.as_document().items() if name in {"value", "pruned"}}


@dataclass(frozen=True)
class Child:
    """Child in its parent's result."""

    number: int
    job: str
    state: str
    value: float | None
    pruned: bool = False

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the child that a parent's row stores."""
        return cls(**_known(cls, document))

    def as_document(self) -> Document:
        """Return the child as its parent's row stores it: `pruned` only of one that was stopped early."""
        return {name: value for name, value in asdict(self).items() if name != "pruned" or value}


@dataclass(frozen=True)
class Run(Child):
    """Fold or repeat in its parent's result, with its figures."""

    metrics: Metrics | None = None


@dataclass(frozen=True)
class Best(_Stored):
    """Trial that a search has chosen."""

    number: int
    job: str
    parameters: Mapping[str, Any] | None
    value: float | None


@dataclass(frozen=True)
class Searched:
    """Findings of a search: its winner, and the winner's gain over the spec as it stood."""

    monitor: str
    winner: str
    best: Best
    trials: Sequence[Child]
    gain: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    model: str | None = None
    version: int | None = None

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the result that a row stores."""
        return cls(
            **_known(cls, document)
            | {
                "best": Best.of_document(document["best"]),
                "trials": [Child.of_document(each) for each in document["trials"]],
            }
        )

    def as_document(self) -> Document:
        """Return the result as a row stores it."""
        trials = [child.as_document() for child in self.trials]
        return asdict(self) | {"trials": trials, "notes": list(self.notes)}

    def for_parent(self) -> Document:
        """Return nothing: a search is no part of another job."""
        return {}


@dataclass(frozen=True)
class Repeated:
    """Findings of a cross-validation or of repeats: each run, and how far the figures are apart."""

    monitor: str
    runs: Sequence[Run]
    summary: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """split → figure → its spread over the runs"""
    notes: Sequence[str] = ()
    model: str | None = None
    version: int | None = None

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the result that a row stores."""
        return cls(**_known(cls, document) | {"runs": [Run.of_document(each) for each in document["runs"]]})

    def as_document(self) -> Document:
        """Return the result as a row stores it."""
        return asdict(self) | {"runs": [run.as_document() for run in self.runs], "notes": list(self.notes)}

    def for_parent(self) -> Document:
        """Return nothing: it is no part of another job."""
        return {}


@dataclass(frozen=True)
class Finished:
    """What a trainer hands over of a job that publishes nothing: its result, and its files as name → blob."""

    result: Document
    files: dict[str, str] | None = None

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Finished":
        """Return what a trainer has handed over as JSON."""
        return cls(document["result"], document["files"])

    def as_document(self) -> Document:
        """Return the same as JSON."""
        return asdict(self)


def _known(cls: Any, document: Mapping[str, Any]) -> Document:  # noqa: ANN401  a dataclass
    return {each.name: document[each.name] for each in fields(cls) if each.name in document}
