"""Contract of texts: a class, labels or a number of each."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from models_store.datasets.example import Example, Inspected
from models_store.datasets.manifest import ManifestEntry
from models_store.settings import Settings
from models_store.tasks.task import Contract
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.limits import MOST_BYTES
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec

if TYPE_CHECKING:
    from models_store.tasks.text.codec import TextCodec

SAMPLES = Path(__file__).with_name("samples.json")
SUFFIXES = {".txt"}
TOKENIZER = "tokenizer.json"
"""name of the file of a version that holds its tokenizer"""


class TextContract(Contract):
    """Texts on the shared ground."""

    Spec = TextSpec
    ResolvedSpec = ResolvedTextSpec
    Facts = TextFacts
    gives_way = True
    excerpt_characters = 200
    length = "characters"
    stored_types: Mapping[str, str] = {"txt": "text/plain; charset=utf-8"}

    @property
    def samples(self) -> Mapping[str, Any]:
        """Return those of the file beside this one."""
        found: dict[str, Any] = json.loads(SAMPLES.read_text())
        return found

    def is_example(self, path: PurePosixPath, head: bytes) -> bool:  # noqa: ARG002  any bytes may be a text's
        """Return whether the name is one of a text."""
        return path.suffix.lower() in SUFFIXES

    def most_bytes(self, settings: Settings) -> int:  # noqa: ARG002  no setting changes it
        """Return the size that no text has."""
        return MOST_BYTES

    def inspect(self, data: bytes, *, settings: Settings, budget: None) -> Inspected | str:  # noqa: ARG002  texts need neither
        """Return how long the text is, and in what script."""
        from models_store.tasks.text.intake import inspect  # noqa: PLC0415  numpy is slow to import

        return inspect(data)

    def card_facts(self, examples: Iterable[Example], entries: Sequence[ManifestEntry]) -> dict[str, Any]:
        """Return `characters_95`, `words_95` and `han_share`."""
        kept = [*examples]
        letters = sum(example.passing["letters"] for example in kept)
        train = [entry.facts for entry in entries if entry.split == "train"]
        return {
            "characters_95": _quantile_95([facts["characters"] for facts in train]),
            "words_95": _quantile_95([facts["words"] for facts in train]),
            "han_share": round(sum(example.passing["han"] for example in kept) / max(1, letters), 4),
        }

    def facts(self, card: Mapping[str, Any]) -> TextFacts:
        """Return the facts of any dataset, and those of its texts."""
        found = super().facts(card)
        assert isinstance(found, TextFacts), "the class is named above"
        names = ("characters_95", "words_95", "han_share")
        return replace(found, **{name: card[name] for name in names})

    example, examples = "text", "texts"
    json_example = str
    json_meaning = "texts as strings"
    json_sample = "The room was clean, and breakfast was good."
    media_types = ("text/plain",)
    formats = "plain text in UTF-8"
    notes: Mapping[str, Mapping[str, Any]] = {
        "truncated": {"type": "boolean", "description": "whether the model did not see all of it"},
        "unknown_share": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "share of its tokens that no training text had; left out by models without a vocabulary",
        },
        "empty": {"type": "boolean", "description": "whether it has no token, so that the answer is the usual one"},
    }

    def codec(self, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> "TextCodec":  # noqa: ARG002  no setting changes it
        """Return the codec of the card's `input`."""
        from models_store.tasks.text.codec import TextCodec  # noqa: PLC0415  numpy is slow to import

        return TextCodec.of(card["input"])


def _quantile_95(values: Sequence[int]) -> int:
    if len(values) < 2:  # noqa: PLR2004  quantiles need two
        return max(values, default=1)
    return int(statistics.quantiles(values, n=20, method="inclusive")[-1])


TEXT = TextContract()
