"""Rows of numbers for the tests of every task."""

import json
import random

from tests.tasks.samples import Sample

HIGH = [2.0, 2.5, 1.5, 2.0]


def rows() -> dict[str, bytes]:
    chance, files = random.Random(0), {}
    for number in range(120):
        label, mean = (("low", -2), ("high", 2))[number % 2]
        row = [round(chance.gauss(mean, 1), 4) for _ in HIGH]
        files[f"{label}/{number}.row"] = json.dumps(row).encode()
    return files


SAMPLES = {"row_classification": Sample(rows, HIGH, ("high.row", json.dumps(HIGH).encode()), {"width": 16})}
