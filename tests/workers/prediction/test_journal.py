"""Journal of a table: its rows come back as they were, with their types."""

from pathlib import Path

import numpy as np
import pytest

from workers.prediction.journal import AT_ONCE, Journal
from workers.prediction.tables import Document

SAMPLE: Document = {
    "file": "",
    "probability": np.float32(0.5),
    "top": [{"label": "", "probability": np.float32(0.5)}],
    "labels": [""],
    "notes": [],
    "error": "",
}
ROWS: list[Document] = [
    {
        "file": "ä\n.png",
        "probability": np.float32(0.1),
        "top": [{"label": "a", "probability": np.float32(1e-7)}, {"label": "b", "probability": np.float32(1 / 3)}],
        "labels": [],
        "notes": [1, {"of": "more"}],
        "error": None,
    },
    {"file": "b", "probability": None, "top": None, "labels": None, "notes": None, "error": "broken"},
]


@pytest.mark.parametrize("count", [1, AT_ONCE, 3 * AT_ONCE + 1])
def test_rows_come_back_with_their_types_and_more_may_follow(tmp_path: Path, count: int) -> None:
    rows = (ROWS * count)[:count]
    first = Journal(tmp_path / "first", sample=SAMPLE)
    for row in rows:
        first.add([row])
    second = Journal(tmp_path / "second", sample=SAMPLE)

    restored = [row for part in second.restored(first.content()) for row in part]
    second.add(ROWS)
    again = [row for part in Journal(tmp_path / "third", sample=SAMPLE).restored(second.content()) for row in part]

    assert restored == rows
    assert again == [*rows, *ROWS]
    assert type(restored[0]["probability"]) is np.float32
    assert type(restored[0]["top"][1]["probability"]) is np.float32


def test_what_an_earlier_attempt_left_in_the_folder_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"of another attempt")
    journal = Journal(tmp_path / "journal", sample=SAMPLE)
    journal.add(ROWS)

    restored = list(Journal(tmp_path / "other", sample=SAMPLE).restored(journal.content()))

    assert restored == [ROWS]
