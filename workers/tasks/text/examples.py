"""Texts of a dataset → one memory-mapped array of code points, read once and kept for every later run."""

# N texts, L code points

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models_store.datasets.store import ManifestEntry
from models_store.tasks.text.auxiliary import PARAPHRASES, SYNONYMS, read_paraphrases, read_synonyms
from models_store.tasks.text.checks import id_of
from models_store.tasks.text.codec import CODE_POINTS, TextCodec
from models_store.tasks.text.spec import ResolvedTextSpec
from models_store.tasks.text.tokenizers.fitting import fit
from models_store.tasks.text.tokenizers.tokens import Tokens
from workers.training.array_cache import Array, cached
from workers.training.examples import Examples, targets_of

FORMAT = "v1"
"""part of the file's name: raise it when the numbers or the layout change"""
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class TextExamples(Examples):
    """Texts as code points, with zeros behind their ends, and the tokenizer that was fitted to the training texts."""

    tokenizer: Tokens = None  # type: ignore[assignment]  # fields before it have defaults
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """word, in lower case → its synonyms in the dataset's own file"""
    paraphrases: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """row → other wordings of its text"""


def prepare(
    spec: ResolvedTextSpec,
    manifest: Sequence[ManifestEntry],
    content: Path,
    *,
    classes: list[str],
    digest: str,
    auxiliary: Mapping[str, bytes],
    cache: Path,
    cache_max_bytes: int,
    report: Callable[[float], None],
) -> TextExamples:
    """Return the dataset's arrays, from the folder `cache` when they are there whole, else read now.

    Raises:
        BadExample: if a text of the dataset can't be read.
        StorageFull: if the array does not fit on the disk.
    """
    assert spec.input.max_tokens is not None, "the spec is resolved before training"
    assert spec.input.tokenizer is not None, "as above"
    codec = TextCodec.of(spec.input.model_dump())
    path = cache / f"{digest}-{spec.input.max_tokens}-{spec.input.truncate}-{FORMAT}.npy"

    def fill(numbers_NL: Array) -> None:
        with zipfile.ZipFile(content) as archive:
            for row, entry in enumerate(manifest):
                numbers = codec.decode(archive.read(entry.member)).numbers
                numbers_NL[row, : len(numbers)] = numbers
                if row % CHUNK == 0:
                    report(row / len(manifest))

    shape = (len(manifest), spec.input.max_tokens)
    texts = cached(path, shape, "int32", fill=fill, limit_bytes=cache_max_bytes)
    splits_N = np.array([entry.split for entry in manifest], dtype=np.str_)
    train = np.flatnonzero(splits_N == "train")
    report(1.0)
    return TextExamples(
        inputs={CODE_POINTS: texts.array},
        padded=(CODE_POINTS,),
        targets=targets_of(manifest, classes),
        splits_N=splits_N,
        classes=list(classes),
        held=texts.held,
        tokenizer=fit(spec.input.tokenizer, (string_of(texts.array[row]) for row in train)),
        synonyms=read_synonyms(auxiliary[SYNONYMS]) if SYNONYMS in auxiliary else {},
        paraphrases=_paraphrases(manifest, auxiliary),
    )


def _paraphrases(manifest: Sequence[ManifestEntry], auxiliary: Mapping[str, bytes]) -> dict[int, tuple[str, ...]]:
    """Return row → the paraphrases of its text: of the table's column, and of the file."""
    of_file = read_paraphrases(auxiliary[PARAPHRASES]) if PARAPHRASES in auxiliary else {}
    found = {}
    for row, entry in enumerate(manifest):
        beside = str(entry.facts.get("paraphrase", "")).replace("\0", " ").strip()
        if wordings := (*([beside] if beside else []), *of_file.get(id_of(entry), ())):
            found[row] = wordings
    return found


def string_of(numbers_L: Array) -> str:
    """Return a row of code points as a string."""
    return bytes(np.trim_zeros(numbers_L, "b").astype("<i4")).decode("utf-32-le")
