"""Contract of rows of numbers, each of one class."""

import json
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from models_store.datasets.example import Inspected
from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.tasks.codec import BadExample, Codec, Tensor, bad_example
from models_store.tasks.task import Contract

LENGTH = 4
INPUT = "numbers"


class RowSpec(TrainSpec):
    """What to learn from which rows, and how."""

    targets: ClassVar = {"row_classification": "class"}
    task: Literal["row_classification"] | None = Field("row_classification", description="one class of a row")
    width: int = Field(32, ge=4, le=256, description="units of the hidden layers")


class ResolvedRowSpec(ResolvedSpec, RowSpec):
    """A spec of rows with every default filled in."""

    asked: ClassVar = RowSpec
    task: Literal["row_classification"]


class RowCodec(Codec):
    def describe(self):
        return (Tensor(INPUT, "float32", (LENGTH,)),)

    def decode(self, given, *, budget=None):
        try:
            row = np.array(json.loads(given) if isinstance(given, bytes) else given, np.float32)
        except ValueError as error:
            raise bad_example("not_a_row", f"this is no list of numbers: {error}") from error
        if row.shape != (LENGTH,) or not np.isfinite(row).all():
            raise bad_example("not_a_row", f"a row has {LENGTH} finite numbers")
        return row

    def collate(self, examples):
        return {INPUT: np.stack(examples)}


class RowContract(Contract):
    Spec, ResolvedSpec = RowSpec, ResolvedRowSpec
    example, examples, formats = "row", "rows", "JSON"
    json_example, json_meaning, json_sample = list[float], "rows of four numbers", (0.5, 1, -2, 0)

    def is_example(self, path, head):
        return path.suffix == ".row"

    def most_bytes(self, settings):
        return 1000

    def inspect(self, data, *, settings, budget):
        try:
            RowCodec().decode(data)
        except BadExample as error:
            return str(error)
        return Inspected(".row")

    def codec(self, card, *, files, settings):
        return RowCodec()


ROWS = RowContract()
