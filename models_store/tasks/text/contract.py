"""Contract of texts: a class, labels or a number of each."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from models_store.datasets.example import Example, Inspected
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import Check
from models_store.datasets.table_lines import Encoding
from models_store.settings import Settings
from models_store.spec import train
from models_store.spec.facts import DatasetFacts
from models_store.tasks.task import Contract, Demo, Passed, PreviewForm
from models_store.tasks.text.auxiliary import PARAPHRASES, SYNONYMS
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.last_lines import without_last_end
from models_store.tasks.text.limits import MOST_BYTES
from models_store.tasks.text.preview import TextPreview
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec

if TYPE_CHECKING:
    from models_store.tasks.text.codec import TextCodec

SAMPLES = Path(__file__).with_name("samples.json")
SUFFIXES = {".txt"}
FINDINGS = ("control_characters", "overlong_texts")
"""checks whose findings are texts"""
TOKENIZER = "tokenizer.json"
"""name of the file of a version that holds its tokenizer"""


class TextContract(Contract):
    """Texts on the shared ground."""

    Spec = TextSpec
    ResolvedSpec = ResolvedTextSpec
    Facts = TextFacts
    gives_way = True
    demo = Demo("sms_spam.zip")
    excerpt_characters = 200
    length = "characters"
    column = "text"
    column_aliases = (
        "texts",
        "review",
        "reviews",
        "content",
        "sentence",
        "comment",
        "message",
        "document",
        "body",
        "query",
        "question",
        "title",
        "tweet",
    )
    fact_columns = ("language", "paraphrase", "id")
    auxiliary = (SYNONYMS, PARAPHRASES)
    copies_are = "but for case, width and punctuation"
    findings = FINDINGS
    stored_types: Mapping[str, str] = {"txt": "text/plain; charset=utf-8"}

    @property
    def samples(self) -> Mapping[str, Any]:
        """Return those of the file beside this one."""
        found: dict[str, Any] = json.loads(SAMPLES.read_text())
        return found

    def describe_weights(self, header: Mapping[str, Mapping[str, Any]], read: Callable[[str], bytes]) -> dict[str, Any]:
        """Return what a pretrained encoder is.

        Raises:
            EncoderInvalid: if its archive lacks something, or contradicts itself.
        """
        from models_store.tasks.text import encoders  # noqa: PLC0415  numpy is slow to import

        return encoders.describe(header, read)

    def is_example(self, path: PurePosixPath, head: bytes) -> bool:  # noqa: ARG002  any bytes may be a text's
        """Return whether the name is one of a text."""
        return path.suffix.lower() in SUFFIXES

    def most_bytes(self, settings: Settings) -> int:  # noqa: ARG002  no setting changes it
        """Return the size that no text has."""
        return MOST_BYTES

    def stored(self, data: bytes, encoding: Encoding) -> bytes:
        """Return the text in UTF-8, without the end of its last line."""
        from models_store.tasks.text.intake import stored  # noqa: PLC0415  numpy is slow to import

        return stored(data, encoding)

    def received(self, data: bytes) -> bytes:
        """Return the text without the end of its last line."""
        return without_last_end(data)

    def inspect(self, data: bytes, *, settings: Settings, budget: None) -> Inspected | str:  # noqa: ARG002  texts need neither
        """Return how long the text is, in what script, and what it shares with its copies."""
        from models_store.tasks.text.intake import inspect  # noqa: PLC0415  the same

        return inspect(data)

    def check_auxiliary(self, files: Mapping[str, Path], entries: Sequence[ManifestEntry]) -> list[Check]:
        """Look at synonyms and paraphrases."""
        from models_store.tasks.text import checks  # noqa: PLC0415  the same

        return checks.check_auxiliary(files, entries)

    def check_entries(self, entries: Sequence[ManifestEntry]) -> list[Check]:
        """Look at the characters, lengths and scripts of texts."""
        from models_store.tasks.text import checks  # noqa: PLC0415  the same

        return checks.check_entries(entries)

    def passed(self, entries: Sequence[ManifestEntry], found: Collection[str]) -> Passed:
        """Yield what is in order with them."""
        from models_store.tasks.text import checks  # noqa: PLC0415  the same

        yield from checks.passed(entries, found)

    def card_facts(self, examples: Iterable[Example], entries: Sequence[ManifestEntry]) -> dict[str, Any]:  # noqa: ARG002  entries have all facts
        """Return `characters_95`, `words_95`, `han_share` and `scripts`."""
        from models_store.tasks.text import checks  # noqa: PLC0415  the same

        return checks.card_facts(entries)

    def facts(self, card: Mapping[str, Any]) -> TextFacts:
        """Return the facts of any dataset, and those of its texts."""
        found = super().facts(card)
        assert isinstance(found, TextFacts), "the class is named above"
        names = ("characters_95", "words_95", "han_share")
        auxiliary = card.get("auxiliary", {})
        return replace(
            found,
            **{name: card[name] for name in names},
            has_synonyms=SYNONYMS in auxiliary,
            has_paraphrases=PARAPHRASES in auxiliary or card.get("paraphrased", False),
        )

    preview = TextPreview
    preview_forms: Mapping[str, PreviewForm] = {
        "json": PreviewForm("preview", "application/json"),
        "html": PreviewForm("preview_page", "text/html; charset=utf-8"),
    }

    def preview_spec(self, wanted: TextPreview, *, dataset_id: str, facts: DatasetFacts) -> train.ResolvedSpec:
        """Return a spec with these augmentations."""
        given = {"name": "preview", "dataset": dataset_id, "seed": wanted.seed, "compression": None}
        return self.resolve(TextSpec.model_validate(given | {"augmentation": wanted.augmentation}), facts)[0]

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
            "description": "share of its tokens that are not in the vocabulary; 0 for tokenizers without one",
        },
        "empty": {"type": "boolean", "description": "whether it has no token, or nothing of it can be seen"},
    }

    def codec(self, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> "TextCodec":  # noqa: ARG002  no setting changes it
        """Return the codec of the card's `input`, with the tokenizer of the model's file.

        Raises:
            TokenizerUnavailable: if its package is not installed, or another version.
        """
        from models_store.tasks.text.codec import TextCodec  # noqa: PLC0415  numpy is slow to import
        from models_store.tasks.text.tokenizers import read  # noqa: PLC0415  the same

        return TextCodec.of(card["input"], read(json.loads(files[TOKENIZER].read_bytes())))


TEXT = TextContract()
