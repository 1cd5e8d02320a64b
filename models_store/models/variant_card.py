"""Card of a variant: how its file was made, and its figures by provider, as its row stores them.

Cards of earlier releases lack keys; those of later ones may have more. What no code reads stays in `facts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from models_store.models.providers import Provider

Figures = dict[str, Any]
"""of a file on a provider, with `accepted` and `reasons`; or why it can't be measured there, as `unmeasurable`"""


@dataclass(frozen=True)
class VariantCard:
    """How a file was made, and what was measured of it."""

    kind: str | None = None
    """name of the variant"""
    parent: str | None = None
    """the variant that it was made from; None: the trained net"""
    made_by: dict[str, Any] | None = None
    """part of the spec that it was made by"""
    size_bytes: int | None = None
    compressed_bytes: int | None = None
    size_only: bool = False
    """whether it was made for size, not for speed"""
    batch_dependent: bool = False
    """whether an answer depends on the others of its batch"""
    stopped: str | None = None
    """why its accuracy gate failed while it was made"""
    standalone: bool = False
    """whether it is a file for use elsewhere: it is not measured and never served"""
    measured: Mapping[Provider, Figures] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """of its making"""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "VariantCard":
        """Return the card that a variant's row stores."""
        named = {each.name for each in fields(cls)} - {"facts"}
        known = {name: value for name, value in document.items() if name in named}
        return cls(**known, facts={name: value for name, value in document.items() if name not in named})

    def as_document(self) -> dict[str, Any]:
        """Return the card as a variant's row stores it; a standalone file has no figures by provider."""
        document = {
            "kind": self.kind,
            "parent": self.parent,
            "made_by": self.made_by,
            "size_bytes": self.size_bytes,
            "compressed_bytes": self.compressed_bytes,
            "size_only": self.size_only,
            "batch_dependent": self.batch_dependent,
            **({} if self.stopped is None else {"stopped": self.stopped}),
            **({"standalone": True} if self.standalone else {}),
            **self.facts,
        }
        return document if self.standalone else document | {"measured": dict(self.measured)}

    @property
    def is_accepted(self) -> bool:
        """Return whether it passed its gate on some provider."""
        return any(figures.get("accepted", False) for figures in self.measured.values())

    def runs_on(self, provider: Provider) -> bool:
        """Return whether it was measured on the provider, and answered there."""
        return bool(self.measured.get(provider)) and self.unmeasurable_on(provider) is None

    def unmeasurable_on(self, provider: Provider) -> str | None:
        """Return why it can't be measured on the provider; None: it can, or nobody has tried."""
        return self.measured.get(provider, {}).get("unmeasurable")
