"""A pretrained encoder against the defaults on few texts, over HTTP: frozen, and trained whole.

    python -m benchmarks.text_encoder --data DIR --encoder ARCHIVE [--only NAME …] [--texts N …] [--whole] [--tests N]

ARCHIVE is a zip as POST /weights takes it. DIR is that of `benchmarks.text`. Each set is cut to N training rows and a
fifth as many to validate on; accuracy is that of POST /predict on clean test rows, the same for every model. There is
no goal: which encoder suits which texts is what the table shows. `--whole` trains all of the encoder too.
"""

import argparse
import csv
import io
import random
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.serving.contest import espalier_up
from benchmarks.serving.training import trained
from benchmarks.text import ASKED_AT_ONCE, FILES, Row, test_rows

Document = dict[str, Any]
BYTES = {"Content-Type": "application/octet-stream"}
SETS = ("chnsenticorp", "sst2")
VALIDATED = 5
"""training rows for each row to validate on"""


def main() -> None:
    """Train, ask and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CSV files")
    parser.add_argument("--encoder", type=Path, required=True, help="zip of config.json, tensors and tokenizer.json")
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS, help="sets to train on")
    parser.add_argument("--texts", nargs="+", type=int, default=(200, 1000), help="training rows")
    parser.add_argument("--tests", type=int, default=400, help="clean test rows that are asked about")
    parser.add_argument("--whole", action="store_true", help="train all of the encoder too")
    options = parser.parse_args()
    table = Table(title=f"{options.encoder.name}, one seed", title_justify="left")
    for column in ("set", "training rows", "model", f"right of {options.tests}", "whole job, s", "MB", "µs a text"):
        table.add_column(column, justify="left" if column in {"set", "model"} else "right")
    with (
        tempfile.TemporaryDirectory() as folder,
        espalier_up(Path(folder) / "home", Path(folder)) as server,
        httpx.Client(base_url=server.url, timeout=300) as http,
    ):
        given = http.post("/weights", content=options.encoder.read_bytes(), headers=BYTES).raise_for_status().json()
        encoder = {"kind": "encoder", "weights": given["id"]}
        backbones: dict[str, Document | None] = {"defaults": None, "frozen": encoder}
        if options.whole:
            backbones["whole"] = encoder | {"freeze": "none"}
        for name in options.only:
            path = options.data / FILES[name]
            tests = random.Random(0).sample([row for row in test_rows(path) if not row.leaked], options.tests)
            for count in options.texts:
                dataset = _upload(http, path, count)
                for model, backbone in backbones.items():
                    spec = {"name": f"{name}-{model}", "dataset": dataset, "backbone": backbone, "compression": None}
                    cells = _judged(http, spec, tests)
                    print(name, count, model, *cells, flush=True)
                    table.add_row(name, f"{count:,}", model, *cells)
    Console(width=120).print(table)


def _upload(http: httpx.Client, path: Path, count: int) -> str:
    """Upload so many training rows of a file, and rows to validate on; return the dataset's id."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    chosen = random.Random(count).sample(rows, count + max(50, count // VALIDATED))
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(["text", "label", "split"])
    writer.writerows([row["text"], row["label"], "train" if n < count else "val"] for n, row in enumerate(chosen))
    answer = http.post(
        "/datasets",
        params={"name": f"{path.stem}-{count}"},
        content=content.getvalue().encode(),
        headers={"Content-Type": "text/csv"},
    )
    return str(answer.raise_for_status().json()["id"])


def _judged(http: httpx.Client, spec: Document, tests: list[Row]) -> tuple[str, str, str, str]:
    """Return the accuracy of a spec's model on the tests, the seconds of its job, its file's size and its latency."""
    job = trained(http, spec)
    measured = http.get(f"/jobs/{job['id']}/report").raise_for_status().json()["forms"]["fp32"]
    began, ended = (datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
    right: list[bool] = []
    for start in range(0, len(tests), ASKED_AT_ONCE):
        some = tests[start : start + ASKED_AT_ONCE]
        asked = {"model": f"{spec['name']}:{job['result']['version']}", "inputs": [row.text for row in some]}
        answer = http.post("/predict", json=asked).raise_for_status().json()
        right += [each["label"] == row.label for each, row in zip(answer["predictions"], some, strict=True)]
    return (
        f"{statistics.fmean(right):.4f}",
        f"{(ended - began).total_seconds():.0f}",
        f"{measured['size_bytes'] / 1e6:.1f}",
        f"{1000 * measured['measured']['cpu']['latency_ms']['p50']:.0f}",
    )


if __name__ == "__main__":
    main()
