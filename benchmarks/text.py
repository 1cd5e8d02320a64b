"""Texts by defaults alone, over HTTP: accuracy on three public sets, and the wall time of each whole job.

    python -m benchmarks.text --data DIR [--seeds N] [--only NAME …] [--quick]
    python -m benchmarks.text --data DIR --table [--only NAME …] [--backbones KIND …] [--tokenizers KIND …]
                              [--cells FILE]

DIR holds `zh_chnsenticorp.csv` (12,000 reviews), `en_sst2.csv` (9,613 sentences on films) and `en_sms_spam.csv` (5,574
messages). Each is uploaded as it is to a stack started as `espalier up` does, and trained with a name, a dataset and a
seed. 335 of the 1,200 test rows of ChnSentiCorp are in its training rows as well, so accuracy is of all rows and of the
clean ones, asked of `POST /predict`. `--only NAME` takes any other table of DIR too: `NAME.csv`, with a column `split`.
`--table` trains every backbone with every tokenizer, one seed, without a verdict; each result is a line of `--cells`,
and what that file has already is not trained again. `--quick` takes one seed of the smallest set.
"""

import argparse
import csv
import json
import statistics
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.serving.contest import espalier_up
from benchmarks.serving.training import trained
from benchmarks.verdict import Goal, conclude

Document = dict[str, Any]
FILES = {"chnsenticorp": "zh_chnsenticorp.csv", "sst2": "en_sst2.csv", "sms_spam": "en_sms_spam.csv"}
GOALS = {
    "chnsenticorp_all": 0.93,
    "chnsenticorp_clean": 0.915,
    "sst2_all": 0.82,
    "sms_spam_all": 0.985,
}
LIMIT_S = 60.0
IN_TABLE = ("chnsenticorp", "sst2")
BACKBONES = ("nb_linear", "tfidf_linear", "ngram_bag", "ensemble", "text_cnn", "rnn", "lstm", "gru", "transformer")
TOKENIZERS = ("characters", "rjieba", "bpe")
ASKED_AT_ONCE = 100


@dataclass(frozen=True)
class Row:
    """A test row: its text, its label, and whether the text stands in the training rows too."""

    text: str
    label: str
    leaked: bool


@dataclass(frozen=True)
class Judged:
    """A job's model on the test rows; `clean` is its accuracy on those that are not in train."""

    accuracy: float
    clean: float
    job_s: float
    size_bytes: int
    latency_us: float


@dataclass(frozen=True)
class Cell:
    """A place in the table."""

    dataset: str
    backbone: str
    tokenizer: str


def main() -> None:
    """Train, ask and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CSV files")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each set")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help=f"sets to train on: {', '.join(FILES)}, or others of the folder"
    )
    parser.add_argument("--table", action="store_true", help="every backbone with every tokenizer")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=BACKBONES, help="those in the table")
    parser.add_argument("--tokenizers", nargs="+", choices=TOKENIZERS, default=TOKENIZERS, help="the same")
    parser.add_argument("--cells", type=Path, help="file of the table's results, which is added to")
    parser.add_argument("--quick", action="store_true", help="one seed of one set, without a verdict")
    options = parser.parse_args()
    names = ["sms_spam"] if options.quick else options.only or list(IN_TABLE if options.table else FILES)
    with (
        tempfile.TemporaryDirectory() as folder,
        espalier_up(Path(folder) / "home", Path(folder)) as server,
        httpx.Client(base_url=server.url, timeout=120) as http,
    ):
        if options.table:
            wanted = [Cell(*each) for each in product(names, options.backbones, options.tokenizers)]
            _show_table(_cells(http, options.data, wanted, options.cells))
            return
        seeds = 1 if options.quick else options.seeds
        results = {name: list(_by_defaults(http, path_of(options.data, name), seeds)) for name in names}
    _show(results)
    figures = {}
    for name, judged in results.items():
        figures[f"{name}_all"] = statistics.fmean(each.accuracy for each in judged)
        figures[f"{name}_clean"] = statistics.fmean(each.clean for each in judged)
        figures[f"{name}_slowest_job_s"] = max(each.job_s for each in judged)
    goals = [Goal(name, "at least", least) for name, least in GOALS.items() if name in figures]
    goals += [Goal(f"{name}_slowest_job_s", "at most", LIMIT_S) for name in results]
    conclude("text", figures, goals=goals, binding=not options.quick)


def path_of(folder: Path, name: str) -> Path:
    """Return the table of a set."""
    return folder / FILES.get(name, f"{name}.csv")


def test_rows(path: Path) -> list[Row]:
    """Return a file's own test rows of one class each; none where it has no splits."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    known = {_bare(row["text"]) for row in rows if row.get("split") == "train"}
    tests = [row for row in rows if row.get("split") == "test"]
    return [Row(row["text"], row["label"], _bare(row["text"]) in known) for row in tests if "label" in row]


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).lower()))


def _by_defaults(http: httpx.Client, path: Path, seeds: int) -> Iterator[Judged]:
    dataset, tests = _upload(http, path), test_rows(path)
    for seed in range(seeds):
        yield _judged(http, {"name": path.stem, "dataset": dataset, "seed": seed}, tests)


def _upload(http: httpx.Client, path: Path) -> str:
    answer = http.post(
        "/datasets", params={"name": path.stem}, content=path.read_bytes(), headers={"Content-Type": "text/csv"}
    )
    return str(answer.raise_for_status().json()["id"])


def _judged(http: httpx.Client, spec: Document, tests: list[Row]) -> Judged:
    """Train by a spec, and ask the published model.

    Raises:
        RuntimeError: if the job fails.
    """
    job = trained(http, spec)
    report = http.get(f"/jobs/{job['id']}/report").raise_for_status().json()
    accuracy = _score(report["splits"]["test"])
    measured = report["forms"]["fp32"]
    began, ended = (datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
    judged = Judged(
        accuracy,
        _clean(http, spec["name"], job["result"]["version"], tests) if tests else accuracy,
        (ended - began).total_seconds(),
        measured["size_bytes"],
        1000 * measured["measured"]["cpu"]["latency_ms"]["p50"],
    )
    print(spec, judged, flush=True)
    return judged


def _score(section: Document) -> float:
    """Return the accuracy of a report's split, or R² where numbers are learned."""
    return float(section["accuracy"] if "accuracy" in section else section["r2"])


def _clean(http: httpx.Client, model: str, version: int, tests: list[Row]) -> float:
    right = []
    rows = [row for row in tests if not row.leaked]
    for start in range(0, len(rows), ASKED_AT_ONCE):
        some = rows[start : start + ASKED_AT_ONCE]
        asked = {"model": f"{model}:{version}", "inputs": [row.text for row in some]}
        answer = http.post("/predict", json=asked).raise_for_status().json()
        right += [each["label"] == row.label for each, row in zip(answer["predictions"], some, strict=True)]
    return statistics.fmean(right)


def _show(results: dict[str, list[Judged]]) -> None:
    table = Table(title="defaults alone, test rows, mean (lowest to highest)", title_justify="left")
    for column in ("set", "all rows", "clean rows", "whole jobs, s", "MB", "µs a text"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, judged in results.items():
        table.add_row(
            name,
            _spread([each.accuracy for each in judged]),
            _spread([each.clean for each in judged]),
            ", ".join(f"{each.job_s:.0f}" for each in judged),
            f"{judged[0].size_bytes / 1e6:.1f}",
            f"{statistics.median(each.latency_us for each in judged):.0f}",
        )
    Console(width=120).print(table)


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def _cells(http: httpx.Client, folder: Path, wanted: Sequence[Cell], path: Path | None) -> dict[Cell, Judged | str]:
    """Return what each cell has reached, or why it failed; those that the file at `path` has are not trained again."""
    found = _read(path) if path is not None and path.exists() else {}
    uploaded: dict[str, tuple[str, list[Row]]] = {}
    for cell in wanted:
        if cell in found:
            continue
        if cell.dataset not in uploaded:
            table = path_of(folder, cell.dataset)
            uploaded[cell.dataset] = _upload(http, table), test_rows(table)
        dataset, tests = uploaded[cell.dataset]
        parts = {"backbone": {"kind": cell.backbone}, "input": {"tokenizer": {"kind": cell.tokenizer}}}
        spec = {"name": f"{cell.backbone}-{cell.tokenizer}", "dataset": dataset, "compression": None, **parts}
        try:
            found[cell] = _judged(http, spec, tests)
        except (RuntimeError, httpx.HTTPStatusError) as failure:
            found[cell] = str(failure)
        if path is not None:
            _append(path, cell, found[cell])
    return found


def _read(path: Path) -> dict[Cell, Judged | str]:
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        Cell(**each["cell"]): each["failure"] if "failure" in each else Judged(**each["judged"]) for each in documents
    }


def _append(path: Path, cell: Cell, reached: Judged | str) -> None:
    outcome = {"failure": reached} if isinstance(reached, str) else {"judged": asdict(reached)}
    with path.open("a") as file:
        file.write(json.dumps({"cell": asdict(cell), **outcome}) + "\n")


def _show_table(found: dict[Cell, Judged | str]) -> None:
    table = Table(title="every backbone with every tokenizer, one seed", title_justify="left")
    for column in ("set", "backbone", "tokenizer", "all rows", "clean rows", "whole job, s", "MB", "µs a text"):
        table.add_column(column, justify="left" if column in {"set", "backbone", "tokenizer"} else "right")
    for cell, reached in found.items():
        if isinstance(reached, str):
            table.add_row(cell.dataset, cell.backbone, cell.tokenizer, reached[:60])
            continue
        table.add_row(
            cell.dataset,
            cell.backbone,
            cell.tokenizer,
            f"{reached.accuracy:.4f}",
            f"{reached.clean:.4f}",
            f"{reached.job_s:.0f}",
            f"{reached.size_bytes / 1e6:.1f}",
            f"{reached.latency_us:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
