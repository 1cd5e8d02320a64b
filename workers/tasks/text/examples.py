"""Texts of a dataset → memory-mapped arrays of numbers, read once and kept for every later run."""

# N texts, L code points or tokens

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open

from models_store.datasets.store import ManifestEntry
from models_store.tasks.text.auxiliary import PARAPHRASES, SYNONYMS, read_paraphrases, read_synonyms
from models_store.tasks.text.checks import id_of
from models_store.tasks.text.codec import CODE_POINTS, LENGTHS, TOKENS, Numbers, TextCodec, code_points_of, text_of
from models_store.tasks.text.encoders import TOKENIZER as ARCHIVED
from models_store.tasks.text.spec import ResolvedTextSpec
from models_store.tasks.text.tokenizers import Tokens, cut, fit, of_encoder
from models_store.tasks.text.tokenizers.parts import PretrainedTokenizer
from workers.tasks.text.front_end import DEFINITION
from workers.training.array_cache import Array, Cached, cached
from workers.training.examples import Examples, Rows, take, targets_of
from workers.training.stored_weights import WeightsUnfit

FORMAT = "v2"
"""part of the files' names: raise it when the numbers or the layout change"""
CHUNK = 1024
CHARACTERS_PER_TOKEN = 8
"""code points that are kept for each token, of which words have fewer"""


@dataclass(frozen=True, eq=False)
class TextExamples(Examples):
    """Texts as their model's file takes them, and the tokenizer that was fitted to the training texts."""

    tokenizer: Tokens = None  # type: ignore[assignment]  # fields before it have defaults
    texts: Array | None = None
    """beside tokens, the code points that they were cut from, int32 (N, L), 0 behind the end"""
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """word, in lower case → its synonyms in the dataset's own file"""
    paraphrases: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """row → other wordings of its text"""

    @property
    def code_points(self) -> Array:
        """Return the texts as code points int32 (N, L), 0 behind the end: what random changes start from."""
        return self.inputs[CODE_POINTS] if self.texts is None else self.texts

    def raw(self, rows: Rows) -> dict[str, Array]:
        """Return a copy of the rows, beside tokens with their code points."""
        if self.texts is None:
            return self.batch(rows)
        return self.batch(rows) | take({CODE_POINTS: self.texts}, rows, padded=(CODE_POINTS,))


def prepare(
    spec: ResolvedTextSpec,
    manifest: Sequence[ManifestEntry],
    content: Path,
    *,
    classes: list[str],
    digest: str,
    auxiliary: Mapping[str, bytes],
    start: Path | None = None,
    cache: Path,
    cache_max_bytes: int,
    report: Callable[[float], None],
) -> TextExamples:
    """Return the dataset's arrays, from the folder `cache` when they are there whole, else read now.

    `start` is the file of weights that the net starts from, or that it was trained to: an encoder's tokenizer is in it.

    Raises:
        BadExample: if a text of the dataset can't be read.
        StorageFull: if an array does not fit on the disk.
        TokenizerUnavailable: if the tokenizer's package is not installed.
        WeightsUnfit: if `start` has no tokenizer, and one is needed.
    """
    assert spec.input.max_tokens is not None, "the spec is resolved before training"
    assert spec.input.tokenizer is not None, "as above"
    source = _Source(manifest, content, cache / digest, limit_bytes=cache_max_bytes, report=report)
    in_graph = spec.input.tokenizer.in_graph
    width = spec.input.max_tokens if in_graph else CHARACTERS_PER_TOKEN * spec.input.max_tokens
    held = [source.code_points(width, truncate=spec.input.truncate)]
    inputs, padded = {CODE_POINTS: held[0].array}, CODE_POINTS
    splits_N = np.array([entry.split for entry in manifest], dtype=np.str_)
    if isinstance(spec.input.tokenizer, PretrainedTokenizer):
        tokenizer = pretrained_of(start)
    else:
        texts = (string_of(held[0].array[row]) for row in np.flatnonzero(splits_N == "train"))
        tokenizer = fit(spec.input.tokenizer, texts)
    if not in_graph:
        held += source.tokens(TextCodec.of(spec.input.model_dump(), tokenizer))
        inputs, padded = {TOKENS: held[1].array, LENGTHS: held[2].array}, TOKENS
    report(1.0)
    return TextExamples(
        inputs=inputs,
        padded=(padded,),
        targets=targets_of(manifest, classes),
        splits_N=splits_N,
        classes=list(classes),
        held=held,
        tokenizer=tokenizer,
        texts=None if in_graph else held[0].array,
        synonyms=read_synonyms(auxiliary[SYNONYMS]) if SYNONYMS in auxiliary else {},
        paraphrases=paraphrases_of(manifest, auxiliary),
    )


def pretrained_of(start: Path | None) -> Tokens:
    """Return the tokenizer in a file of weights: an uploaded archive's, or that of a net that started from one.

    Raises:
        TokenizerUnavailable: if its package is not installed.
        WeightsUnfit: if there is none.
    """
    assert start is not None, "an encoder has weights"
    with safe_open(start, framework="np") as file:
        names = [name for name in file.keys() if name == ARCHIVED or name.endswith(f".{DEFINITION}")]  # noqa: SIM118  no mapping
        if len(names) != 1:
            raise WeightsUnfit("the file of weights has no tokenizer.json: upload the encoder's archive anew")
        return of_encoder(file.get_tensor(names[0]).tobytes())


@dataclass(frozen=True)
class _Source:
    """The texts of a dataset's stored file, and where the arrays made of them are kept."""

    manifest: Sequence[ManifestEntry]
    content: Path
    path: Path
    """what the names of the arrays begin with"""
    limit_bytes: int
    report: Callable[[float], None]

    def code_points(self, width: int, *, truncate: str) -> Cached:
        """Return the texts as code points, cut to `width`."""

        def fill(numbers_NL: Array) -> None:
            for row, data in enumerate(self._texts()):
                numbers = cut(code_points_of(text_of(data)), width, truncate=truncate)
                numbers_NL[row, : len(numbers)] = numbers

        return self._cached(f"{width}-{truncate}", (len(self.manifest), width), fill)

    def tokens(self, codec: TextCodec) -> list[Cached]:
        """Return the texts as tokens, and how many each of them has."""
        document = json.dumps(codec.tokenizer.as_document(), sort_keys=True)
        fitted = hashlib.sha256(document.encode()).hexdigest()[:32]
        name = f"{fitted}-{codec.max_tokens}-{codec.truncate}"

        def fill(ids_NL: Array) -> None:
            for row, data in enumerate(self._texts()):
                ids: Numbers = codec.decode(data).numbers
                ids_NL[row, : len(ids)] = ids

        tokens = self._cached(name, (len(self.manifest), codec.max_tokens), fill)

        def count(lengths_N: Array) -> None:
            for start in range(0, len(lengths_N), CHUNK):
                lengths_N[start : start + CHUNK] = np.count_nonzero(tokens.array[start : start + CHUNK], axis=1)

        return [tokens, self._cached(f"{name}-lengths", (len(self.manifest),), count)]

    def _texts(self) -> Iterator[bytes]:
        with zipfile.ZipFile(self.content) as archive:
            for row, entry in enumerate(self.manifest):
                yield archive.read(entry.member)
                if row % CHUNK == 0:
                    self.report(row / len(self.manifest))

    def _cached(self, name: str, shape: tuple[int, ...], fill: Callable[[Array], None]) -> Cached:
        path = self.path.with_name(f"{self.path.name}-{name}-{FORMAT}.npy")
        return cached(path, shape, "int32", fill=fill, limit_bytes=self.limit_bytes)


def paraphrases_of(manifest: Sequence[ManifestEntry], auxiliary: Mapping[str, bytes]) -> dict[int, tuple[str, ...]]:
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
