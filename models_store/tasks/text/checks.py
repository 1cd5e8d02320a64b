"""Checks of texts: control characters, overlong ones, several scripts or languages; and the facts of a card."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import MOST_NAMES, Check
from models_store.tasks.task import Passed
from models_store.tasks.text.auxiliary import (
    MOST_BYTES,
    PARAPHRASES,
    SYNONYMS,
    AuxiliaryUnreadable,
    read_paraphrases,
    read_synonyms,
)
from models_store.wording import counted, inflected

LONG = 20
"""times the median length, from which a text is long among the others"""
LONG_CHARACTERS = 4096
"""characters up to which no text is called long: what the longest input takes"""
MIXED = 0.05
"""share of texts from which a second script or language makes a set mixed"""


def check_entries(entries: Sequence[ManifestEntry]) -> list[Check]:
    """Look at the characters, lengths and scripts of texts."""
    return [*_check_controls(entries), *_check_lengths(entries), *_check_mixture(entries)]


def check_auxiliary(files: Mapping[str, Path], entries: Sequence[ManifestEntry]) -> list[Check]:
    """Look at synonyms and paraphrases: whether they can be read, and are about texts of the dataset."""
    checks: list[Check] = []
    for name in sorted(files):
        try:
            checks += _check_paraphrases(files[name], entries) if name == PARAPHRASES else _check_synonyms(files[name])
        except AuxiliaryUnreadable as error:
            checks.append(Check("auxiliary_unreadable", "error", f"{name} can't be used: {error}", [name]))
    return checks


def _check_synonyms(path: Path) -> Iterator[Check]:
    words = len(read_synonyms(_bytes_of(path)))
    yield Check("synonyms", "info", f"{SYNONYMS} has synonyms of {counted(words, 'word')}", [SYNONYMS])


def _check_paraphrases(path: Path, entries: Sequence[ManifestEntry]) -> Iterator[Check]:
    unknown = set(read_paraphrases(_bytes_of(path))) - {id_of(entry) for entry in entries}
    if unknown:
        names = counted(len(unknown), "text that the dataset doesn't have", "texts that the dataset doesn't have")
        message = (
            f"{PARAPHRASES} names {names}; `id` is that of the table's column `id`, or else the name of the text's file, "
            "or of its table and line, such as `texts.csv:17`"
        )
        yield Check("paraphrases_of_nothing", "warning", message, sorted(unknown)[:MOST_NAMES], total=len(unknown))


def _bytes_of(path: Path) -> bytes:
    if (size_bytes := path.stat().st_size) > MOST_BYTES:
        raise AuxiliaryUnreadable(f"it has {size_bytes:,} bytes; at most {MOST_BYTES:,} are allowed")
    return path.read_bytes()


def id_of(entry: ManifestEntry) -> str:
    """Return what `paraphrases.csv` calls a text."""
    return str(entry.facts.get("id", entry.file))


def passed(entries: Sequence[ManifestEntry], found: Collection[str]) -> Passed:
    """Yield what was looked at and is in order."""
    if "control_characters" not in found:
        yield "control_characters", len(entries), "no text has a control character"
    if "overlong_texts" not in found:
        longest = max(characters_of(entry) for entry in entries)
        yield "overlong_texts", len(entries), f"the longest text has {longest:,} characters, not far above the others"
    if "mixed_languages" not in found:
        kind, counts = _kinds(entries)
        (most, count), *_ = counts.most_common(1)
        yield "mixed_languages", len(entries), f"{count / len(entries):.0%} of the texts have the {kind} {most}"


def card_facts(entries: Iterable[ManifestEntry]) -> dict[str, Any]:
    """Return the lengths of training texts, and the scripts of all.

    `characters_95`, `words_95`: 95 of 100 have so many or fewer. `han_share`: of the characters, those of texts that
    are mostly Chinese. `scripts`: script → the share of texts that are mostly in it. `paraphrased`: whether a training
    text has a paraphrase beside it.
    """
    characters, words, scripts, weights = [], [], Counter[str](), Counter[str]()
    paraphrased = False
    for entry in entries:
        scripts[entry.facts["script"]] += 1
        weights[entry.facts["script"]] += characters_of(entry)
        if entry.split == "train":
            characters.append(characters_of(entry))
            words.append(int(entry.facts["words"]))
            paraphrased = paraphrased or "paraphrase" in entry.facts
    return {
        "characters_95": _quantile_95(characters),
        "words_95": _quantile_95(words),
        "han_share": round(weights["han"] / max(1, weights.total()), 4),
        "scripts": {script: count / scripts.total() for script, count in scripts.most_common()},
        "paraphrased": paraphrased,
    }


def _quantile_95(values: Sequence[int]) -> int:
    return int(np.quantile(values or [1], 0.95))


def characters_of(entry: ManifestEntry) -> int:
    """Return the number of a text's characters."""
    return int(entry.facts["characters"])


def _check_controls(entries: Sequence[ManifestEntry]) -> Iterator[Check]:
    def found() -> Iterator[str]:
        return (entry.file for entry in entries if "controls" in entry.facts)

    if count := sum(1 for _ in found()):
        message = (
            f"{counted(count, 'text has', 'texts have')} control characters, often the sign of a wrong encoding; "
            "each is read as a space"
        )
        yield Check("control_characters", "warning", message, [*islice(found(), MOST_NAMES)], total=count)


def _check_lengths(entries: Sequence[ManifestEntry]) -> Iterator[Check]:
    lengths = np.fromiter((characters_of(entry) for entry in entries), np.int64, len(entries))
    most = max(LONG_CHARACTERS, LONG * int(np.median(lengths)))
    count = int((lengths > most).sum())
    if count:
        files = islice((entry.file for entry in entries if characters_of(entry) > most), MOST_NAMES)
        message = (
            f"{counted(count, 'text has', 'texts have')} more than {most:,} characters, where the median is "
            f"{int(np.median(lengths)):,}: what is beyond `input.max_tokens` of {inflected(count, 'it', 'them')} is cut"
        )
        yield Check("overlong_texts", "info", message, [*files], total=count)


def _check_mixture(entries: Sequence[ManifestEntry]) -> Iterator[Check]:
    kind, counts = _kinds(entries)
    shares = {name: count / len(entries) for name, count in counts.most_common()}
    if sum(share >= MIXED for share in shares.values()) > 1:
        shown = ", ".join(f"{share:.0%} {name}" for name, share in [*shares.items()][:5])
        message = f"the texts are of several {kind}s ({shown}): one model learns all of them, from fewer texts each"
        yield Check("mixed_languages", "info", message)


def _kinds(entries: Sequence[ManifestEntry]) -> tuple[str, Counter[str]]:
    """Return the texts of each language where the table gives them all one, else of each script."""
    languages = Counter(str(entry.facts["language"]) for entry in entries if "language" in entry.facts)
    if languages.total() == len(entries):
        return "language", languages
    return "script", Counter(str(entry.facts["script"]) for entry in entries)
