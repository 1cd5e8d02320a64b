"""Variants as values, and the cards that are made of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from workers.compression.facts import PruningFacts, Quantized, Ranges, Sparsity
from workers.compression.gate import Drop
from workers.evaluation.calibration import Temperature
from workers.export.verify import Agreement
from workers.stages.variant import ChannelPruning, ControlComparison, Recovery, SpeedSearch, Variant, Variants

CUT = PruningFacts(
    macs_before=8, macs_after=4, parameters_before=6, parameters_after=3, channels_before=4, channels_removed=2
)
SEARCH = SpeedSearch(target_speedup=2.0, speedup=2.1, probes=[{"ratio": 0.5, "speedup": 2.1}])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "variant.onnx"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize(("kind", "depends"), [("dynamic_int8", True), ("static_int8", False)])
def test_the_card_says_whether_an_answer_depends_on_its_batch(kind: str, *, depends: bool, path: Path) -> None:
    card = Variant(path, parent="pruned", made_by={"kind": kind}).card("pruned-int8").as_document()

    assert card["batch_dependent"] is depends


def test_a_card_has_the_keys_that_earlier_releases_wrote(path: Path) -> None:
    pruned = Variant(
        path,
        parent="fp32",
        made_by={"kind": "structured"},
        stopped="loses too much",
        temperature=Temperature(2.0, 0.5, 0.4),
        pruning=ChannelPruning(CUT, steps=2, ratio=0.5, search=SEARCH),
        recovery=Recovery(epochs=3, val_accuracy_before=0.5, val_accuracy_after=0.9),
        control=ControlComparison(control=0.95, pruned=0.9, drop=Drop(0.05, 0.01, 0.09)),
        parity=Agreement(images=10, agreeing=9, max_difference=0.25),
    )

    assert pruned.card("pruned").as_document() == {
        "kind": "pruned",
        "parent": "fp32",
        "made_by": {"kind": "structured"},
        "size_bytes": 7,
        "compressed_bytes": 15,
        "size_only": False,
        "batch_dependent": False,
        "stopped": "loses too much",
        "temperature": {"value": 2.0, "loss_before": 0.5, "loss_after": 0.4, "reason": None},
        "pruning": {
            **CUT.as_card(),
            "steps": 2,
            "ratio": 0.5,
            "target_speedup": 2.0,
            "speedup": 2.1,
            "probes": [{"ratio": 0.5, "speedup": 2.1}],
        },
        "recovery": {"epochs": 3, "val_accuracy_before": 0.5, "val_accuracy_after": 0.9},
        "control": {
            "val_accuracy": {"control": 0.95, "pruned": 0.9},
            "drop": 0.05,
            "drop_interval": [0.01, 0.09],
        },
        "parity": {"images": 10, "agreeing": 9, "max_difference": 0.25, "share": 0.9},
        "measured": {},
    }


def test_facts_of_fewer_bits_stand_beside_the_others(path: Path) -> None:
    ranges = Ranges("percentile", 16, per_channel=True, percentile=99.9)
    facts = Quantized(layers=3, float_layers=["stem"], ranges=ranges)

    card = Variant(path, parent="fp32", made_by={"kind": "static_int8"}, quantization=facts).card("int8").as_document()

    assert {name: card[name] for name in ("layers", "float_layers", "calibration", "percentile", "per_channel")} == {
        "layers": 3,
        "float_layers": ["stem"],
        "calibration": "percentile",
        "percentile": 99.9,
        "per_channel": True,
    }
    assert card["calibration_images"] == 16
    assert not {"block_size", "tried", "epochs", "temperature"} & card.keys()


def test_a_variant_that_is_only_smaller_says_so(path: Path) -> None:
    zeros = Sparsity("n_m", weights=10, zeros=4)
    sparse = Variant(path, parent="fp32", pruning=zeros)
    quantized = Variant(path, parent="pruned", pruning=zeros.inherited(), quantization=Quantized(layers=1))

    assert sparse.card("pruned").size_only is True
    assert quantized.card("pruned-int8").size_only is False
    assert replace(quantized, quantization=Quantized(size_only=True)).card("pruned-weights-int8").size_only is True


def test_leaving_a_variant_out_changes_no_value(path: Path) -> None:
    every = Variants({"fp32": Variant(path, parent=None), "int8": Variant(path, parent="fp32")})

    fewer = every.without({"int8": "runs nowhere"})

    assert (list(every.made), dict(every.not_made)) == (["fp32", "int8"], {})
    assert (list(fewer.made), dict(fewer.not_made)) == (["fp32"], {"int8": "runs nowhere"})
