import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from models_store.targets import NAMED, Target
from workers.prediction import tables

LABELS = ["=cmd", "rose", "tulip"]
PROBABILITIES = np.array([0.1, 0.7, 0.2], np.float32)


def a_row(target: Target, outputs_K: Any, **known: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"row": 0, "file": "a.png", "split": "test", "truth": None}
    return row | known | target.prediction(outputs_K, LABELS, top_k=2) | {"error": None}


def a_sample(target: Target, truth: Any = "") -> dict[str, Any]:
    ones_K = np.ones(target.output_count(len(LABELS)), np.float32)
    return a_row(target, ones_K, truth=truth) | {"error": ""}


def written(format_: str, path: Path, rows: list[dict[str, Any]], sample: dict[str, Any]) -> Path:
    with tables.opened(format_, path, sample=sample) as add:
        for row in rows:
            add([row])
    return path


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_float32_numbers_are_as_short_as_in_an_answer_of_the_api(tmp_path: Path) -> None:
    target = NAMED["class"]
    row = a_row(target, PROBABILITIES)

    (cell,) = cells(written("csv", tmp_path / "table", [row], a_sample(target)))
    (line,) = written("jsonl", tmp_path / "lines", [row], a_sample(target)).read_text().splitlines()

    assert (cell["label"], cell["probability"], cell["top_2_probability"]) == ("rose", "0.7", "0.2")
    assert '"probability":0.7,' in line
    assert json.loads(line)["top"] == [{"label": "rose", "probability": 0.7}, {"label": "tulip", "probability": 0.2}]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\uff1d1"])
def test_no_text_of_a_csv_is_a_formula_and_other_formats_have_it_as_it_is(tmp_path: Path, name: str) -> None:
    target = NAMED["number"]
    row = a_row(target, np.array([-1.5], np.float32), file=name)

    (cell,) = cells(written("csv", tmp_path / "table", [row], a_sample(target)))
    (line,) = written("jsonl", tmp_path / "lines", [row], a_sample(target)).open(encoding="utf-8")
    columns = pq.read_table(written("parquet", tmp_path / "columns", [row], a_sample(target)))

    assert (cell["file"], cell["value"]) == (f"'{name}", "-1.5")
    assert json.loads(line)["file"] == name
    assert columns["file"].to_pylist() == [name]


def test_no_part_of_a_csv_is_a_formula_where_cells_are_separated_by_semicolons(tmp_path: Path) -> None:
    target = NAMED["labels"]
    row = a_row(target, np.array([0.8, 0.9, 0.1], np.float32), file="a;=1+1;.png")

    (cell,) = cells(written("csv", tmp_path / "table", [row], a_sample(target)))

    assert (cell["file"], cell["labels"]) == ("a;'=1+1;.png", "rose;'=cmd")


@pytest.mark.parametrize(
    ("target", "outputs", "truth"),
    [("class", PROBABILITIES, "rose"), ("labels", PROBABILITIES, ["rose"]), ("number", PROBABILITIES[:1], 2.5)],
)
@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_rows_without_an_answer_a_truth_or_labels_stand_in_every_format(
    tmp_path: Path, format_: str, target: str, outputs: Any, truth: Any
) -> None:
    kind = NAMED[target]  # type: ignore[index]
    sample = a_sample(kind, truth)
    none = dict.fromkeys(sample) | {"row": 1, "file": "b.png", "error": "it is no image"}
    known = a_row(kind, outputs, truth=truth)
    without = a_row(kind, np.zeros_like(outputs), truth=[] if isinstance(truth, list) else None)

    path = written(format_, tmp_path / "table", [none, known, without], sample)

    if format_ == "csv":
        rows: list[Any] = cells(path)
    elif format_ == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = pq.read_table(path).to_pylist()
    assert [row["error"] or None for row in rows] == ["it is no image", None, None]
    assert [row["file"] for row in rows] == ["b.png", "a.png", "a.png"]
    shown = ";".join(truth) if isinstance(truth, list) else str(truth)
    assert rows[1]["truth"] == (shown if format_ == "csv" else truth)
    assert rows[0].keys() == rows[1].keys() == rows[2].keys()


def test_labels_are_joined_in_a_csv(tmp_path: Path) -> None:
    target = NAMED["labels"]
    row = a_row(target, np.array([0.9, 0.8, 0.1], np.float32), truth=["rose", "tulip"])

    (cell,) = cells(written("csv", tmp_path / "table", [row], a_sample(target, ["rose"])))

    assert (cell["labels"], cell["truth"]) == ("'=cmd;rose", "rose;tulip")


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    sample = a_sample(NAMED["class"])

    assert cells(written("csv", tmp_path / "table", [], sample)) == []
    assert (tmp_path / "table").read_text().startswith("row,file,split,truth,label,probability,top_1_label")
    assert pq.read_table(written("parquet", tmp_path / "columns", [], sample)).column_names == [*sample]
