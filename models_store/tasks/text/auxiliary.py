"""Auxiliary files of a dataset of texts: groups of synonyms, and paraphrases of its examples. Augmentation uses them.

    synonyms.csv      one group of equivalent words or phrases on each line, without a header
    paraphrases.csv   id,text: another wording of the example with this id, as many lines for each as there are

UTF-8, with a byte order mark or without; cells are separated by commas, semicolons or tabs.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator

SYNONYMS, PARAPHRASES = "synonyms.csv", "paraphrases.csv"
MOST_BYTES = 64 << 20
LONGEST_WORD = 100
SEPARATORS = ("\t", ";", ",")
"""the first of them that the first line has"""


class AuxiliaryUnreadable(Exception):
    """An auxiliary file can't be read; the message says where and why."""


def read_synonyms(data: bytes) -> dict[str, tuple[str, ...]]:
    """Return word, in lower case → its synonyms; a word of several groups has those of all.

    Raises:
        AuxiliaryUnreadable: if it isn't a table of UTF-8, or a group has fewer than two words.
    """
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for line, cells in _rows(data):
        group = list(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))
        if not group:
            continue
        if len({word.lower() for word in group}) < 2:  # noqa: PLR2004  a word and its synonym
            raise AuxiliaryUnreadable(f"line {line} has one word, {group[0][:50]!r}; a group has two or more")
        long = next((word for word in group if len(word) > LONGEST_WORD), None)
        if long is not None:
            limit = f"a word or phrase has at most {LONGEST_WORD} characters"
            raise AuxiliaryUnreadable(f"line {line}: {long[:50]!r}… has {len(long)} characters; {limit}")
        for word in group:
            found[word.lower()].update(dict.fromkeys(other for other in group if other.lower() != word.lower()))
    return {word: tuple(others) for word, others in found.items()}


def read_paraphrases(data: bytes) -> dict[str, tuple[str, ...]]:
    """Return id of an example → its paraphrases, in the order of the file.

    Raises:
        AuxiliaryUnreadable: if it isn't a table of UTF-8 with the columns id and text, or a cell is empty.
    """
    rows = _rows(data)
    header = [cell.strip().lower() for cell in next(rows, (1, []))[1]]
    if sorted(header) != ["id", "text"]:
        raise AuxiliaryUnreadable(f"its first line is {','.join(header)[:100]!r}; it has to be id,text")
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for line, cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise AuxiliaryUnreadable(f"line {line} has {len(cells)} cells; put a text with commas in double quotes")
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        if not row["id"] or not row["text"]:
            empty = "id" if not row["id"] else "text"
            raise AuxiliaryUnreadable(f"line {line}: its {empty} is empty")
        found[row["id"]][row["text"]] = None
    return {name: tuple(texts) for name, texts in found.items()}


def _rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line, from 1, and its cells."""
    if (place := data.find(b"\0")) >= 0:
        raise AuxiliaryUnreadable(f"byte {place} is NUL, which no text has; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise AuxiliaryUnreadable(f"it is not UTF-8 (byte {error.start}, line {line}); save it as UTF-8") from error
    head = text.partition("\n")[0]
    separator = next((each for each in SEPARATORS if each in head), ",")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise AuxiliaryUnreadable(f"line {reader.line_num}: {error}") from error
