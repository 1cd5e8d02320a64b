"""Protocols of a task: what its room supplies on the shared ground. `rooms` lists the tasks; no room is imported here."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from models_store.datasets.example import Example, Inspected
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import Check
from models_store.datasets.table_lines import Encoding
from models_store.settings import Settings
from models_store.spec import train
from models_store.spec.facts import DatasetFacts
from models_store.spec.part import Part
from models_store.spec.recipe import filled
from models_store.spec.rules import warnings_about
from models_store.targets import Name
from models_store.tasks.codec import Codec

Passed = Iterator[tuple[str, int, str]]
"""checks that found nothing: name, how many things were looked at, and a sentence"""


@dataclass(frozen=True)
class Demo:
    """A small set that ships with the project, in `samples/`, and what a demo asks beside the defaults."""

    file: str
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PreviewForm:
    """A file of a preview: its name among the job's files, and its media type."""

    file: str
    media_type: str


class Contract(Protocol):
    """A task on the shared ground. A room subclasses it; methods with a body suit most tasks."""

    # ---- the spec

    Spec: type[train.TrainSpec]
    """what may be asked; its `recipe` decides the rest"""
    ResolvedSpec: type[train.ResolvedSpec]
    Facts: type[DatasetFacts] = DatasetFacts
    """what the recipe looks at"""

    @property
    def targets(self) -> Mapping[str, Name]:
        """Return a spec's `task` → what it learns, in the order in which the spec lists them."""
        return self.Spec.targets

    @property
    def samples(self) -> Mapping[str, Any]:
        """Return what the API's description shows: `requests` to train; of the first task, its name and a resolved spec."""
        return {"requests": {}}

    def resolve(self, spec: train.TrainSpec, facts: DatasetFacts) -> tuple[train.ResolvedSpec, list[str]]:
        """Return the spec with every default filled in, and warnings about values that are allowed but probably not meant.

        Raises:
            pydantic.ValidationError: if the spec does not fit the dataset, or contradicts the recipe's choices.
        """
        document = filled(self.Spec, spec.model_dump(), facts)
        resolved = self.ResolvedSpec.model_validate(document, context=facts)
        return resolved, warnings_about(resolved, facts)

    demo: Demo | None = None
    """the set of `espalier demo`; none: the task has no demo"""

    # ---- files of weights

    def describe_weights(self, header: Mapping[str, Mapping[str, Any]], read: Callable[[str], bytes]) -> dict[str, Any]:  # noqa: ARG002  most tasks have tensors alone
        """Return what the card of a file of weights says of it beside its tensors.

        `header` has the dtype and the shape of each tensor; files of an archive are tensors of bytes, which `read` gives.

        Raises:
            Invalid: if it is meant for this task, and can't be used.
        """
        return {}

    # ---- jobs

    phases: Mapping[str, tuple[str, ...]] = {}
    """kind of job → its phases, where they are not those of `jobs.kinds`"""

    # ---- datasets

    length: str | None = None
    """fact of an example that says how long it is, such as `characters`; none: it is not looked at"""
    column: str | None = None
    """the column of a table whose cells are examples, one in each row; none: the task's examples are files"""
    column_aliases: tuple[str, ...] = ()
    """what others call that column: a refusal names it, nothing is guessed"""
    fact_columns: tuple[str, ...] = ()
    """columns of such a table that are kept among an example's facts"""
    copies_are: str = "byte for byte"
    """how copies of one example are the same, in messages; see `Inspected.alike`"""
    auxiliary: tuple[str, ...] = ()
    """names of files in an archive that training may use beside the examples"""
    findings: tuple[str, ...] = ()
    """checks of the task whose findings are examples of the dataset"""
    stored_types: Mapping[str, str] = {}
    """ending of a stored example's name, without a dot → its media type"""
    thumbnail_side: int | None = None
    """longest side of an example's thumbnail, in pixels; none: an example can't be shown as a picture"""
    excerpt_characters: int | None = None
    """most characters of an example's beginning that are shown; none: an example can't be read as text"""

    gives_way: bool = False
    """whether an archive that holds one example of another task for ten of these is of that one: notes lie beside images"""

    def is_example(self, path: PurePosixPath, head: bytes) -> bool:
        """Return whether a file of an archive is meant as an example, by its name or its first bytes (512 or so)."""
        ...

    def most_bytes(self, settings: Settings) -> int:
        """Return how large the file of one example may be."""
        ...

    def stored(self, data: bytes, encoding: Encoding) -> bytes:  # noqa: ARG002  most files have no encoding
        """Return the bytes that are kept of an example's file, which its owner says to be in this encoding.

        Raises:
            TableRefused: if they are in another one.
        """
        return data

    def received(self, data: bytes) -> bytes:
        """Return the bytes of an example's file that a client sends, as the codec takes those of a stored one."""
        return data

    def budget(self, archive_bytes: int) -> Any:  # noqa: ANN401, ARG002  the room's own; most tasks have none
        """Return what all examples of an archive may take together, to be spent by `inspect`."""
        return None

    def inspect(self, data: bytes, *, settings: Settings, budget: Any) -> Inspected | str:  # noqa: ANN401  the room's own
        """Return what the file of an example is, after reading all of it; or why it can't be read. Any thread calls it.

        Raises:
            CompressionTooHigh: if what is left of the `budget` does not suffice.
        """
        ...

    def check_files(self, examples: Sequence[Example]) -> list[Check]:  # noqa: ARG002  most tasks have none
        """Look at the files of an upload, with the facts that are known of them at this moment alone."""
        return []

    def check_auxiliary(self, files: Mapping[str, Path], entries: Sequence[ManifestEntry]) -> list[Check]:  # noqa: ARG002  most tasks have none
        """Look at the auxiliary files of an upload, by name."""
        return []

    def check_entries(self, entries: Sequence[ManifestEntry]) -> list[Check]:  # noqa: ARG002  most tasks have none
        """Look at the examples of a dataset, with the facts in its manifest."""
        return []

    def passed(self, entries: Sequence[ManifestEntry], found: Collection[str]) -> Passed:  # noqa: ARG002  the same
        """Yield the task's own checks that found nothing; `found` are the names of those that did."""
        yield from ()

    def card_facts(self, examples: Iterable[Example], entries: Sequence[ManifestEntry]) -> dict[str, Any]:  # noqa: ARG002  the same
        """Return what a dataset's card tells of its examples as a whole."""
        return {}

    def facts(self, card: Mapping[str, Any]) -> DatasetFacts:
        """Return what a spec is resolved against, from a dataset's card."""
        counts = card["counts"]["train"]
        return self.Facts(
            train_count=card.get("train_count", sum(counts.values())),
            counts=counts,
            target=card.get("target", "class"),
            grouped=card.get("grouped", False),
            validation_count=card.get("splits", {}).get("val"),
        )

    def known(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task's own facts of a dataset, by name, from its card."""
        general = {each.name for each in fields(DatasetFacts)}
        own = [each.name for each in fields(self.Facts) if each.name not in general]
        return {name: card[name] for name in own if name in card}

    def excerpt(self, data: bytes) -> str:
        """Return the beginning of an example as text, where `excerpt_characters` is given."""
        return data.decode("utf-8", errors="replace")[: self.excerpt_characters]

    def thumbnail(self, data: bytes, *, facts: Mapping[str, Any], card: Mapping[str, Any], settings: Settings) -> bytes:  # noqa: ARG002  see subclasses
        """Return a small JPEG of an example, where `thumbnail_side` is given; `card` is its dataset's."""
        raise AssertionError(f"{self.examples} have no thumbnails")

    preview: type[Part] | None = None
    """what a preview of changed examples may be asked for; none: the task has no preview"""
    preview_forms: Mapping[str, PreviewForm] = {}
    """endings of the files of a preview; the first is what a request gets that prefers none"""

    def preview_spec(self, wanted: Any, *, dataset_id: str, facts: DatasetFacts) -> train.ResolvedSpec:  # noqa: ANN401, ARG002
        """Return the spec whose training would change examples as `wanted`, a `preview`, asks."""
        raise AssertionError(f"{self.examples} have no preview")

    # ---- predictions

    example: str
    """the word for one example in messages: "image\""""
    examples: str
    """its plural, which names metrics too"""
    json_example: Any
    """pydantic's type of one example in a JSON body"""
    json_meaning: str
    """the examples of a JSON body, in the API's description"""
    json_sample: Any
    """one example in a JSON body, for the API's description"""
    media_types: tuple[str, ...] = ()
    """content types of a body that is one example, beside application/octet-stream; "image/*" has all of a kind"""
    formats: str = ""
    """names of the formats of a file that is one example; none where no file is"""

    notes: Mapping[str, Mapping[str, Any]] = {}
    """what `Codec.notes` says, by name: the JSON schema of a value, with its `description`"""

    def codec(self, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> Codec[Any]:
        """Return the codec that a model's card describes; `files` are the model's own besides its net, by name."""
        ...
