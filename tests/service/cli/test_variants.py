"""The tables of a version's variants: every figure on its line, and why what is not accepted is not."""

import io
from typing import Any

import pytest
from rich.console import Console

from service.cli import variants

WIDTH = 120
CPU, GPU = "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "NVIDIA H200"


def shown(table: Any) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def figures(speedup: float, *, device: str = CPU, **changes: Any) -> dict[str, Any]:
    return {
        "accuracy": {"val": 0.9412, "test": 0.9398},
        "agreement": 0.9912,
        "accuracy_drop": 0.0012,
        "accuracy_drop_interval": [-0.0031, 0.0062],
        "latency_ms": {"p50": 12.52, "p95": 13.61},
        "throughput": {"1": 1923.3, "8": 2400.0, "32": 12600.0},
        "speedup": speedup,
        "speedup_interval": [speedup - 0.05, speedup + 0.07],
        "load_ms": 84.3,
        "peak_memory_bytes": 1_210_000_000,
        "unmeasurable": None,
        "accepted": True,
        "reasons": [],
        "host": {"device": device},
    } | changes


def variant(name: str, *, parent: str | None = "fp32", **given: Any) -> dict[str, Any]:
    plain = {"made_by": None, "size_bytes": 13_400_000, "compressed_bytes": 412_000_000, "standalone": False}
    return plain | {"name": name, "parent": parent, "measured": {}} | given


TOO_SLOW = "is not faster than fp32: 0.92 times its speed (95 % interval 0.89 to 0.94)"
VERSION = {
    "model": "clothes",
    "version": 2,
    "compressed_from": "clothes:1",
    "defaults": {"cpu": "pruned-mixed-int8"},
    "not_made": {"weights-int4": "the net has no linear layers [of this size]"},
    "variants": [
        variant(
            "pruned-mixed-int8",
            parent="pruned",
            made_by={"kind": "mixed_int8", "calibration": "entropy", "max_float_share": 0.5},
            measured={"cpu": figures(3.21)},
        ),
        variant("fp32", parent=None, measured={"cpu": figures(1.0, accuracy_drop=0.0)}),
        variant(
            "pruned",
            made_by={"kind": "structured", "ratio": 0.3, "target_speedup": None},
            measured={"cpu": figures(0.92, accepted=False, reasons=[TOO_SLOW])},
        ),
        variant(
            "bf16",
            made_by={"kind": "bf16"},
            measured={"cpu": {"unmeasurable": "no kernel for it", "accepted": False, "reasons": []}},
        ),
        variant("any-size", standalone=True, compressed_bytes=None),
    ],
}


def line_of(text: str, *beginning: str, table: int = 0) -> list[str]:
    """Return the words of the line that begins with these, in the first, second … table that has one."""
    lines = [line.split() for line in text.splitlines() if line.split()[: len(beginning)] == list(beginning)]
    return lines[table]


def test_every_figure_of_a_variant_stands_on_its_line() -> None:
    text = shown(variants.version_card(VERSION))

    accuracy, speed = (line_of(text, "pruned", table=number) for number in (0, 1))
    assert accuracy[1:] == [
        *("structured,", "ratio", "0.3", "0.9412", "0.9398", "+0.0012", "-0.0031", "…", "+0.0062", "0.9912", "no"),
    ]
    assert speed[1:] == [
        *("12.52", "13.61", "0.92x", "0.87", "…", "0.99", "1923", "2400", "12600", "84", "13.4", "412", "1210"),
    ]


def test_a_version_tells_what_it_was_made_of_and_where_it_was_measured() -> None:
    text = shown(variants.version_card(VERSION))

    assert "clothes:2, compressed from clothes:1" in text
    assert f"on cpu ({CPU})" in text
    assert line_of(text, "pruned-mixed-int8")[1:4] == ["mixed_int8", "of", "pruned,"]


def test_the_default_the_refused_and_the_unmeasurable_are_told_apart() -> None:
    text = shown(variants.version_card(VERSION))

    verdicts = {name: line_of(text, name)[-1] for name in ("pruned-mixed-int8", "fp32", "pruned")}
    assert verdicts == {"pruned-mixed-int8": "default", "fp32": "yes", "pruned": "no"}
    assert line_of(text, "bf16")[-1] == "missing"
    assert line_of(text, "any-size")[-3:] == ["for", "use", "elsewhere"]


def test_reasons_stand_below_the_tables() -> None:
    text = " ".join(shown(variants.version_card(VERSION)).split())

    assert f"pruned on cpu {TOO_SLOW}" in text
    assert "bf16 on cpu no kernel for it" in text
    assert "weights-int4 the net has no linear layers [of this size]" in text


def test_of_two_providers_each_variant_has_two_lines() -> None:
    both = {"cpu": figures(0.8, accepted=False), "cuda": figures(2.5, device=GPU)}
    half = variant("fp16", made_by={"kind": "fp16"}, measured=both)
    version = VERSION | {"variants": [half], "not_made": {}, "defaults": {"cpu": "fp32", "cuda": "fp16"}}

    text = shown(variants.version_card(version))

    assert (line_of(text, "fp16", "cpu", "fp16")[-1], line_of(text, "fp16", "cuda", "fp16")[-1]) == ("no", "default")
    speeds = [line_of(text, "fp16", provider, table=1)[4] for provider in ("cpu", "cuda")]
    assert speeds == ["0.80x", "2.50x"]


@pytest.mark.parametrize("providers", [("cpu",), ("cpu", "cuda")])
def test_the_longest_names_fit_120_columns(providers: tuple[str, ...]) -> None:
    each = dict.fromkeys(providers, figures(3.21, accepted=False))
    names = ["pruned-weights-int8", "pruned-dynamic-int8", "fp32"]
    version = VERSION | {"variants": [variant(name, measured=each) for name in names], "not_made": {}}

    text = shown(variants.version_card(version))

    assert max(len(line.rstrip()) for line in text.splitlines()) <= WIDTH
    assert all(line_of(text, name, table=1) for name in names)


def test_figures_that_an_earlier_release_did_not_take_are_left_open() -> None:
    older = {"speedup": 2.0, "accuracy": {"val": 0.9, "test": None}, "accepted": True, "reasons": []}
    version = VERSION | {"variants": [variant("int8", measured={"cpu": older})], "not_made": {}}

    text = shown(variants.version_card(version))

    assert line_of(text, "int8")[3:] == ["0.9000", "-", "-", "-", "-", "yes"]
    assert line_of(text, "int8", table=1)[3] == "2.00x"


def test_a_measuring_shows_what_it_has_changed() -> None:
    result = {
        "measured": [
            {"variant": "int8", "provider": "cpu", "before": figures(2.0), "after": figures(0.9, accepted=False)},
            {"variant": "fp16", "provider": "cpu", "before": None, "after": {"unmeasurable": "no kernel"}},
        ],
        "defaults": {"before": {"cpu": "int8"}, "after": {"cpu": "fp32"}},
    }

    text = shown(variants.change_table(result))

    assert "default on cpu: int8 → fp32" in text
    assert line_of(text, "int8")[2:] == ["12.52", "→", "12.52", "2.00x", "→", "0.90x", "yes", "→", "no"]
    assert line_of(text, "fp16")[2:] == ["-", "→", "-", "-", "→", "-", "-", "→", "-"]


def test_what_only_makes_a_file_smaller_is_told_apart_with_the_reason() -> None:
    made: dict[str, Any] = {
        "made_by": {"kind": "weights_int8"},
        "measured": {"cpu": figures(0.92, accepted=False, reasons=[TOO_SLOW])},
    }
    version = VERSION | {"variants": [variant("weights-int8", size_only=True, **made)], "not_made": {}}

    text = shown(variants.version_card(version))

    assert line_of(text, "weights-int8")[-2:] == ["size", "only"]
    assert f"weights-int8: size only {variants.SIZE_ONLY}" in " ".join(text.split())


def test_what_was_made_for_size_and_is_accepted_is_not_listed_among_the_refused() -> None:
    both = {"cpu": figures(1.2), "cuda": figures(0.9, device=GPU, accepted=False, reasons=[TOO_SLOW])}
    small = variant("weights-int8", size_only=True, made_by={"kind": "weights_int8"}, measured=both)
    version = VERSION | {"variants": [small], "not_made": {}, "defaults": {"cpu": "weights-int8", "cuda": "fp32"}}

    text = " ".join(shown(variants.version_card(version)).split())

    assert variants.SIZE_ONLY not in text
    assert f"weights-int8 on cuda {TOO_SLOW}" in text


def test_the_control_is_made_by_its_epochs() -> None:
    control = variant("control", made_by={"epochs": 1, "lr_scale": 0.1}, measured={"cpu": figures(1.0)})

    text = shown(variants.version_card(VERSION | {"variants": [control], "not_made": {}}))

    assert line_of(text, "control")[1:4] == ["control,", "1", "epoch"]
