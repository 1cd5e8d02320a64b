from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models_store.models.providers import Provider
from models_store.models.variant_card import VariantCard
from models_store.spec.compression import Compression
from tests.workers.measured_figures import measured
from workers.export.figures import Measurement, Unmeasurable
from workers.stages.accept import Verdicts, judge
from workers.stages.variant import Variant, Variants

SIZES = {"fp32": 1000, "int8": 250, "fp16": 500}
DYNAMIC = {"made_by": {"kind": "dynamic_int8"}}
Judge = Callable[..., Verdicts]


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    """Return what judges figures, of variants whose files have some sizes and that are made of fp32."""

    def made(
        figures: dict[Provider, dict[str, Measurement]],
        *,
        sizes_bytes: dict[str, int] | None = None,
        of: dict[str, dict[str, Any]] | None = None,
        **compression: object,
    ) -> Verdicts:
        variants = {}
        for name, size in (sizes_bytes or SIZES).items():
            (tmp_path / name).write_bytes(bytes(size))
            parent = None if name == "fp32" else "fp32"
            variants[name] = Variant(tmp_path / name, parent, **(of or {}).get(name, {}))
        limits = Compression.model_validate({"quantize": [], **compression})
        return judge(figures, Variants(variants), compression=limits)

    return made


def is_accepted(verdicts: Verdicts, name: str) -> bool:
    return VariantCard(measured=verdicts.measured[name]).is_accepted


def on_both() -> dict[Provider, dict[str, Measurement]]:
    """Return what int8 and fp16 are worth on a CPU, and on a GPU that has no 8-bit kernels."""
    gpu = replace(measured(0.95), provider="CUDAExecutionProvider")
    return {
        "cpu": {"fp32": measured(0.95), "int8": measured(0.945, 2.5), "fp16": measured(0.95, 0.8)},
        "cuda": {"fp32": gpu, "int8": Unmeasurable("no kernel"), "fp16": measured(0.95, 1.8)},
    }


def test_each_provider_is_judged_by_its_own_figures(judged: Judge) -> None:
    both = judged(on_both())

    assert both.defaults == {"cpu": "int8", "cuda": "fp16"}
    assert both.measured["fp16"]["cpu"]["accepted"] is False
    assert both.measured["fp16"]["cuda"]["accepted"] is True
    assert both.measured["int8"]["cuda"] == {"unmeasurable": "no kernel"}


def test_a_variant_is_accepted_when_some_provider_accepts_it(judged: Judge) -> None:
    both = judged(on_both())
    only_cpu = judged({"cpu": on_both()["cpu"]})

    assert [is_accepted(both, name) for name in ("fp32", "int8", "fp16")] == [True, True, True]
    assert [is_accepted(only_cpu, name) for name in ("fp32", "int8", "fp16")] == [True, True, False]


def test_the_default_of_a_host_is_that_of_the_provider_it_serves_by(judged: Judge) -> None:
    assert judged(on_both()).default == "fp16"
    assert judged({"cpu": on_both()["cpu"]}).default == "int8"


def test_the_specs_limit_and_objective_decide(judged: Judge) -> None:
    assert judged(on_both(), max_accuracy_drop=0.0).defaults["cpu"] == "fp32"
    assert judged(on_both(), objective="accuracy").defaults["cpu"] == "fp32"
    assert judged(on_both(), objective="size").defaults["cpu"] == "int8"


def test_a_variant_that_was_stopped_on_the_way_keeps_its_reason_on_every_provider(judged: Judge) -> None:
    stopped = judged(on_both(), of={"int8": {"stopped": "lost too much"}})

    assert stopped.defaults["cpu"] == "fp32"
    assert stopped.measured["int8"]["cpu"]["reasons"] == ["lost too much"]


def test_a_variant_that_depends_on_the_batch_is_refused_on_every_provider(judged: Judge) -> None:
    told = judged(on_both(), of={"int8": DYNAMIC, "fp16": DYNAMIC})

    assert told.defaults == {"cpu": "fp32", "cuda": "fp32"}
    assert not is_accepted(told, "int8")


@pytest.mark.parametrize(("kind", "is_told"), [("unstructured_l1", True), ("n_m", True), ("structured", False)])
def test_the_zeros_of_a_pruned_variant_are_told_where_it_was_cut_to_single_weights(
    judged: Judge, kind: str, *, is_told: bool
) -> None:
    figures: dict[Provider, dict[str, Measurement]] = {"cpu": {"fp32": measured(0.95), "pruned": measured(0.95, 2.0)}}
    told = judged(figures, sizes_bytes={"fp32": 1000, "pruned": 1000}, prune={"kind": kind}, objective="size")

    (reason,) = told.measured["pruned"]["cpu"]["reasons"]
    assert ("its zeros save space only when the file is compressed" in reason) is is_told
