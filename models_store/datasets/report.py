"""Report of a dataset: its checks with the files that they found, for people and for a problem document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from models_store.errors import FieldError, Invalid

MOST_NAMES = 200  # in a report, for each check
MOST_ERRORS = 1000  # in a problem document
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Check:
    """One kind of finding: how bad, how many, and the names of files, of classes, or of groups of files."""

    check: str
    severity: Severity
    message: str
    files: Sequence[str | list[str]] = ()
    reasons: dict[str, str] = field(default_factory=dict)  # file → what is wrong with this one
    total: int | None = None
    """how many there are, where `files` holds the first of them alone"""

    @property
    def count(self) -> int:
        """Return how many names, or groups of names, were found."""
        return len(self.files) if self.total is None else self.total

    def as_json(self) -> dict[str, Any]:
        """Return the member of a report's `checks`; at most 200 names are listed, `count` counts all of them."""
        names = list(self.files[:MOST_NAMES])
        document = {
            "check": self.check,
            "severity": self.severity,
            "count": self.count,
            "message": self.message,
            "files": names,
        }
        if self.reasons:
            document["reasons"] = {name: self.reasons[name] for name in names if isinstance(name, str)}
        return document

    def as_errors(self) -> list[FieldError]:
        """Return one error for each file, or group of files, that was found."""
        names = [name if isinstance(name, str) else " = ".join(name) for name in self.files]
        return [FieldError(name, self.check, self.reasons.get(name, self.message)) for name in names or [""]]


class DatasetUnusable(Invalid):
    """The archive is sound, and what it holds can't be trained on; `errors` names each file, `report` all checks."""

    code = "dataset_unusable"
    title = "The dataset can't be used"

    def __init__(self, checks: Sequence[Check]) -> None:
        broken = [check for check in checks if check.severity == "error"]
        errors = [error for check in broken for error in check.as_errors()]
        super().__init__("; ".join(check.message for check in broken), errors=errors[:MOST_ERRORS])
        self.report = report(checks)

    def as_problem(self) -> dict[str, Any]:
        """Return the problem document, with the whole report beside the errors."""
        return super().as_problem() | {"report": self.report}


def report(checks: Iterable[Check]) -> dict[str, Any]:
    """Return the machine-readable report, the worst first."""
    order = {"error": 0, "warning": 1, "info": 2}
    return {"checks": [check.as_json() for check in sorted(checks, key=lambda check: order[check.severity])]}
