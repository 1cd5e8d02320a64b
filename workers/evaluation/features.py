"""Features that weigh most in a net that adds up weights of parts of an example, such as the n-grams of a text."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Feature:
    """A part that examples may have, and what it adds to the logit of a class or label, or to the number."""

    label: str | None
    """the class or label; None: the number"""
    feature: str
    weight: float
    count: int
    """training examples that have it"""

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)
