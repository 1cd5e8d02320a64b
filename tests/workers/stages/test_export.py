"""Figures that a file carries, and verdicts on the size of the file that ships."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models_store.models.providers import Provider
from models_store.spec.compression import Compression
from tests.workers.measured_figures import measured
from workers.compression.gate import AS_SMALL
from workers.export import metadata
from workers.export.figures import Measurement, Unmeasurable
from workers.stages.accept import judge
from workers.stages.export import stamp
from workers.stages.variant import Variant, Variants

FIGURES: dict[Provider, dict[str, Measurement]] = {
    "cpu": {"fp32": measured(0.95), "int8": measured(0.95, 1.2)},
    "cuda": {"fp32": measured(0.95), "int8": Unmeasurable("no kernel")},
}
ON_CPU: dict[Provider, dict[str, Measurement]] = {"cpu": FIGURES["cpu"]}
BY_SIZE = Compression.model_validate({"quantize": [], "objective": "size"})


def a_file(path: Path, *, weights_bytes: int) -> Path:
    """Return an ONNX file of about this size."""
    weights = numpy_helper.from_array(np.zeros(weights_bytes, np.uint8), "weights")
    value = helper.make_tensor_value_info("weights", TensorProto.UINT8, [weights_bytes])
    onnx.save_model(helper.make_model(helper.make_graph([], "net", [], [value], [weights])), path)
    return path


@pytest.fixture
def variants(tmp_path: Path) -> Variants:
    """Return two files, of which the second is smaller enough only as long as nothing is stamped into both."""
    smaller = a_file(tmp_path / "int8.onnx", weights_bytes=10_000)
    least = math.floor((AS_SMALL - 1) * smaller.stat().st_size) + 1
    whole = a_file(tmp_path / "fp32.onnx", weights_bytes=10_000 + least)
    return Variants({"fp32": Variant(whole, None), "int8": Variant(smaller, "fp32")})


def size_of(variants: Variants, name: str) -> int:
    return variants.made[name].path.stat().st_size


def test_a_file_carries_what_was_measured_on_it_and_does_not_depend_on_the_machine(variants: Variants) -> None:
    stamp(variants, FIGURES, learned={"tokenizer": {"kind": "words"}})

    said = metadata.read(onnx.load(variants.made["int8"].path))
    assert said["espalier.tokenizer"] == {"kind": "words"}
    assert said["espalier.metrics"] == {
        "cpu": {"accuracy": FIGURES["cpu"]["int8"].accuracy, "agreement": FIGURES["cpu"]["int8"].agreement}
    }


def test_size_is_judged_on_the_stamped_file_as_it_is_when_it_is_measured_again(variants: Variants) -> None:
    assert AS_SMALL * size_of(variants, "int8") < size_of(variants, "fp32")

    stamp(variants, ON_CPU, learned={})
    published = judge(ON_CPU, variants, compression=BY_SIZE)
    cards = {name: variant.card(name) for name, variant in variants.made.items()}
    taken_up = {name: Variant.of_card(variants.made[name].path, card) for name, card in cards.items()}
    again = judge(ON_CPU, Variants(taken_up), compression=BY_SIZE)

    (reason,) = published.measured["int8"]["cpu"]["reasons"]
    assert f"its file has {cards['int8'].size_bytes:,} bytes, fp32's {cards['fp32'].size_bytes:,}" in reason
    assert again.measured == published.measured
    assert again.defaults == published.defaults == {"cpu": "fp32"}
