"""Variants of one version on their way from net to file, with the facts of their making for their cards.

All of it is values: a stage takes `Variants` and returns others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from models_store.models.providers import Provider
from models_store.models.variant_card import VariantCard
from models_store.spec.quantization import VARIANTS
from workers.compression.facts import PruningFacts, Quantized, Sparsity, VocabularyCut
from workers.compression.gate import BASELINE, Drop
from workers.evaluation.calibration import Temperature
from workers.export.sizes import compressed_bytes
from workers.export.verify import Agreement
from workers.training.learner import Learner

Document = dict[str, Any]


@dataclass(frozen=True)
class SpeedSearch:
    """Search for a cut that makes the net as fast as was asked for."""

    target_speedup: float
    speedup: float
    probes: list[dict[str, float]]
    """share of the channels that were removed, and the speedup that was measured, of each try"""

    def as_card(self) -> Document:
        """Return what a variant's card says."""
        return asdict(self)


@dataclass(frozen=True)
class ChannelPruning:
    """Removal of whole channels, in rounds."""

    effect: PruningFacts
    steps: int
    ratio: float
    """share of the channels of all bundles that were removed"""
    search: SpeedSearch | None = None

    @property
    def size_only(self) -> bool:
        """Return False: a net of fewer channels is faster."""
        return False

    def as_card(self) -> Document:
        """Return what a variant's card says."""
        searched = {} if self.search is None else self.search.as_card()
        return self.effect.as_card() | {"steps": self.steps, "ratio": self.ratio} | searched

    def inherited(self) -> "ChannelPruning":
        """Return what is as true of a variant made of the pruned one: its speed was measured on another file."""
        return replace(self, search=None)


@dataclass(frozen=True)
class Recovery:
    """Training after a cut: how the net validated before it and after it."""

    epochs: int
    val_accuracy_before: float
    val_accuracy_after: float

    def as_card(self) -> Document:
        """Return what a variant's card says."""
        return asdict(self)


@dataclass(frozen=True)
class ControlComparison:
    """Validation accuracy of the pruned net and of its control, the same net trained for as long and not cut."""

    control: float
    pruned: float
    drop: Drop

    def as_card(self) -> Document:
        """Return what the cards of both variants say."""
        return {
            "val_accuracy": {"control": self.control, "pruned": self.pruned},
            "drop": self.drop.value,
            "drop_interval": [self.drop.low, self.drop.high],
        }


@dataclass(frozen=True)
class Variant:
    """A variant: its file, and the net or the variant it was made from."""

    path: Path
    parent: str | None
    net: Learner | None = None
    made_by: Document | None = None
    """the part of the spec that it is made by, as JSON; None for fp32"""
    stopped: str | None = None
    """why its accuracy gate failed on the way: it is measured and published, and nothing more is made of it"""
    temperature: Temperature | None = None
    """what the net's logits are divided by in its file; None: by nothing"""
    pruning: ChannelPruning | Sparsity | VocabularyCut | None = None
    recovery: Recovery | None = None
    control: ControlComparison | None = None
    quantization: Quantized | None = None
    parity: Agreement | None = None
    """how far its file agrees with the net"""
    standalone: Mapping[str, Any] | None = None
    """of a file for use elsewhere: what its task says of it; nothing judges it, and nobody serves it"""

    @classmethod
    def of_card(cls, path: Path, card: VariantCard) -> "Variant":
        """Return a published variant's file, as far as it is to be measured and judged again."""
        return cls(path, card.parent, made_by=card.made_by, stopped=card.stopped)

    @property
    def divisor(self) -> float:
        """Return the temperature, 1 where there is none."""
        return self.temperature.value if self.temperature else 1.0

    @property
    def kind(self) -> str | None:
        """Return the kind of the part that it is made by."""
        return None if self.made_by is None else self.made_by.get("kind")

    @property
    def batch_dependent(self) -> bool:
        """Return whether an example's answer depends on the others of its batch: the ranges of both are one."""
        return self.kind == "dynamic_int8"

    @property
    def has_fewer_bits(self) -> bool:
        """Return whether its numbers have fewer bits than its net's, so that its answers may differ."""
        return self.kind in VARIANTS

    @property
    def size_only(self) -> bool:
        """Return whether it is smaller and no faster."""
        made = self.quantization or self.pruning
        return made is not None and made.size_only

    def card(self, name: str, *, measured: Mapping[Provider, Document] | None = None) -> VariantCard:
        """Return what the variant's row says of its file, with what was measured on it."""
        parts = {
            "temperature": self.temperature,
            "pruning": self.pruning,
            "recovery": self.recovery,
            "control": self.control,
            "parity": self.parity,
        }
        facts = {name: part.as_card() for name, part in parts.items() if part is not None}
        return VariantCard(
            kind=name,
            parent=self.parent,
            made_by=self.made_by,
            size_bytes=self.path.stat().st_size,
            compressed_bytes=compressed_bytes(self.path),
            size_only=self.size_only,
            batch_dependent=self.batch_dependent,
            stopped=self.stopped,
            standalone=self.standalone is not None,
            measured=measured or {},
            facts={
                **({} if self.quantization is None else self.quantization.as_card()),
                **facts,
                **(self.standalone or {}),
            },
        )


@dataclass(frozen=True)
class Variants:
    """The variants of a version that are made, and why others are not, by name."""

    made: Mapping[str, Variant]
    """those to be served, fp32 first"""
    standalone: Mapping[str, Variant] = field(default_factory=dict)
    """those for use elsewhere"""
    not_made: Mapping[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> Variant:
        """Return fp32, which all others are compared with."""
        return self.made[BASELINE]

    def with_made(self, made: Mapping[str, Variant]) -> "Variants":
        """Return these with others, or with others of the same names."""
        return replace(self, made={**self.made, **made})

    def with_standalone(self, name: str, variant: Variant) -> "Variants":
        """Return these with a variant for use elsewhere."""
        return replace(self, standalone={**self.standalone, name: variant})

    def without(self, reasons: Mapping[str, str]) -> "Variants":
        """Return these without those named, and with the reasons why they are not made."""
        made = {name: variant for name, variant in self.made.items() if name not in reasons}
        return replace(self, made=made, not_made={**self.not_made, **reasons})

    def ancestors(self, name: str) -> Iterator[str]:
        """Yield the names of what a variant was made from, the nearest first."""
        parent = self.made[name].parent
        while parent is not None:
            yield parent
            parent = self.made[parent].parent if parent in self.made else None
